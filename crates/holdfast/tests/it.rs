//! The binary, as people run it, and the whole cluster in one process.

mod it {
    mod admin;
    mod embedded;
    mod run;
    mod usage;
}
