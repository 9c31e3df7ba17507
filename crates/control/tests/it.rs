//! Members of a control plane and make-believe nodes, in one process, over real sockets and files.

mod it {
    mod api;
    mod cluster;
    mod failover;
    mod http;
    mod node;
    mod store;
    mod volume;
}
