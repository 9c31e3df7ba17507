//! The table of conditions that several commands print.

use crate::exit::Result;
use crate::output::{self, Format, age};
use control::view::ConditionView;

/// Prints conditions with their evidence, how long ago each was checked, and what to do.
pub(crate) fn print(title: &str, conditions: &[ConditionView]) -> Result {
    if conditions.is_empty() {
        return Ok(());
    }
    output::data(&format!("\n{title}"))?;
    let columns = ["condition", "state", "since", "checked", "evidence", "what to do"];
    output::list(Format::Table, conditions, &columns, |condition| {
        vec![
            condition.condition.clone(),
            condition.state.clone(),
            condition.since.clone(),
            age(condition.checked_age_ms),
            condition.evidence.clone(),
            condition.advice.clone(),
        ]
    })
}
