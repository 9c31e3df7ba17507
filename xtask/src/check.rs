//! The gate that people and CI share. It reads and never rewrites.

use crate::{lockfile, ratchet, run};
use anyhow::Result;
use clap::Args;
use std::process::Command;

#[derive(Debug, Args)]
pub(crate) struct Check {}

impl Check {
    pub(crate) fn run(self) -> Result<()> {
        run::succeed(run::cargo().args(["fmt", "--all", "--check"]))?;
        ratchet::check()?;
        lockfile::check()?;
        let lints = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        run::succeed(run::cargo().args(lints))?;
        if run::has("cargo-deny") {
            let mut deny = Command::new("cargo-deny");
            deny.current_dir(run::workspace()).arg("check");
            run::succeed(deny.args(["bans", "licenses", "sources"]))?;
        } else {
            run::say("cargo-deny is not installed: licences are not checked");
        }
        let mut docs = run::cargo();
        docs.env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--workspace", "--no-deps"]);
        run::succeed(&mut docs)
    }
}
