//! Clauses about a driver that is killed and started again, and calls that are cut short.

use csi_harness::check::{Basis, Clause, Level};

clause!(
    GENERAL_REBIND_AFTER_KILL,
    "general.endpoint.rebind_after_kill",
    Must,
    Kubernetes,
    "Connectivity",
    "connectivity",
    "After SIGKILL and a new start with the same CSI_ENDPOINT the plugin serves again, although the old socket file is still there."
);
clause!(
    GENERAL_RESTART_MID_CALL,
    "general.restart.mid_call",
    Must,
    Specification,
    "Timeouts",
    "timeouts",
    "Killed in the middle of any call and started again, the plugin brings the same call (same fields) to a good end: what it needs for that outlives the process."
);
clause!(
    GENERAL_RESTART_NEGATE_AFTER_KILL,
    "general.restart.negate_after_kill",
    Must,
    Specification,
    "Timeouts",
    "timeouts",
    "Killed in the middle of a stage or publish and started again, the negation alone cleans up fully."
);
clause!(
    GENERAL_RESTART_PUBLISHED_SURVIVE,
    "general.restart.published_volumes_survive",
    Should,
    Specification,
    "Timeouts",
    "timeouts",
    "Volumes published before a restart of the plugin stay usable."
);
clause!(
    GENERAL_TIMEOUT_RETRY_CONTINUES,
    "general.timeout.retry_continues",
    Must,
    Specification,
    "Timeouts",
    "timeouts",
    "A call that the caller gave up, and that is sent again with the same fields, goes on where it was and ends well; no second resource comes to be."
);
clause!(
    GENERAL_CONCURRENCY_GRACEFUL,
    "general.concurrency.graceful",
    Should,
    Specification,
    "Concurrency",
    "concurrency",
    "Two or more calls in flight for one volume do no damage: the end state is one that a serial order would give."
);
clause!(
    CONTROLLER_DELETE_PARTIAL,
    "controller.delete.partial_artifacts",
    Must,
    Specification,
    "DeleteVolume",
    "deletevolume",
    "A delete that was cut off is brought to its end by a repeat, which gives OK when some of it is gone already."
);
