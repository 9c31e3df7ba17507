//! One suite that every disk passes, and what only a simulated one can show.

mod it {
    mod disk;
}
