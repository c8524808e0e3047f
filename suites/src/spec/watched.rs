//! What is watched during the whole run: mounts, processes, the kernel log, secrets.
