//! Mutants that nobody can tell from the honest driver, and why.

mod fuse;
mod looper;
mod nfs;

use csi_drivers::defect::Kind;

/// A pattern of mutations, and the reason why nothing outside can tell them. Each part
/// of `RPC:CALL:N=HOW` is `*`, or words with `|` between them.
pub(crate) type Reason = (&'static str, &'static str);

/// Those of every driver.
const ALL: &[Reason] = &[
    (
        "*:fsync:*=skip|late|twice|wrong-target",
        "what was flushed and what was not is the same until the machine loses its power, \
         and no check can take that away",
    ),
    (
        "*:mkdir|rmdir|unlink|rename:*=twice",
        "the kernel refuses the second: what it makes is there, and what it takes is gone",
    ),
    (
        "*:truncate|loop-capacity|growfs|fsck:*=twice",
        "what has the size already, or is clean already, stays as it is",
    ),
];

/// All reasons that hold for a driver.
pub(crate) fn of(driver: Kind) -> impl Iterator<Item = &'static Reason> {
    let own = match driver {
        Kind::Loop => looper::LOOP,
        Kind::Nfs => nfs::NFS,
        Kind::Fuse => fuse::FUSE,
    };
    ALL.iter().chain(own)
}

/// The reason that the list has for a mutant of this name.
pub(crate) fn reason(driver: Kind, name: &str) -> Option<&'static str> {
    of(driver)
        .find(|(pattern, _)| matches(pattern, name))
        .map(|(_, reason)| *reason)
}

fn matches(pattern: &str, name: &str) -> bool {
    let parts = |text: &str| {
        text.split([':', '='])
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (pattern, name) = (parts(pattern), parts(name));
    pattern.len() == name.len()
        && pattern
            .iter()
            .zip(&name)
            .all(|(wanted, part)| wanted == "*" || wanted.split('|').any(|word| word == part))
}
