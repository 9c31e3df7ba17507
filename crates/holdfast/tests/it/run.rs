//! Runs the binary.

use serde_json::Value;
use std::process::{Command, Stdio};

/// How a run ended and what it said.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        serde_json::from_str(&self.out).unwrap()
    }
}

/// Runs `holdfast` with these words, away from the environment's settings.
pub(crate) fn holdfast(words: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(words)
        .env_remove("HOLDFAST_SERVER")
        .env_remove("HOLDFAST_TOKEN")
        .env_remove("HOLDFAST_CA")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}
