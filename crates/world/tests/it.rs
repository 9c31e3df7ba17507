//! One suite that every disk passes, and what only a simulated one can show.

#![allow(clippy::disallowed_methods, reason = "tests look from outside")]

mod it {
    mod disk;
}
