//! Whether we may do what has to be done.

use csi_harness::node::Host;

use crate::shell::quoted;
use crate::wrong::Wrong;

/// # Errors
/// We are not root; with the command that would be.
pub(crate) fn required(host: &Host) -> Result<(), Wrong> {
    if host.has("root") {
        return Ok(());
    }
    let own: Vec<String> = std::env::args().map(|word| quoted(&word)).collect();
    Err(Wrong(format!(
        "this mounts volumes, and needs root, which this process is not: run it as \
         `sudo -E env \"PATH=$PATH\" {}`",
        own.join(" ")
    )))
}

/// Why mounts cannot be made and seen here; none: they can.
pub(crate) fn cannot_mount(host: &Host) -> Option<String> {
    let needed = ["root", "CAP_SYS_ADMIN"]
        .into_iter()
        .filter_map(|name| host.feature(name));
    needed
        .filter(|feature| !host.has(feature.name))
        .map(|feature| format!("{}: {}", feature.name, feature.state))
        .next()
}
