//! Lines that may only move one way: lengths of files and functions, arrows between crates, test
//! executables.
//!
//! What was over the line when the ratchet was introduced is listed in `xtask/ratchet.txt` with its
//! length then. It may shrink and not grow; nothing else may cross the line.

use crate::run;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 50;

/// Crates whose code decides and must not act: none of these may be among their dependencies.
const PURE: [&str; 2] = ["types", "partition"];
const EFFECTS: [&str; 8] =
    ["tokio", "world", "wire", "rand", "rustix", "fjall", "redb", "openraft"];

/// Checks everything.
///
/// # Errors
/// A sentence for everything that crosses a line.
pub(crate) fn check() -> Result<()> {
    let root = run::workspace();
    let listed = fs::read_to_string(root.join("xtask/ratchet.txt")).unwrap_or_default();
    let allowed = parse(&listed)?;
    let mut wrong = Vec::new();
    for file in sources(&root)? {
        let name = file.strip_prefix(&root)?.display().to_string();
        let text = fs::read_to_string(&file)?;
        measure(&name, &text, &mut |what, length, line| {
            if length > allowed.get(what).copied().unwrap_or(line) {
                wrong.push(format!("{what} {length}"));
            }
        });
    }
    check_arrows(&root, &mut wrong)?;
    check_tests(&root, &mut wrong)?;
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("over the line (see xtask/src/ratchet.rs):\n{}", wrong.join("\n"))
}

fn parse(listed: &str) -> Result<BTreeMap<String, usize>> {
    let mut allowed = BTreeMap::new();
    for line in listed.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (what, length) = line.rsplit_once(' ').context("each line is a name and a length")?;
        allowed.insert(what.to_owned(), length.parse()?);
    }
    Ok(allowed)
}

fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = vec![root.join("crates"), root.join("xtask")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Tells the length of a file and of each of its functions, tests left out. The code is formatted,
/// so a function ends at the first closing brace that is indented like it.
fn measure(name: &str, text: &str, tell: &mut dyn FnMut(&str, usize, usize)) {
    let is_test = name.contains("/tests/") || name.ends_with("tests.rs");
    let lines: Vec<&str> = text.lines().collect();
    let code = lines.iter().position(|line| line.starts_with("mod tests {")).unwrap_or(lines.len());
    tell(name, code, FILE_LINES_MAX);
    if is_test {
        return;
    }
    for (at, line) in lines[..code].iter().enumerate() {
        let Some(function) = function_name(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let closing = format!("{}}}", " ".repeat(indent));
        let end = lines[at..code].iter().position(|line| *line == closing);
        if let Some(length) = end {
            tell(&format!("{name} {function}"), length, FUNCTION_LINES_MAX);
        }
    }
}

fn function_name(line: &str) -> Option<&str> {
    let rest = line.trim_start();
    let prefixes = ["pub ", "pub(crate) ", "pub(super) ", "async ", "const "];
    let mut rest = rest;
    while let Some(shorter) = prefixes.iter().find_map(|prefix| rest.strip_prefix(prefix)) {
        rest = shorter;
    }
    let name = rest.strip_prefix("fn ")?;
    name.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

fn check_arrows(root: &Path, wrong: &mut Vec<String>) -> Result<()> {
    for name in PURE {
        let manifest = fs::read_to_string(root.join(format!("crates/{name}/Cargo.toml")))?;
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        for effect in EFFECTS {
            if dependencies.lines().any(|line| line.starts_with(&format!("{effect}."))) {
                wrong.push(format!("{name} is pure and depends on {effect}"));
            }
        }
    }
    for name in ["mount", "client"] {
        let manifest = fs::read_to_string(root.join(format!("crates/{name}/Cargo.toml")))?;
        for behind in ["node.", "partition.", "control."] {
            if manifest.lines().any(|line| line.starts_with(behind)) {
                wrong.push(format!("{name} must not see what is behind the client: {behind}"));
            }
        }
    }
    Ok(())
}

fn check_tests(root: &Path, wrong: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(root.join("crates"))? {
        let tests = entry?.path().join("tests");
        let Ok(files) = fs::read_dir(&tests) else { continue };
        let executables = files
            .filter_map(|file| file.ok())
            .filter(|file| file.path().extension().is_some_and(|extension| extension == "rs"))
            .count();
        if executables > 1 {
            wrong.push(format!("{}: one test executable per crate", tests.display()));
        }
    }
    Ok(())
}
