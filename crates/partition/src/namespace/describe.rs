//! What one pair of a namespace's store says, in words; for `inspect`, never for decisions.

use super::codec::{Malformed, unseal};
use super::entry::Bucket;
use super::inode::Inode;
use super::key;
use super::lock_table::LockTable;
use super::state::decode_number;
use super::store::shown;
use super::totals::Totals;
use prost::Message;
use types::namespace::{Outcome, Session};

/// What a key is about.
#[must_use]
pub fn key(key: &[u8]) -> String {
    let number = |at: usize| key::number(key, at).unwrap_or(0);
    match key.first() {
        Some(b'!') => "a transfer into this store is under way".into(),
        Some(&key::CHUNK) => format!("inode {} chunk {}", number(1), number(9)),
        Some(&key::ENTRY) => {
            format!(
                "folder {} names with hash {:014x}",
                number(1),
                key::entry_hash(key).unwrap_or(0)
            )
        }
        Some(&key::HOLDING) => {
            format!("session {} holds '{}' of inode {}", number(1), shown(&key[9..10]), number(10))
        }
        Some(&key::INODE) => format!("inode {}", number(1)),
        Some(&key::LOCKS) => format!("locks on inode {}", number(1)),
        Some(&key::ORPHAN) => format!("inode {} is an orphan", number(1)),
        Some(&key::OUTCOME) => format!("session {} outcome {}", number(1), number(9)),
        Some(&key::SESSION) => format!("session {}", number(1)),
        Some(b'T') => "totals".into(),
        Some(&key::XATTR) if key.len() > 9 => {
            format!("inode {} attribute '{}'", number(1), String::from_utf8_lossy(&key[9..]))
        }
        _ => format!("key {} of no known kind", shown(key)),
    }
}

/// What its value says.
///
/// # Errors
/// When the value is damaged, or of a version this build does not know.
pub fn value(key: &[u8], value: &[u8]) -> Result<String, Malformed> {
    let body = unseal(key, value)?;
    let id = key::number(key, 1).unwrap_or(0);
    Ok(match key.first() {
        Some(&key::CHUNK) => format!("in data partition {}", decode_number(body)?),
        Some(&key::ENTRY) => names(&Bucket::decode(body)?),
        Some(&key::INODE) => format!("{:?}", Inode::decode(id, body)?),
        Some(&key::LOCKS) => format!("{:?}", LockTable::decode(body)?.locks),
        Some(&key::OUTCOME) => match Outcome::decode(body) {
            Ok(outcome) => format!("{:?}", outcome.body),
            Err(_) => return Err(Malformed::Field("outcome")),
        },
        Some(&key::SESSION) => {
            let session: Session = super::session::decode(id, body)?;
            format!("{session:?}")
        }
        Some(b'T') => format!("{:?}", Totals::decode(body)?),
        _ => format!("{} bytes", body.len()),
    })
}

fn names(bucket: &Bucket) -> String {
    let name = |entry: &super::entry::Entry| {
        let name = String::from_utf8_lossy(&entry.name);
        format!("'{name}' -> {:?} {}", entry.kind, entry.inode)
    };
    bucket.entries.iter().map(name).collect::<Vec<_>>().join(", ")
}
