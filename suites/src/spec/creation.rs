//! Where volumes come from: snapshots, clones, sizes.
