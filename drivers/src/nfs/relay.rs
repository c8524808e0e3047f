//! The defect nfs-in-plugin-netns: a network of the plugin's own.
//!
//! A plugin without the node's network mounts through its own, which ends with it: the
//! server is well, and what was mounted hangs for ever. Here that network is a relay in
//! this process, between the kernel's client and the server.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;

/// Where NFS 4 servers listen.
const NFS: u16 = 2049;

/// A way to a server that ends with this process; its port on this node.
pub(super) fn to(server: &str) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let server = server.trim_matches(['[', ']']).to_owned();
    thread::Builder::new()
        .name("relay".to_owned())
        .spawn(move || {
            for client in listener.incoming().flatten() {
                if let Ok(there) = TcpStream::connect((server.as_str(), NFS)) {
                    both_ways(&client, &there);
                }
            }
        })?;
    Ok(port)
}

fn both_ways(one: &TcpStream, other: &TcpStream) {
    for (from, to) in [(one, other), (other, one)] {
        let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else {
            return;
        };
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}
