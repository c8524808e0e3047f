//! Drivers that take their time to be there, and how they are spoken to.

use std::error::Error;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use csi_harness::check::Outcome;
use csi_proto::v1;
use libtest_mimic::Trial;
use prost::Message as _;

use super::folders::Folders;
use super::server::{Answer, Driver, Server};
use super::world::{Place, Tested, World, text};

/// The first argument that makes a driver of this test.
pub(crate) const AS_DRIVER: &str = "--as-a-driver";

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    vec![
        world.trial("starts::late_and_not_ready_at_once", late),
        world.trial("starts::two_sockets", two_sockets),
        world.trial("starts::two_sockets_that_come_apart", two_that_come_apart),
        world.trial("starts::not_ready_when_we_come", not_ready_yet),
        world.trial("starts::the_authority_is_localhost", authority),
        world.trial("starts::not_again_after_some_time", not_again),
    ]
}

/// How long the slow ones take for each of their steps.
const SLOW: Duration = Duration::from_secs(1);

/// This test as a driver: `--as-a-driver VOLUMES SOCKET [SOCKET]`. At the first
/// socket it leaves a stale file, listens later, and is not ready for a while
/// even then; the second comes later still.
pub(crate) fn as_driver(arguments: &[String]) -> ExitCode {
    match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the driver of the test: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [volumes, sockets @ ..] = arguments else {
        return Err("no volumes".into());
    };
    if let [started, socket] = sockets
        && socket == ONCE_MORE
    {
        return serve_twice(Path::new(volumes), Path::new(started));
    }
    let folders = Folders::creating(Path::new(volumes));
    let mut servers = Vec::new();
    for socket in sockets.iter().map(PathBuf::from) {
        // A socket that nobody listens on any more.
        drop(UnixListener::bind(&socket)?);
        std::thread::sleep(SLOW);
        std::fs::remove_file(&socket)?;
        servers.push(Server::start(&socket, ready_later(&folders))?);
    }
    loop {
        std::thread::park();
    }
}

/// The last argument of a driver that starts twice, and no more.
const ONCE_MORE: &str = "once-more";

fn serve_twice(volumes: &Path, socket: &Path) -> Result<(), Box<dyn Error>> {
    let starts = volumes.with_file_name("starts");
    let so_far = std::fs::read(&starts).map_or(0, |starts| starts.len());
    if so_far == 2 {
        return Err("the list of volumes cannot be read".into());
    }
    std::fs::write(&starts, vec![b'.'; so_far + 1])?;
    // Whoever was killed leaves it.
    let _ = std::fs::remove_file(socket);
    let _server = Server::start(socket, Folders::creating(volumes).honest())?;
    loop {
        std::thread::park();
    }
}

/// What we killed, and does not come back, did not die by itself; and nobody could ask
/// it to delete what served many checks.
fn not_again(place: &Place) -> Tested {
    let config = command(place, &format!("'${{socket}}', {ONCE_MORE}"))?.replace(
        FEW,
        "checks: {only: [node-publish.target-is-mounted, driver-restart, driver.stays, driver.leaves]}
volume: {access_types: [mount]}
allow: [restart]",
    );
    let said = place.run(&[], &config)?;
    let told = &said.check("driver.stays-alive")?.message;
    if !told.starts_with("after SIGKILL") || !told.contains("cannot be read") {
        return Err(format!("who killed it? {told}: {}", said.told()).into());
    }
    said.passes("driver.leaves-nothing")
}

/// Not ready until a while from now.
fn ready_later(folders: &Arc<Folders>) -> Driver {
    let ready = Instant::now() + SLOW;
    folders.but(move |call| {
        let not_yet = call.method == "Probe" && Instant::now() < ready;
        not_yet.then(|| {
            let probe = v1::ProbeResponse { ready: Some(false) };
            Answer::Ok(probe.encode_to_vec())
        })
    })
}

/// Only some checks: it is about the beginning.
const FEW: &str = "checks: {only: [probe, create-volume.creates, node-publish.target-is-mounted]}
volume: {access_types: [mount]}";

fn command(place: &Place, sockets: &str) -> Result<String, Box<dyn Error>> {
    let program = text(&std::env::current_exe()?);
    let volumes = text(&place.volumes());
    Ok(format!(
        "driver: {{command: ['{program}', {AS_DRIVER}, '{volumes}', {sockets}]}}\n{FEW}"
    ))
}

fn late(place: &Place) -> Tested {
    let config = command(place, "'${socket}'")?;
    place.run(&[], &config)?.nothing_fails()
}

/// The controller at one, the node service at the other, each its own process
/// as in a cluster.
fn two_sockets(place: &Place) -> Tested {
    let folders = Folders::creating(&place.volumes());
    let (one, other) = (place.path.join("c.sock"), place.path.join("n.sock"));
    let not_here = |service: &'static str| {
        folders.but(move |call| {
            let node = call.method.starts_with("Node");
            let controller =
                call.method.ends_with("Volume") || call.method.starts_with("Controller");
            let asked = if node {
                "node"
            } else if controller {
                "controller"
            } else {
                "identity"
            };
            (asked == service)
                .then(|| Answer::Refuse(super::folders::UNIMPLEMENTED, "elsewhere".into()))
        })
    };
    let _controller = Server::start(&one, not_here("node"))?;
    let _node = Server::start(&other, not_here("controller"))?;
    let (one, other) = (text(&one), text(&other));
    let apart = ["--controller-endpoint", &one, "--node-endpoint", &other];
    let said = place.run(&apart, FEW)?;
    said.nothing_fails()?;
    let mounted = said
        .report
        .checks
        .iter()
        .find(|check| check.id.starts_with("node-publish"));
    assert_eq!(
        mounted.map(|check| check.outcome),
        Some(Outcome::Pass),
        "{}",
        said.told()
    );
    Ok(())
}

fn two_that_come_apart(place: &Place) -> Tested {
    let (one, other) = (place.path.join("c.sock"), place.path.join("n.sock"));
    let (one, other) = (text(&one), text(&other));
    let config = command(place, &format!("'{one}', '{other}'"))?;
    let config = format!("controller_endpoint: '{one}'\nnode_endpoint: '{other}'\n{config}");
    place.run(&[], &config)?.nothing_fails()
}

/// A driver that runs already, and is still busy with itself.
fn not_ready_yet(place: &Place) -> Tested {
    let driver = ready_later(&Folders::creating(&place.volumes()));
    place.against(driver, FEW)?.nothing_fails()
}

/// Servers of some languages reset a call whose authority is a path.
fn authority(place: &Place) -> Tested {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let driver = Folders::of(&place.volumes()).but(move |call| {
        let mut seen = noted.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(call.authority.clone());
        None
    });
    place.against(driver, "")?.nothing_fails()?;
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    match seen.iter().find(|authority| *authority != "localhost") {
        None if seen.is_empty() => Err("nothing was asked".into()),
        None => Ok(()),
        Some(other) => Err(format!("the authority was {other:?}").into()),
    }
}
