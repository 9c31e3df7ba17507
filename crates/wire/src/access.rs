//! The secret of a token, as its owner shows it with each request.
//!
//! In text it is `hfv-` and 64 hexadecimal digits; on the wire its 32 bytes go before the body of a
//! frame. It is never logged: its `Debug` does not show it. Who checks it knows its hash only.

use ring::digest::{SHA256, digest};
use std::fmt;
use types::access::{TokenHash, from_hex};

/// How long a secret is.
pub const SECRET_BYTES: usize = 32;

const PREFIX: &str = "hfv-";

/// What the owner of a token has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret([u8; SECRET_BYTES]);

/// A text that is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token is 'hfv-' and 64 hexadecimal digits")]
pub struct NoToken;

impl Secret {
    /// A new one; `draw` must be unpredictable.
    pub fn draw(mut draw: impl FnMut() -> u64) -> Secret {
        let mut bytes = [0; SECRET_BYTES];
        bytes.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&draw().to_le_bytes()));
        // What is drawn is never zero, so a little is lost; hashing spreads that evenly.
        let hash = digest(&SHA256, &bytes);
        bytes.copy_from_slice(hash.as_ref());
        Secret(bytes)
    }

    /// Takes the bytes from the wire; `None` when there are too many or too few.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Secret> {
        bytes.try_into().ok().map(Secret)
    }

    /// The bytes, for the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What others know of it.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        let hash = digest(&SHA256, &self.0);
        TokenHash(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// The text for its owner. To be shown once, and never to be logged.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", TokenHash(self.0))
    }
}

impl std::str::FromStr for Secret {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<Secret, NoToken> {
        let digits = text.trim().strip_prefix(PREFIX).ok_or(NoToken)?;
        from_hex(digits).map(Secret).ok_or(NoToken)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_survives_its_text_and_is_not_shown_otherwise() {
        let mut next = 1;
        let secret = Secret::draw(|| {
            next += 1;
            next
        });
        assert_eq!(format!(" {}\n", secret.reveal()).parse(), Ok(secret));
        assert_eq!(Secret::from_bytes(secret.as_bytes()), Some(secret));
        assert!(!format!("{secret:?}").contains(&secret.reveal()[4..12]));
        assert_ne!(secret.hash().0.as_slice(), secret.as_bytes());
        for wrong in ["", "hfv-", "hfv-12", &secret.reveal()[4..], &format!("{}0", secret.reveal())]
        {
            assert_eq!(wrong.parse::<Secret>(), Err(NoToken), "{wrong}");
        }
        assert_eq!(Secret::from_bytes(&[0; 31]), None);
    }

    #[test]
    fn the_hash_is_that_of_the_standard() {
        let zeros = Secret([0; SECRET_BYTES]).hash().to_string();
        assert_eq!(zeros, "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925");
    }
}
