//! Members of a control plane and make-believe nodes, in one process, over real sockets and files.

#![allow(clippy::disallowed_methods, reason = "tests look from outside")]

mod it {
    mod api;
    mod cluster;
    mod failover;
    mod http;
    mod node;
    mod operation;
    mod store;
    mod token;
    mod volume;
    mod watch;
}
