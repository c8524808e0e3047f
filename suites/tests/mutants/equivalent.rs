//! Mutants that nobody can tell from the honest driver, and why.

/// Patterns of mutations, and the reason why nothing outside can tell them. Each part
/// of `RPC:CALL:N=HOW` is `*`, or words with `|` between them.
pub(crate) const EQUIVALENT: &[(&str, &str)] = &[
    (
        "*:fsync:*=skip|late|twice|wrong-target",
        "what was flushed and what was not is the same until the machine loses its power, \
         and no check can take that away",
    ),
    (
        "*:truncate|loop-capacity|growfs|fsck:*=twice",
        "what has the size already, or is clean already, stays as it is",
    ),
    (
        "NodePublishVolume:mount:2=twice",
        "the second mount(2) sets flags, and they are set already",
    ),
    (
        "NodeUnpublishVolume|NodeUnstageVolume:umount:*=skip",
        "the driver looks after each unmount, and unmounts again what it still sees",
    ),
    (
        "NodeUnpublishVolume:umount:1=twice",
        "all mounts of the volume at the path are to go, and a second unmount takes no other",
    ),
    (
        "NodeUnpublishVolume:loop-clear:1=skip|lie|late",
        "the device behind a read-only block target goes when the volume is unstaged, and \
         nobody says that it has to go before",
    ),
    (
        "NodeUnpublishVolume|NodeUnstageVolume:rename:1=skip",
        "the record still tells of a mount, and is believed as far as the kernel agrees",
    ),
    (
        "NodePublishVolume:rename:1=skip",
        "a mount that no record tells of is known by its device, and taken away",
    ),
    (
        "DeleteVolume|DeleteSnapshot:rmdir:1=skip|late",
        "an empty folder stays in the driver's own place, which is no volume's, and goes at \
         its next start",
    ),
    (
        "*:loop-free:*=lie",
        "number 0 is a free device, or it is refused and the next is asked for",
    ),
    (
        "ControllerPublishVolume:unlink:1=*",
        "what it removes is left by a crash alone",
    ),
    (
        "NodeExpandVolume:rename:1=skip|late",
        "the record does not say that the file system fills its disk: the next stage fills it \
         again, which changes nothing",
    ),
    (
        "NodeExpandVolume:open:7=lie|wrong-target",
        "a folder is opened to be flushed, which shows itself when the machine loses its power",
    ),
    (
        "CreateSnapshot:rename:3=skip|late",
        "the record still says that the volume is frozen: at the next start it is thawed, and is \
         thawed already",
    ),
    (
        "CreateSnapshot:mountinfo:2=lie",
        "a target is looked at where the staging mount is gone, and then it shows nothing that \
         could be frozen",
    ),
    (
        "ControllerUnpublishVolume:unlink:1=skip|late|lie",
        "the link that names the disk stays in the driver's own place, and is made anew when \
         the volume is attached again",
    ),
];

/// The reason that the list has for a mutant of this name.
pub(crate) fn reason(name: &str) -> Option<&'static str> {
    EQUIVALENT
        .iter()
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
