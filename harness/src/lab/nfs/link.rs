//! The link between us and a server: a veth pair with two addresses.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::error::{NfsError, failed};
use super::holder::Holder;
use super::tool::run;

/// 198.18.0.0/15: for measuring devices (RFC 2544), and so unlikely to be in use.
const RANGE: u32 = u32::from_be_bytes([198, 18, 0, 0]);

/// How many networks of four addresses the range has.
const NETWORKS: u32 = 1 << (17 - 2);

/// How many of them are tried.
const TRIES: u32 = 32;

/// How long a link may take to go with the namespace at its other end.
const GOING: Duration = Duration::from_secs(10);

/// Its name at the server's end.
const THEIRS: &str = "eth0";

/// A link, at whose other end a server's namespace is.
#[derive(Debug)]
pub(super) struct Link {
    name: String,
    index: u32,
    ours: Ipv4Addr,
    theirs: Ipv4Addr,
}

impl Link {
    /// Joins the namespace to ours by a link of this name (15 bytes at most).
    /// `wish` tells which addresses are tried first.
    pub(super) fn make(name: &str, wish: u32, holder: &Holder) -> Result<Self, NfsError> {
        let (ours, theirs) = free_addresses(wish)?;
        let pid = holder.id().pid;
        let here = format!(
            "link add {name} type veth peer name {THEIRS} netns {pid}\n\
             addr add {ours}/30 dev {name}\nlink set {name} up\n"
        );
        let there =
            format!("link set lo up\naddr add {theirs}/30 dev {THEIRS}\nlink set {THEIRS} up\n");
        run("ip", &["-batch", "-"], &here)?;
        holder.inside(|| {
            // A server that answers nobody any more still takes what comes.
            for scope in ["all", "default", THEIRS] {
                let path = format!("/proc/sys/net/ipv4/conf/{scope}/rp_filter");
                fs::write(&path, "0").map_err(failed("write", Path::new(&path)))?;
            }
            run("ip", &["-batch", "-"], &there)
        })?;
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let index = index_of(name)
            .and_then(|index| index.ok_or_else(gone))
            .map_err(failed("find the link", Path::new(name)))?;
        Ok(Self {
            name: name.to_owned(),
            index,
            ours,
            theirs,
        })
    }

    /// Our own address on it.
    pub(super) fn ours(&self) -> Ipv4Addr {
        self.ours
    }

    /// The server's address.
    pub(super) fn theirs(&self) -> Ipv4Addr {
        self.theirs
    }

    /// Its name and its number.
    pub(super) fn name(&self) -> (&str, u32) {
        (&self.name, self.index)
    }

    /// To be called inside: whatever the server sends to us is dropped, or not
    /// any more.
    pub(super) fn swallow(&self, swallow: bool) -> Result<(), NfsError> {
        let ours = format!("{}/32", self.ours);
        if swallow {
            run("ip", &["route", "replace", "blackhole", &ours], "")
        } else {
            run("ip", &["route", "flush", "type", "blackhole"], "")
        }
    }

    /// To be called inside: the server's end goes down, or up.
    pub(super) fn set_up(&self, up: bool) -> Result<(), NfsError> {
        let state = if up { "up" } else { "down" };
        run("ip", &["link", "set", THEIRS, state], "")
    }

    /// Waits until it is gone: the kernel tears it down after the namespace at
    /// its other end, which every nfsd thread and socket in it holds.
    pub(super) fn wait_gone(&self) -> Result<(), NfsError> {
        match wait_gone(&self.name, self.index, GOING) {
            Ok(true) => Ok(()),
            Ok(false) => Err(io::Error::other(format!("it is there after {GOING:?}"))),
            Err(error) => Err(error),
        }
        .map_err(failed(
            "wait for the end of the link",
            Path::new(&self.name),
        ))
    }
}

/// Takes a link away whose other end does not let go of it.
pub(super) fn delete(name: &str) -> Result<(), NfsError> {
    run("ip", &["link", "delete", name], "")
}

/// Waits until no link with that name and number is left; false if it stays.
pub(super) fn wait_gone(name: &str, index: u32, patience: Duration) -> io::Result<bool> {
    let until = Instant::now() + patience;
    while index_of(name)? == Some(index) {
        if Instant::now() > until {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(true)
}

/// The number of the link with that name in the caller's network namespace.
pub(super) fn index_of(name: &str) -> io::Result<Option<u32>> {
    match nix::net::if_::if_nametoindex(name) {
        Ok(index) => Ok(Some(index)),
        Err(nix::errno::Errno::ENODEV | nix::errno::Errno::ENXIO) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Two addresses of a network that no route of ours leads to.
fn free_addresses(wish: u32) -> Result<(Ipv4Addr, Ipv4Addr), NfsError> {
    let file = Path::new("/proc/thread-self/net/route");
    let routes = fs::read_to_string(file).map_err(failed("read", file))?;
    let routes: Vec<(u32, u32)> = routes.lines().filter_map(route).collect();
    (0..TRIES)
        .map(|n| RANGE + (wish.wrapping_add(n) % NETWORKS) * 4)
        .find(|network| !routes.iter().any(|route| overlaps(*network, *route)))
        .map(|network| (Ipv4Addr::from(network + 1), Ipv4Addr::from(network + 2)))
        .ok_or(NfsError::NoAddress)
}

/// Destination and mask of a line of /proc/net/route (proc_pid_net(5)): hexadecimal,
/// in the machine's own byte order.
fn route(line: &str) -> Option<(u32, u32)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let number = |field: usize| {
        let text = fields.get(field)?;
        u32::from_str_radix(text, 16)
            .ok()
            .map(|n| u32::from_be_bytes(n.to_ne_bytes()))
    };
    Some((number(1)?, number(7)?))
}

/// Whether a route leads into the network of four addresses. The default route
/// leads everywhere, and does not count.
fn overlaps(network: u32, (destination, mask): (u32, u32)) -> bool {
    let both = mask & !3;
    mask != 0 && destination & both == network & both
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_into_the_network_counts_and_the_default_does_not() {
        let network = RANGE + 4;
        let mask = |bits: u32| !0_u32 << (32 - bits);
        assert!(overlaps(network, (network, mask(30))));
        assert!(overlaps(network, (RANGE, mask(15))));
        assert!(
            overlaps(network, (network + 2, !0)),
            "a single address in it"
        );
        assert!(!overlaps(network, (RANGE, mask(30))));
        assert!(!overlaps(network, (0, 0)));
    }

    #[test]
    fn a_line_of_the_routing_table_is_read() {
        let line = format!(
            "eth0 {:08X} 00000000 0001 0 0 0 {:08X} 0 0 0",
            u32::from_ne_bytes([198, 18, 0, 4]),
            u32::from_ne_bytes([255, 255, 255, 252]),
        );
        assert_eq!(route(&line), Some((RANGE + 4, !3)));
        assert_eq!(route("Iface Destination Gateway"), None);
    }
}
