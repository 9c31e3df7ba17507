//! Prints: data to standard output, talk to standard error.

use crate::exit::{Exit, Failure, Result};
use comfy_table::{Table, presets};
use control::view::Source;
use serde::Serialize;
use std::io::{IsTerminal, Write};

/// How to print data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs: stable field names, times in RFC 3339, sizes in bytes
    Json,
}

/// Prints a line of data.
pub(crate) fn data(text: &str) -> Result {
    writeln!(std::io::stdout(), "{text}")
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot print: {error}"), ""))
}

/// Says something to the person at the terminal. Nobody need listen.
pub(crate) fn talk(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints a value as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result {
    let text = serde_json::to_string_pretty(value).expect("views are plain data");
    data(&text)
}

/// Prints a list: in a table with these columns, or as an array.
pub(crate) fn list<T: Serialize>(
    format: Format,
    items: &[T],
    columns: &[&str],
    row: impl Fn(&T) -> Vec<String>,
) -> Result {
    if format == Format::Json {
        return json(&items);
    }
    let mut table = plain_table();
    table.set_header(columns.iter().map(|column| column.to_uppercase()));
    for item in items {
        table.add_row(row(item));
    }
    data(trimmed(&table).trim_end())
}

/// Prints one thing: as lines of name and value, or as an object.
pub(crate) fn show<T: Serialize>(format: Format, item: &T, rows: &[(&str, String)]) -> Result {
    if format == Format::Json {
        return json(item);
    }
    data(&pairs(rows))
}

/// Names and values, aligned.
pub(crate) fn pairs(rows: &[(&str, String)]) -> String {
    let mut table = plain_table();
    for (name, value) in rows {
        table.add_row([*name, value.as_str()]);
    }
    trimmed(&table)
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table
}

fn trimmed(table: &Table) -> String {
    let lines: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
    lines.join("\n")
}

/// Says when what is printed is not the leader's present word.
pub(crate) fn mention_age(view: &Source) {
    if view.age_ms == Some(0) {
        return;
    }
    let age = view.age_ms.map_or("of unknown age".to_owned(), |age| format!("{} old", ago(age)));
    talk(&format!(
        "note: the leader of the control plane does not answer; this is the record of member {}, \
         {age}, and says nothing of how things are now",
        view.member
    ));
}

/// An age, for people.
pub(crate) fn ago(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..120_000 => format!("{} s", millis / 1_000),
        120_000..7_200_000 => format!("{} min", millis / 60_000),
        _ => format!("{} h", millis / 3_600_000),
    }
}

/// An age that may be unknown.
pub(crate) fn age(millis: Option<u64>) -> String {
    millis.map_or("-".to_owned(), ago)
}

/// A value that may be unknown.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

/// Asks before something is destroyed: the person types `word`. `yes` has answered already.
pub(crate) fn confirm(question: &str, word: &str, yes: bool) -> Result {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        let message = "this asks first, and nobody is there to answer";
        return Err(Failure::new(Exit::Usage, message, "add --yes to answer beforehand"));
    }
    talk(&format!("{question}\nType '{word}' to go on:"));
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if read.is_ok() && answer.trim() == word {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, "given up; nothing was changed", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        assert_eq!(
            [ago(7), ago(1_500), ago(125_000), ago(7_200_000)],
            ["7 ms", "1 s", "2 min", "2 h"]
        );
        assert_eq!(age(None), "-");
    }
}
