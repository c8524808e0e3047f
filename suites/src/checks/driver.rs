//! The run as a whole: what is judged by its history, after all other checks.

use std::time::{Duration, Instant};

use csi_harness::check;
use csi_harness::check::{CallRecord, Check, Checked, Cx, Need, Step, Stop, Want};

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &ANSWERS_EVERY_CALL,
    &EXPLAINS_REFUSALS,
    &GATHERS_NOTHING,
    &KEEPS_SECRETS,
    &LEAVES_NOTHING,
    &SERVES_MANY_AT_ONCE,
    &SPEAKS_CSI,
    &STAYS_ALIVE,
];

fn named(call: &CallRecord) -> String {
    format!(
        "{} (call {}, of {})",
        call.rpc,
        call.n,
        if call.check.is_empty() {
            "the setup"
        } else {
            &call.check
        }
    )
}

check! {
    /// Every call is answered by its deadline.
    ///
    /// A call that hangs holds its pod, its volume and, with a lock around it,
    /// every other volume of the node.
    ANSWERS_EVERY_CALL = "driver.answers-every-call",
    clauses: [spec::GENERAL_RPCS_ALL_OR_ERROR],
    needs: Need::Nothing,
    owns: [Step::Answers],
    phase: Last,
    volumes: 0, calls: 0,
    look_at: "what the handler waited for: a lock that was not given back, a command without a time limit, a back end that is away",
    run: answers_every_call,
}

async fn answers_every_call(cx: &Cx) -> Checked {
    let missed = cx.session().history().missed();
    let Some(first) = missed.first() else {
        return Ok(());
    };
    for missed in &missed {
        cx.call(&missed.call);
    }
    let more = match missed.len() {
        1 => String::new(),
        n => format!(", and {} more", n - 1),
    };
    Err(Stop::fail(format!(
        "{} had no answer within {:?}{more}",
        named(&first.call),
        first.deadline
    )))
}

check! {
    /// Volumes that are used side by side do not disturb one another.
    ///
    /// A node has many pods, which come and go on their own. What works when a
    /// volume is alone and fails beside others is of no use there.
    SERVES_MANY_AT_ONCE = "driver.serves-many-at-once",
    clauses: [spec::NODE_UNSTAGE_ONLY_THAT_VOLUME],
    needs: Need::Nothing,
    phase: Last,
    volumes: 0, calls: 0,
    look_at: "what the driver shares among volumes: paths, device names, locks, one list of mounts for all",
    run: serves_many_at_once,
}

/// So many checks that a moment's trouble of the machine does not explain it.
const MANY: usize = 3;

async fn serves_many_at_once(cx: &Cx) -> Checked {
    let doubts = cx.session().doubts();
    if doubts.len() < MANY {
        return Ok(());
    }
    cx.fact("the checks", doubts.join(", "));
    // What was refused is asked again by every caller, and worked then.
    Err(Stop::Warn(format!(
        "steps of {} checks failed beside others; their warnings say which",
        doubts.len()
    )))
}

check! {
    /// The driver stays alive.
    ///
    /// A driver that dies takes every call with it that was at work, on this node
    /// for every pod, and FUSE mounts of its own as well.
    STAYS_ALIVE = "driver.stays-alive",
    clauses: [spec::GENERAL_PROCESS_LONG_RUNNING],
    needs: Need::Nothing,
    owns: [Step::Alive],
    phase: Last,
    volumes: 0, calls: 0,
    seen_in: ["ceph/ceph-csi#4769" => "a call made the plugin panic",
              "piraeusdatastore/linstor-csi#96" => "a nil pointer in NodePublishVolume ended the plugin"],
    look_at: "the driver's own output at that moment, and the call that is named",
    run: stays_alive,
}

