//! The driver's process and the user's hooks.

use std::ffi::OsString;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use csi_harness::lab::{DriverCommand, DriverError, DriverProcess, Exited, Hook, HookError};
use csi_harness::node::Process;
use libtest_mimic::Failed;
use nix::sys::signal::Signal;

use crate::{Test, Tried};

pub(crate) const TESTS: &[Test] = &[
    (
        "a-driver-that-talks-without-end-is-never-blocked",
        |folder| block_on(talkative(folder)),
    ),
    ("the-end-of-a-driver-is-told-in-its-words", |folder| {
        block_on(ends(folder))
    }),
    ("a-stop-is-polite-and-names-what-is-left", |folder| {
        block_on(stop(folder))
    }),
    ("a-driver-is-started-again", |folder| {
        block_on(restart(folder))
    }),
    ("a-frozen-driver-stands-still-with-its-children", |folder| {
        block_on(frozen(folder))
    }),
    ("a-dropped-driver-leaves-nothing", |folder| {
        block_on(dropped(folder))
    }),
    ("a-driver-that-cannot-start-is-told", |folder| {
        block_on(cannot_start(folder))
    }),
    ("a-hook-is-run-with-its-variables", |_| block_on(hook())),
    ("a-hook-that-hangs-is-killed", |_| block_on(hanging_hook())),
];

const SOON: Duration = Duration::from_secs(20);

fn block_on(test: impl Future<Output = Tried>) -> Tried {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(test)
}

fn shell(folder: &Path, script: &str) -> DriverCommand {
    DriverCommand {
        command: ["sh", "-c", script, "$CSI_ENDPOINT"]
            .map(OsString::from)
            .to_vec(),
        environment: vec![("EXTRA".into(), "more".into())],
        socket_folder: folder.join("s"),
    }
}

/// Polls until the driver has said it.
async fn says(driver: &DriverProcess, text: &str) -> Tried {
    let said = async {
        while !String::from_utf8_lossy(&driver.output().stdout).contains(text) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, said)
        .await
        .map_err(|_| Failed::from(format!("it never said {text}")))
}

async fn frozen(folder: &Path) -> Tried {
    let script = "sleep 600 & echo child $!; wait";
    let mut driver = DriverProcess::start(shell(folder, script))?;
    says(&driver, "child").await?;
    let output = driver.output();
    let said = String::from_utf8_lossy(&output.stdout);
    let child = said.split_whitespace().nth(1).unwrap_or_default().parse()?;
    let pids = [driver.id().pid, child];
    let frozen = driver.freeze()?;
    for pid in pids {
        is_stopped(pid, true).await?;
    }
    drop(frozen);
    for pid in pids {
        is_stopped(pid, false).await?;
    }
    driver.kill().await;
    Ok(())
}

/// Polls until a process stands still, or goes on.
async fn is_stopped(pid: u32, wanted: bool) -> Tried {
    let seen = async {
        while (Process::of(pid)?.state == 'T') != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        std::io::Result::Ok(())
    };
    let seen = tokio::time::timeout(SOON, seen).await;
    seen.map_err(|_| Failed::from(format!("process {pid} is not as it should be")))??;
    Ok(())
}

async fn talkative(folder: &Path) -> Tried {
    let script = "echo \"$0 $CSI_ENDPOINT $EXTRA\"; head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; echo end";
    let driver = DriverProcess::start(shell(folder, script))?;
    assert_eq!(driver.wait_exit(SOON).await, Some(Exited::Code(0)));
    says(&driver, "end").await?;
    let output = driver.output();
    assert!(
        output.total > 5_000_000 && output.stdout.len() == 256 * 1024,
        "{}",
        output.total
    );
    Ok(())
}

