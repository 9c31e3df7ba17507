//! The binary, as people run it.

mod it {
    mod admin;
    mod run;
    mod usage;
}