async fn stays_alive(cx: &Cx) -> Checked {
    let deaths = cx.session().history().deaths();
    // The one that was asked alone is the one to name.
    let Some(death) = deaths
        .iter()
        .min_by_key(|death| death.suspects.len().max(1))
    else {
        return Ok(());
    };
    for call in &death.suspects {
        cx.call(call);
    }
    if death.by_us {
        return Err(Stop::fail(death.how.clone()));
    }
    let during = match death.suspects.as_slice() {
        [] => "between calls".to_owned(),
        [call] => format!("in {}", named(call)),
        calls => format!(
            "in one of {}",
            calls.iter().map(named).collect::<Vec<_>>().join(", ")
        ),
    };
    let times = match deaths.len() {
        1 => "once".to_owned(),
        n => format!("{n} times"),
    };
    Err(Stop::fail(format!(
        "the driver died {times}; {during}: {}",
        death.how
    )))
}

check! {
    /// Every answer is the message of its call, whole, and of a size to be taken.
    ///
    /// A stream that is reset, bytes that are no message, or more than the 4 MiB
    /// that gRPC clients take, are failures to the kubelet and nothing else.
    SPEAKS_CSI = "driver.speaks-csi",
    clauses: [spec::GENERAL_TRANSPORT_GRPC],
    needs: Need::Nothing,
    owns: [Step::Speaks],
    phase: Last,
    volumes: 0, calls: 0,
    look_at: "a handler that panics (the server resets its stream), or a message type of another release",
    run: speaks_csi,
}

async fn speaks_csi(cx: &Cx) -> Checked {
    let history = cx.session().history();
    let wrong: Vec<_> = history
        .garbled()
        .into_iter()
        .chain(history.broken())
        .filter(|call| !call.check.is_empty())
        .collect();
    let Some(first) = wrong.first() else {
        return Ok(());
    };
    for call in &wrong {
        cx.call(call);
    }
    Err(Stop::fail(format!("{}: {}", named(first), first.message)))
}

check! {
    /// Every refusal has a message.
    ///
    /// It is all that an administrator sees of what went wrong.
    EXPLAINS_REFUSALS = "driver.explains-refusals",
    clauses: [spec::GENERAL_STATUS_MESSAGE_PRESENT],
    needs: Need::Nothing,
    phase: Last,
    volumes: 0, calls: 0,
    run: explains_refusals,
}

async fn explains_refusals(cx: &Cx) -> Checked {
    let wordless = cx.session().history().wordless();
    // Where a whole service is missing, the gRPC library answers by itself.
    let own = |call: &&CallRecord| call.code != "UNIMPLEMENTED";
    match wordless.iter().find(own) {
        None => Ok(()),
        Some(call) => {
            cx.call(call);
            Err(Stop::fail(format!(
                "{} was refused with {} and no message",
                named(call),
                call.code
            )))
        }
    }
}

check! {
    /// Cycles of use leave no processes, descriptors or threads behind.
    ///
    /// A driver runs for months: what it gathers with each volume ends with the
    /// node out of processes or the driver out of descriptors.
    GATHERS_NOTHING = "driver.gathers-nothing",
    clauses: [spec::GENERAL_PROCESS_LONG_RUNNING],
    needs: Need::All(&[Need::ANY_VOLUME, Need::DriverNamespace]),
    phase: Alone,
    volumes: 1, calls: 270,
    seen_in: ["ctrox/csi-s3#74" => "helpers that were never waited for stayed as zombies",
              "kubernetes-sigs/aws-efs-csi-driver#175" => "zombies of mount helpers"],
    look_at: "wait for every child that is started, and close what is opened, on the ways of an error too",
    run: gathers_nothing,
}

/// So many that one more a cycle stands out from a pool that fills up, and a driver
/// that is slow has time for.
const LEAST: u64 = 8;
/// So many that one more in every few cycles stands out too.
const CYCLES: u64 = 50;
/// No more cycles are begun after this long.
const LONG_ENOUGH: Duration = Duration::from_secs(4);

