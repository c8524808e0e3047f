//! What is watched during the whole run: mounts, processes, the kernel log, secrets.

use csi_harness::check::{Basis, Clause, Level};

clause!(
    GENERAL_MOUNTS_ONLY_IN_CALLS,
    "general.mounts.only_in_calls",
    Must,
    Integrity,
    "RPC Interface",
    "rpc-interface",
    "An answer tells how a call ended: what it asked for is done by then, or will not be done. Mounts of a volume come and go while a call for it is at work, and at no other time."
);
clause!(
    GENERAL_DISKS_TAKEN_LAST,
    "general.disks.taken_last",
    Must,
    Integrity,
    "NodeUnstageVolume",
    "nodeunstagevolume",
    "A device is taken away when nothing is mounted from it any more, and is whole as long as something is."
);
clause!(
    GENERAL_LOGGING_NO_SENSITIVE,
    "general.logging.no_sensitive",
    Should,
    Specification,
    "Plugin Lifecycle",
    "logging",
    "Other sensitive data than secrets (tokens in volume_context) is kept out of logs too."
);
clause!(
    GENERAL_LOGGING_STDIO_ONLY,
    "general.logging.stdio_only",
    Should,
    Specification,
    "Plugin Lifecycle",
    "logging",
    "Logs go to standard output or standard error only; no log file appears on the node."
);
clause!(
    GENERAL_WORKS_AT_FIRST,
    "general.calls.work_at_first",
    Should,
    Integrity,
    "Error Scheme",
    "error-scheme",
    "A call that can be carried out is, the first time that it is made. That it may be repeated is for what goes wrong, and not how it works."
);
clause!(
    GENERAL_NO_HELPERS_LEFT,
    "general.process.no_helpers_left",
    Should,
    Integrity,
    "Process",
    "process",
    "What a plugin starts for a volume has ended when the volume is taken from the node."
);
