//! Whether NFS can be mounted here, and served.

use super::{find_tool, kernel};

/// What to do where the host's own kernel has no NFS.
const WAY_OUT: &str =
    "`ci/vm/run csi-conformance …` runs it in a virtual machine with a kernel that has it";

/// What a server is made with, and where it comes from.
const SERVER_TOOLS: [(&str, &str); 4] = [
    ("rpc.mountd", "Debian: nfs-kernel-server, Fedora: nfs-utils"),
    ("exportfs", "Debian: nfs-kernel-server, Fedora: nfs-utils"),
    ("rpcbind", "rpcbind"),
    ("ip", "Debian: iproute2, Fedora: iproute"),
];

/// For namespaces and mounts, and for the link between them.
const CAPABILITIES: [(&str, u32); 2] = [("CAP_SYS_ADMIN", 21), ("CAP_NET_ADMIN", 12)];

/// Whether the kernel has an NFS client, at least as a module, and mount(8) its
/// helper.
///
/// # Errors
/// What is lacking, in words, and the way out.
pub fn nfs_client() -> Result<(), String> {
    let kernel = ["nfs", "nfs4", "nfsv4"].into_iter().any(known);
    let tool = find_tool("mount.nfs").is_some();
    let lacks = match (kernel, tool) {
        (true, true) => return Ok(()),
        (true, false) => "mount.nfs is not installed (Debian: nfs-common, Fedora: nfs-utils)",
        (false, true) => "the kernel has no NFS client",
        (false, false) => "the kernel has no NFS client, and mount.nfs is not installed",
    };
    Err(if kernel {
        lacks.to_owned()
    } else {
        format!("{lacks}; {WAY_OUT}")
    })
}

/// Whether the kernel has nfsd, at least as a module, and the tools for a server
/// are there.
///
/// # Errors
/// What is lacking, in words, and the way out.
pub fn nfs_server() -> Result<(), String> {
    for (name, number) in CAPABILITIES {
        if !kernel::has_capability(number) {
            return Err(format!("{name} is not among our effective capabilities"));
        }
    }
    if !known("nfsd") {
        return Err(format!("the kernel has no NFS server (nfsd); {WAY_OUT}"));
    }
    let lacks: Vec<String> = SERVER_TOOLS
        .into_iter()
        .filter(|(tool, _)| find_tool(tool).is_none())
        .map(|(tool, package)| format!("{tool} is not installed ({package})"))
        .collect();
    match lacks.as_slice() {
        [] => Ok(()),
        lacks => Err(lacks.join(", ")),
    }
}

fn known(name: &str) -> bool {
    kernel::file_systems().contains(name) || kernel::has_module(name)
}