async fn gathers_nothing(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    let cycle = async || -> Checked {
        let staged = volume.stage().await?;
        let target = staged.publish("a").await?;
        // What the kubelet asks most often of all.
        target.try_stats().await?;
        target.unpublish().await?;
        staged.unstage().await
    };
    cycle().await?;
    let before = cx.holdings().await?;
    let (began, mut cycles) = (Instant::now(), 0);
    while cycles < LEAST || (cycles < CYCLES && began.elapsed() < LONG_ENOUGH) {
        cycle().await?;
        cycles += 1;
    }
    let after = cx.holdings().await?;
    cx.fact(
        "the driver's process",
        format!("after one cycle {before}; after {cycles} more {after}"),
    );
    // Beyond what a pool may grow by, a quarter is more than chance.
    let many = (cycles / 4).max(LEAST);
    if after.zombies >= before.zombies + many {
        return Err(Stop::fail(format!(
            "{} zombies more after {cycles} cycles",
            after.zombies - before.zombies
        )));
    }
    for (what, before, after) in [
        ("descriptors", before.descriptors, after.descriptors),
        ("threads", before.threads, after.threads),
    ] {
        if after >= before + many {
            return Err(Stop::Warn(format!(
                "{before} {what} before, {after} after {cycles} cycles"
            )));
        }
    }
    Ok(())
}

check! {
    /// The secrets that it is given come back nowhere.
    ///
    /// Logs are read by more people than secrets are, and status messages are
    /// shown to the users of the claim.
    KEEPS_SECRETS = "driver.keeps-secrets",
    clauses: [spec::GENERAL_LOGGING_NO_SECRETS, spec::GENERAL_SECRETS_NOT_IN_STATUS],
    needs: Need::Nothing,
    phase: Last,
    volumes: 0, calls: 0,
    seen_in: ["CVE-2023-2878" => "service account tokens stood in the log"],
    look_at: "what is logged of a request: fields marked csi_secret have to be masked",
    run: keeps_secrets,
}

async fn keeps_secrets(cx: &Cx) -> Checked {
    let secrets = cx.session().config().secrets.values();
    // Short values stand in many a line by chance, and so does a word of a path.
    let open = cx.session().client.open_secrets();
    let long: Vec<_> = secrets
        .into_iter()
        .filter(|secret| secret.len() >= 8 && !open.contains(*secret))
        .collect();
    if long.is_empty() {
        return Err(Stop::not_given(
            "secrets of at least 8 characters, which stand in nothing else that is sent",
        ));
    }
    if let Some(call) = cx.session().history().leaks().first() {
        cx.call(call);
        return Err(Stop::fail(format!(
            "a secret stands in the answer to {}",
            named(call)
        )));
    }
    let owned: Vec<_> = long.iter().map(|secret| (*secret).to_owned()).collect();
    if let Some(place) = cx.session().in_arguments(&owned) {
        return Err(Stop::fail(format!("a secret stands {place}")));
    }
    let Some(output) = cx.session().driver_output().await else {
        return Ok(());
    };
    match output
        .lines()
        .find(|line| long.iter().any(|secret| line.contains(secret)))
    {
        Some(line) => Err(Stop::fail(format!(
            "a secret stands in the driver's output: {line}"
        ))),
        None => Ok(()),
    }
}

check! {
    /// At the end of the run nothing of the driver's work is left on the node.
    ///
    /// Also after a quiet period: a mount that comes late, when nobody asks for it
    /// any more, is one that nobody will take away.
    LEAVES_NOTHING = "driver.leaves-nothing",
    clauses: [spec::NODE_UNPUBLISH_UNDOES, spec::NODE_UNSTAGE_UNDOES],
    needs: Need::Nothing,
    phase: Last,
    volumes: 0, calls: 0,
    look_at: "what still runs in the background after an answer: mount helpers, retries",
    run: leaves_nothing,
}

async fn leaves_nothing(cx: &Cx) -> Checked {
    let left = cx.session().left();
    for what in &left {
        cx.fact("left", what.clone());
    }
    match left.first() {
        None => Ok(()),
        Some(what) => Err(Stop::fail(format!("left at the end of the run: {what}"))),
    }
}