async fn ends(folder: &Path) -> Tried {
    for (n, (script, told)) in [
        ("exit 3", "exit code 3"),
        ("ulimit -c 0; kill -ABRT $$", "killed by SIGABRT"),
    ]
    .into_iter()
    .enumerate()
    {
        let at = folder.join(n.to_string());
        std::fs::create_dir(&at)?;
        let driver = DriverProcess::start(shell(&at, script))?;
        let exited = driver.wait_exit(SOON).await.ok_or("it did not end")?;
        assert_eq!(exited.to_string(), told);
    }
    Ok(())
}

async fn stop(folder: &Path) -> Tried {
    let mut driver = DriverProcess::start(shell(
        folder,
        "trap 'exit 7' TERM; sleep 1000 & echo ready; wait",
    ))?;
    says(&driver, "ready").await?;
    let stopped = driver.stop().await;
    assert_eq!(
        (stopped.exited, stopped.forced),
        (Some(Exited::Code(7)), false)
    );
    assert_eq!(stopped.left.len(), 1, "the sleep outlived it: {stopped:?}");
    let gone = async {
        while stopped.left.iter().any(csi_harness::node::ProcessId::alive) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, gone).await?;
    assert!(
        driver.signal(Signal::SIGTERM).is_err(),
        "its number may be another's now"
    );
    Ok(())
}

async fn restart(folder: &Path) -> Tried {
    let mut driver = DriverProcess::start(shell(folder, "echo \"pid $$.\"; exec sleep 1000"))?;
    let first = driver.id();
    says(&driver, &format!("pid {}.", first.pid)).await?;
    assert_eq!(
        driver.kill().await,
        Some(Exited::Signal {
            signal: libc::SIGKILL,
            core: false
        })
    );
    assert!(!first.alive());
    driver.restart().await?;
    assert_ne!(driver.id(), first);
    assert_eq!(driver.exited(), None);
    says(&driver, &format!("pid {}.", driver.id().pid)).await?;
    says(&driver, &format!("pid {}.", first.pid)).await
}

async fn dropped(folder: &Path) -> Tried {
    let id = DriverProcess::start(shell(folder, "trap '' TERM; while :; do sleep 1; done"))?.id();
    assert!(!id.alive());
    Ok(())
}

async fn cannot_start(folder: &Path) -> Tried {
    let missing = DriverCommand {
        command: vec!["/no/such/driver".into()],
        ..shell(folder, "")
    };
    let told = DriverProcess::start(missing)
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(told.contains("/no/such/driver"), "{told}");
    let long = DriverProcess::start(shell(&folder.join("x".repeat(100)), ""));
    assert!(
        matches!(long, Err(DriverError::LongSocket { .. })),
        "{long:?}"
    );
    Ok(())
}

fn hook_of(script: &str, deadline: Duration) -> Hook {
    let command = ["sh", "-c", script].map(OsString::from).to_vec();
    Hook {
        step: "after CreateVolume".into(),
        command,
        deadline,
    }
}

async fn hook() -> Tried {
    let said = hook_of("echo $CSI_VOLUME_ID; echo err >&2", SOON)
        .run(&[("CSI_VOLUME_ID", "vol-1")])
        .await?;
    let said = String::from_utf8(said)?;
    assert!(said.contains("vol-1\n") && said.contains("err\n"), "{said}");
    let failed = hook_of("echo why; exit 4", SOON)
        .run(&[])
        .await
        .err()
        .map(|error| error.to_string());
    let failed = failed.ok_or("it passed")?;
    for part in ["after CreateVolume", "exit 4", "exit code 4", "why"] {
        assert!(failed.contains(part), "{failed}");
    }
    Ok(())
}

async fn hanging_hook() -> Tried {
    let hung = hook_of("echo $$; sleep 1000", Duration::from_secs(2))
        .run(&[])
        .await;
    let Err(HookError::Failed { ended, output, .. }) = hung else {
        return Err("it passed".into());
    };
    assert!(ended.contains("did not end"), "{ended}");
    let shell: u32 = output.trim().parse()?;
    let gone = async {
        while csi_harness::node::ProcessId::of(shell).is_ok_and(|id| id.alive()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    Ok(tokio::time::timeout(SOON, gone).await?)
}
