//! The binary, as people run it, and the whole cluster in one process.

mod it {
    mod admin;
    mod cluster;
    mod embedded;
    mod run;
    mod session;
    mod space;
    mod usage;
}
