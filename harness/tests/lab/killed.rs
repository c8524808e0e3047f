//! A run that is killed, and the next that cleans up after it.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use csi_harness::lab::{Entry, Holder, Leftover, RunFolder, Then, leftovers};
use libtest_mimic::Failed;

use crate::doomed::{loop_on, start};
use crate::removal::tmpfs;
use crate::{Test, Tried};

pub(crate) const TESTS: &[Test] = &[
    (
        "a-killed-run-is-cleaned-and-strangers-are-left-alone",
        foreign,
    ),
    (
        "a-killed-run-in-its-own-namespace-leaves-no-loop-device",
        built_in,
    ),
    ("no-child-keeps-the-lock-of-a-journal", lock),
    ("a-torn-last-line-is-no-harm", torn),
];

/// Ends what the test made, however the test ends.
struct Stranger {
    process: Child,
    number: u32,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = Command::new("losetup")
            .arg("-d")
            .arg(format!("/dev/loop{}", self.number))
            .status();
    }
}

fn bound(number: u32) -> bool {
    Path::new(&format!("/sys/block/loop{number}/loop")).exists()
}

fn foreign(folder: &Path) -> Tried {
    let process = Command::new("sleep").arg("1000").spawn()?;
    let mut stranger = Stranger {
        process,
        number: loop_on(&folder.join("stranger.img"))?,
    };
    fs::write(
        folder.join("stranger.pid"),
        stranger.process.id().to_string(),
    )?;
    fs::write(folder.join("stranger.loop"), stranger.number.to_string())?;
    fs::create_dir(folder.join("stranger"))?;
    fs::write(folder.join("stranger/data"), "precious")?;
    fs::create_dir(folder.join("stranger-mount"))?;
    tmpfs(&folder.join("stranger-mount"))?;

    let state = folder.join("state");
    let mut run = start("foreign", folder)?;
    assert_eq!(
        leftovers(&state)?.len(),
        0,
        "a run that lives is left alone"
    );
    run.kill()?;
    run.wait()?;

    let mut left = leftovers(&state)?;
    assert_eq!(left.len(), 1, "its child lives on, and keeps no lock");
    assert_eq!(leftovers(&state)?.len(), 0, "who cleans holds the journal");
    let journal = fs::read_to_string(left[0].journal())?;
    let report = left.remove(0).clean()?;
    let of = |what: &str, removed: bool| {
        let lines = report.iter().filter(|line| line.what == what);
        lines
            .filter(|line| matches!(line.then, Then::Removed) == removed)
            .count()
    };
    assert_eq!(
        (
            of("process", true),
            of("mount", true),
            of("loop device", true)
        ),
        (2, 3, 1),
        "{report:#?}"
    );
    assert_eq!(
        (
            of("process", false),
            of("mount", false),
            of("loop device", false)
        ),
        // Of a loop device whose number is another disk's by now there is nothing to tell.
        (1, 0, 1),
        "{report:#?}"
    );
    assert_eq!(
        (of("folder", true), of("folder", false), of("volume", false)),
        (2, 1, 1),
        "{report:#?}"
    );
    assert!(
        !report
            .iter()
            .any(|line| matches!(line.then, Then::Stuck(_))),
        "{report:#?}"
    );

    assert!(stranger.process.try_wait()?.is_none() && bound(stranger.number));
    assert_eq!(
        fs::read_to_string(folder.join("stranger/data"))?,
        "precious"
    );
    assert_eq!(
        csi_harness::lab::unmount_below(&folder.join("stranger-mount"))?
            .gone
            .len(),
        1
    );
    assert!(
        !folder.join("root").exists(),
        "the root was made by the run"
    );
    assert_eq!(
        fs::read_dir(state.join("runs"))?.count(),
        0,
        "the journal is gone"
    );
    for line in journal.lines() {
        if let Entry::Process { process, .. } = serde_json::from_str(line)?
            && process.start_ticks != 1
        {
            assert!(!process.alive(), "{process:?}");
        }
    }
    Ok(())
}

fn built_in(folder: &Path) -> Tried {
    let mut run = start("built-in", folder)?;
    let number: u32 = fs::read_to_string(folder.join("number"))?.parse()?;
    assert!(bound(number));
    run.kill()?;
    run.wait()?;
    let mut left = leftovers(&folder.join("state"))?;
    assert_eq!(left.len(), 1);
    let report = left.remove(0).clean()?;
    let told = report
        .iter()
        .find(|line| line.what == "loop device")
        .ok_or("nothing was told")?;
    assert_eq!(
        (told.object.clone(), &told.then),
        (format!("/dev/loop{number}"), &Then::Removed)
    );
    Ok(())
}

/// The killed runs, once there are any: what another test forks has our
/// descriptors until it calls exec.
fn freed(state: &Path) -> Result<Vec<Leftover>, Failed> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let left = leftovers(state)?;
        if !left.is_empty() || Instant::now() > until {
            return Ok(left);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn lock(folder: &Path) -> Tried {
    let held = folder.join("file");
    fs::write(&held, "")?;
    let run = RunFolder::make(folder)?;
    let holder = Holder::open_file(&held)?;
    let mut child = Command::new("sleep").arg("1000").spawn()?;
    assert_eq!(leftovers(folder)?.len(), 0);
    drop(run);
    let free = freed(folder);
    child.kill()?;
    child.wait()?;
    assert_eq!(free?.len(), 1);
    assert!(holder.id()?.alive());
    Ok(())
}

fn torn(folder: &Path) -> Tried {
    let run = RunFolder::make(folder)?;
    let ours = folder.join("ours");
    fs::create_dir(&ours)?;
    let made = csi_harness::lab::FileIdentity::of(fs::File::open(&ours)?)?;
    run.journal().write(&Entry::Folder {
        path: ours.clone(),
        made: None,
    })?;
    run.journal().write(&Entry::Folder {
        path: ours.clone(),
        made: Some(made),
    })?;
    let journal = run.journal().path().to_owned();
    drop(run);
    let text = fs::read_to_string(&journal)?;
    fs::write(&journal, format!("{text}rubbish\n{{\"entry\":\"fol"))?;
    let mut left = freed(folder)?;
    let report = left.remove(0).clean()?;
    assert!(!ours.exists());
    assert_eq!(
        report.iter().map(|line| line.what).collect::<Vec<_>>(),
        ["journal", "folder"],
        "{report:?}"
    );
    Ok(())
}
