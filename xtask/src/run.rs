//! Running other programs.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder that holds the workspace.
pub(crate) fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies in the workspace").to_owned()
}

/// The cargo that runs this.
pub(crate) fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace());
    command
}

/// A program of the workspace, built as the tests are: built alone its dependencies would have other features, and
/// most of them would be compiled once more.
pub(crate) fn program(name: &str) -> Result<Command> {
    succeed(cargo().args(["build", "--quiet", "--workspace", "--bins", "--tests"]))?;
    let mut command = Command::new(workspace().join("target/debug").join(name));
    command.current_dir(workspace());
    Ok(command)
}

/// Runs a program to its end; anything but success is an error that names it.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

/// Whether a program is on the path.
pub(crate) fn has(program: &str) -> bool {
    find(program).is_some()
}

/// Where a program is: on the path, or where cargo installs.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME")?;
        Some(Path::new(&home).join(".cargo"))
    });
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(home.map(|home| home.join("bin")));
    folders.into_iter().map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Whether this runs with the rights to mount, and to act as others.
pub(crate) fn is_root() -> Result<bool> {
    let said = Command::new("id").arg("-u").output().context("cannot run id")?;
    Ok(said.stdout.trim_ascii() == b"0")
}

/// Says something to whoever watches.
pub(crate) fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}
