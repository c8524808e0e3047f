//! Disks that fail, and mounts that outlive them.
