//! The binary, as people run it, and the whole cluster in one process.

#![allow(clippy::disallowed_methods, reason = "tests look from outside")]

mod it {
    mod access;
    mod admin;
    mod alerts;
    mod apart;
    mod cluster;
    mod damage;
    mod embedded;
    mod ends;
    mod failover;
    mod failure;
    mod farm;
    mod fleet;
    mod fsck;
    mod full;
    mod hosts;
    mod idle;
    mod inspect;
    mod kernel;
    mod life;
    mod load;
    mod mixup;
    mod mounted;
    mod names;
    mod operations;
    mod programs;
    mod proxy;
    mod run;
    mod semantics;
    mod session;
    mod space;
    mod strangers;
    mod troubles;
    mod usage;
    mod workload;
}
