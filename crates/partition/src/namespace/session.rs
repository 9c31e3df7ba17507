//! One live session as the store keeps it.
//!
//! ```text
//! nonce(8) opened(8) renewed(8) reserved(8) remembered_from(8) name(..)
//! ```

use super::codec::{Malformed, Reader, Writer};
use types::namespace::Session;

/// Longest name a client may give itself.
pub(super) const NAME_BYTES_MAX: usize = 256;

pub(super) fn encode(session: &Session) -> Vec<u8> {
    let mut writer = Writer::with_capacity(40 + session.name.len());
    writer.u64(session.nonce).i64(session.opened).i64(session.renewed);
    writer.u64(session.reserved).u64(session.remembered_from);
    writer.raw(session.name.as_bytes());
    writer.finish()
}

pub(super) fn decode(id: u64, body: &[u8]) -> Result<Session, Malformed> {
    let mut reader = Reader::new(body);
    let nonce = reader.u64()?;
    let opened = reader.i64()?;
    let renewed = reader.i64()?;
    let reserved = reader.u64()?;
    let remembered_from = reader.u64()?;
    let name = std::str::from_utf8(reader.rest()).map_err(|_| Malformed::Field("name"))?;
    Ok(Session { id, nonce, name: name.to_owned(), opened, renewed, reserved, remembered_from })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_comes_back_as_it_was_and_damage_is_told() {
        let session = Session {
            id: 3,
            nonce: u64::MAX,
            name: "host:/mnt".to_owned(),
            opened: -1,
            renewed: 2,
            reserved: 3,
            remembered_from: 4,
        };
        let good = encode(&session);
        assert_eq!(decode(3, &good), Ok(session));
        for length in 0..40 {
            assert_eq!(decode(3, &good[..length]), Err(Malformed::Short));
        }
        let mut bad = good;
        *bad.last_mut().unwrap() = 0xff;
        assert_eq!(decode(3, &bad), Err(Malformed::Field("name")));
    }
}
