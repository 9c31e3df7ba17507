//! Frames, sessions, and the messages of each service.

pub mod control;
