//! The tables and diagrams of docs/conditions.md, made from the rules.

use super::fact::{Fact, State};
use super::table::{self, Proof, RULES};
use std::fmt::Write;

/// Everything in docs/conditions.md between its two markers.
#[must_use]
pub fn tables() -> String {
    let mut text = String::new();
    for fact in Fact::ALL {
        // Writing to a string does not fail.
        let _ = section(&mut text, *fact);
    }
    text
}

fn section(text: &mut String, fact: Fact) -> std::fmt::Result {
    writeln!(text, "### `{fact}`\n\nChanged by {} only.\n", table::owner_words(fact))?;
    writeln!(text, "```mermaid\nstateDiagram-v2")?;
    for rule in RULES.iter().filter(|rule| rule.fact == fact) {
        writeln!(text, "    {} --> {}", rule.from.map_or("[*]", State::word), rule.to)?;
    }
    writeln!(text, "```\n\n| from | to | has to be shown |\n| --- | --- | --- |")?;
    for rule in RULES.iter().filter(|rule| rule.fact == fact) {
        let needs: Vec<&str> = rule.needs.iter().map(|proof: &Proof| proof.words()).collect();
        let from = rule.from.map_or("(nothing known)", State::word);
        writeln!(text, "| {from} | {} | {} |", rule.to, needs.join("; or "))?;
    }
    writeln!(text, "\n| state | what to do |\n| --- | --- |")?;
    for state in &table::states(fact)[1..] {
        let advice = table::advice(fact, *state);
        let advice = if advice.is_empty() { "wait: it passes by itself" } else { advice };
        writeln!(text, "| {state} | {advice} |")?;
    }
    writeln!(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "<!-- rules: begin -->\n";
    const END: &str = "<!-- rules: end -->";

    /// The only place where this crate touches a file: the documentation must say what the rules say.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test looks at the documentation")]
    fn the_documentation_is_what_the_rules_are() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/conditions.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (before, rest) = text.split_once(BEGIN).unwrap();
        let (found, after) = rest.split_once(END).unwrap();
        if std::env::var_os("HOLDFAST_BLESS").is_some() {
            std::fs::write(path, format!("{before}{BEGIN}\n{}{END}{after}", tables())).unwrap();
            return;
        }
        assert_eq!(found.trim(), tables().trim(), "docs/conditions.md is stale: see there");
    }
}
