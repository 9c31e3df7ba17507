//! Bytes that are read were written as one, and by somebody.

use crate::cluster::history::Operation;
use crate::cluster::workload::Outcome;
use crate::verdict::{Verdict, demand};

pub(super) fn check(operations: &[Operation]) -> Verdict {
    for operation in operations {
        if let Some((place, Outcome::Garbage(what))) = &operation.done {
            demand(false, "reads return what was written", || {
                format!("at {place} client-{} on {:?}: {what}", operation.client, operation.key)
            })?;
        }
    }
    Ok(())
}
