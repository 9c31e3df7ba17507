//! Hostile input for everything that is read from a network or a disk.
//!
//! A target is a function that takes any bytes, may refuse them, and must not panic, take long, or
//! contradict itself (what it accepts, it writes again as the same bytes, or so that it reads as the
//! same). [`runner`] makes inputs from valid ones: it changes them anywhere, and often puts the
//! checksums right again, so that the code behind the checksums gets its share.
//!
//! | part | is |
//! | --- | --- |
//! | [`target`] | what is fuzzed, one file each |
//! | [`mutate`] | from valid bytes and dice to inputs |
//! | [`runner`] | cases by seed, until the time is over |
//!
//! Everything runs on stable Rust. Coverage-guided fuzzers can call the same functions: a target is
//! `fn(&[u8])`.

pub mod dice;
pub mod mutate;
pub mod runner;
pub mod target;
