//! Waiting, and the end of it.

use crate::{Done, Folder, SOON, tmpfs, until, wait};
use csi_harness::node::host::State;
use csi_harness::node::watch::{Cursor, How, Namespace};
use csi_harness::node::{Host, Watch};
use std::sync::mpsc;
use std::time::Duration;

pub(crate) fn late_mount(how: How) -> Done {
    let folder = Folder::new()?;
    let at = folder.sub("target")?;
    let watch = folder.watch(how)?;
    let before = watch.sync()?;
    let none = wait(watch.wait_for(before, |e| e.attaches_at(&at), Duration::ZERO))??;
    assert_eq!(none, None);

    let (go, told) = mpsc::channel::<()>();
    let path = at.clone();
    let late = std::thread::spawn(move || told.recv().is_ok() && tmpfs(&path, "late").is_ok());
    let event = wait(async {
        let waiting = watch.wait_for(before, |e| e.attaches_at(&at), SOON);
        let mounting = async { go.send(()) };
        tokio::join!(waiting, mounting).0
    })??;
    assert!(late.join().is_ok_and(|mounted| mounted));
    assert!(event.is_some_and(|e| e.attaches_at(&at)));
    // Already there, and found without waiting.
    let again = wait(watch.wait_for(before, |e| e.attaches_at(&at), Duration::ZERO))??;
    assert!(again.is_some());
    let behind = wait(watch.synced())??;
    assert!(before < behind && Cursor::START < behind);
    Ok(())
}

/// How many threads of watches there are, those of other trials among them.
fn threads() -> Result<usize, Box<dyn std::error::Error>> {
    let mut count = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let name = std::fs::read_to_string(task?.path().join("comm"));
        count += usize::from(name.is_ok_and(|n| n.starts_with("csi-watch")));
    }
    Ok(count)
}

/// Nothing is left of a watch that was stopped: no thread, no descriptor.
pub(crate) fn stopped(how: How) -> Done {
    const MANY: usize = 200;
    let folder = Folder::new()?;
    let at = folder.sub("target")?;
    for _ in 0..MANY {
        let watch = folder.watch(how)?;
        assert_eq!(watch.ended(), None);
        watch.stop();
    }
    let fds = || std::fs::read_dir("/proc/self/fd").map(Iterator::count);
    until("the threads end", || threads().is_ok_and(|n| n < MANY))?;
    until("the descriptors are closed", || {
        fds().is_ok_and(|n| n < MANY)
    })?;
    // In the midst of mounts, with questions to answer.
    let watch = folder.watch(how)?;
    for _ in 0..50 {
        tmpfs(&at, "busy")?;
        nix::mount::umount(&at)?;
    }
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| watch.sync().is_ok()))
            .collect();
        assert!(asking.into_iter().all(|a| a.join().is_ok_and(|ok| ok)));
    });
    watch.stop();
    Ok(())
}

pub(crate) fn best_way() -> Done {
    let watch = Watch::start(Namespace::Ours, How::Auto)?;
    let host = Host::look();
    match &host.feature("mount-events").ok_or("a feature")?.state {
        State::Have => assert_eq!(watch.how(), "fanotify mount events"),
        State::Lack(why) => {
            assert_eq!(watch.how(), format!("poll on mountinfo: {why}"));
            let refused = Watch::start(Namespace::Ours, How::Fanotify).map(|w| w.how().to_owned());
            assert_eq!(
                refused.map_err(|e| e.to_string()),
                Err(format!("no mount events: {why}"))
            );
        }
    }
    let asked = Watch::start(Namespace::Ours, How::Poll)?;
    assert_eq!(asked.how(), "poll on mountinfo: it was asked for");
    Ok(())
}
