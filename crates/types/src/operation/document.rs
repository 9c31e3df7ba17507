//! The tables of docs/operations.md, made from the tables here.

use super::{Lasting, LockKind, OperationKind, OperationState, Reason};
use std::fmt::Write;

/// Everything in docs/operations.md between its two markers.
#[must_use]
pub fn tables() -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_all(&mut text);
    text
}

fn write_all(text: &mut String) -> std::fmt::Result {
    writeln!(text, "### Kinds\n\n| kind | does |\n| --- | --- |")?;
    for kind in OperationKind::ALL {
        writeln!(text, "| `{kind}` | {} |", kind.does())?;
    }
    writeln!(text, "\n### States\n\n```mermaid\nstateDiagram-v2")?;
    for (from, to) in super::state::TRANSITIONS {
        writeln!(text, "    {from} --> {to}")?;
    }
    writeln!(text, "```\n\n| state | means |\n| --- | --- |")?;
    for state in OperationState::ALL {
        writeln!(text, "| `{state}` | {} |", state.means())?;
    }
    writeln!(
        text,
        "\n### Residue\n\n| code | lasts | means | what to do |\n| --- | --- | --- | --- |"
    )?;
    for reason in Reason::ALL {
        let lasts = match reason.lasting() {
            Lasting::Temporary => "passes by itself",
            Lasting::Permanent => "until somebody acts",
        };
        writeln!(text, "| `{reason}` | {lasts} | {} | {} |", reason.means(), reason.action())?;
    }
    writeln!(text, "\n### Locks\n\nA holder of the one keeps out others with a ✗.\n")?;
    let heads: Vec<&str> = LockKind::ALL.iter().map(|kind| kind.word()).collect();
    writeln!(text, "| | {} |\n| --- |{}", heads.join(" | "), " --- |".repeat(heads.len()))?;
    for kind in LockKind::ALL {
        let cell = |other: &LockKind| if kind.excludes(*other) { "✗" } else { "" };
        let cells: Vec<&str> = LockKind::ALL.iter().map(cell).collect();
        writeln!(text, "| `{kind}` | {} |", cells.join(" | "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "<!-- tables: begin -->\n";
    const END: &str = "<!-- tables: end -->";

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test looks at the documentation")]
    fn the_documentation_is_what_the_tables_are() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (before, rest) = text.split_once(BEGIN).unwrap();
        let (found, after) = rest.split_once(END).unwrap();
        if std::env::var_os("HOLDFAST_BLESS").is_some() {
            std::fs::write(path, format!("{before}{BEGIN}\n{}{END}{after}", tables())).unwrap();
            return;
        }
        assert_eq!(found.trim(), tables().trim(), "docs/operations.md is stale: HOLDFAST_BLESS=1");
    }
}
