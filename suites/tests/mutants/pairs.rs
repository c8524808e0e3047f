//! Two faults at once, as real bugs had them: one must not hide the other.

use csi_drivers::mutation::Mutation;

use crate::mutants::Mutant;

/// The RPC in which it shows, mutations, defects.
type Pair = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const PAIRS: &[Pair] = &[
    // A mount for every publish, one unmount, and a recursive removal over what is left
    // (ceph/ceph-csi#4966).
    (
        "NodeUnpublishVolume",
        &[],
        &["stack-on-repeat-publish", "umount-once-then-removeall"],
    ),
    // The mount comes when the unpublish has found nothing to unmount
    // (kubernetes-csi/csi-driver-nfs#1271).
    (
        "NodeUnpublishVolume",
        &["NodePublishVolume:mount:1=late"],
        &["unpublish-ok-still-mounted"],
    ),
    (
        "NodeUnpublishVolume",
        &[
            "NodePublishVolume:mount:1=late",
            "NodeUnpublishVolume:umount:1=skip",
        ],
        &[],
    ),
    // Mounted twice, unmounted once.
    (
        "NodeUnpublishVolume",
        &["NodePublishVolume:mount:1=twice"],
        &["unpublish-ok-still-mounted"],
    ),
    // The lazy unmount hides that the device is still in use, and nobody takes it away.
    (
        "NodeUnstageVolume",
        &[],
        &["lazy-umount-hides-busy", "loop-left-after-unstage"],
    ),
    // Nothing is mounted at the staging path, and that is bound.
    (
        "NodeStageVolume",
        &["NodeStageVolume:mount:1=lie"],
        &["publish-binds-unmounted-staging"],
    ),
];

pub(crate) fn all() -> Vec<Mutant> {
    PAIRS
        .iter()
        .map(|(rpc, mutations, defects)| Mutant {
            rpc: (*rpc).to_owned(),
            mutations: mutations
                .iter()
                .filter_map(|text| text.parse::<Mutation>().ok())
                .collect(),
            defects: defects.to_vec(),
        })
        .collect()
}
