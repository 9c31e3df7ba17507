//! What the lock file may hold: no banned crate, and nothing from anywhere but the registry.
//!
//! `cargo deny` checks this and the licences too (`deny.toml`); it runs as part of the gate wherever
//! it is installed. This part needs nothing but the lock file, so it runs everywhere.

use crate::run;
use anyhow::{Result, bail};
use std::fs;

/// TLS is rustls with ring; bodies are prost.
const BANNED: [&str; 6] =
    ["openssl", "openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys", "bincode"];
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks the lock file.
///
/// # Errors
/// A line for everything that should not be there.
pub(crate) fn check() -> Result<()> {
    let text = fs::read_to_string(run::workspace().join("Cargo.lock"))?;
    let mut wrong = Vec::new();
    for line in text.lines() {
        let value = |key: &str| line.strip_prefix(key).map(|rest| rest.trim_matches('"'));
        if let Some(name) = value("name = ").filter(|name| BANNED.contains(name)) {
            wrong.push(format!("{name} is banned"));
        }
        if let Some(source) = value("source = ").filter(|source| *source != REGISTRY) {
            wrong.push(format!("{source} is no source for dependencies"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { bail!("Cargo.lock:\n{}", wrong.join("\n")) }
}
