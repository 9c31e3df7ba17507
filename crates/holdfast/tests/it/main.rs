//! The whole cluster in one process, on real disks.

mod embedded;
