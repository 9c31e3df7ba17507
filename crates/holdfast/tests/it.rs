//! The binary, as people run it, and the whole cluster in one process.

#![allow(clippy::disallowed_methods, reason = "tests look from outside")]

mod it {
    mod admin;
    mod cluster;
    mod embedded;
    mod failover;
    mod fsck;
    mod inspect;
    mod run;
    mod semantics;
    mod session;
    mod space;
    mod usage;
}
