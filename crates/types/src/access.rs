//! Who may do what with a volume: tokens and their rights.
//!
//! A token is a secret that a program shows with each request. Nobody keeps it but its owner: the
//! cluster knows its [`TokenHash`]. Secrets themselves are in the `wire` crate.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// What the owner of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Rights {
    /// Look at everything, change nothing.
    #[serde(rename = "ro")]
    ReadOnly,
    #[serde(rename = "rw")]
    ReadWrite,
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Rights::ReadOnly => "ro",
            Rights::ReadWrite => "rw",
        })
    }
}

impl FromStr for Rights {
    type Err = String;

    fn from_str(text: &str) -> Result<Rights, String> {
        match text {
            "ro" => Ok(Rights::ReadOnly),
            "rw" => Ok(Rights::ReadWrite),
            _ => Err(format!("'{text}' is none of: ro, rw")),
        }
    }
}

/// SHA-256 of a token's secret. The secret cannot be found from it: it is drawn from 2^256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TokenHash, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = from_hex(&text);
        bytes.map(TokenHash).ok_or_else(|| serde::de::Error::custom("64 hexadecimal digits"))
    }
}

/// Reads 64 hexadecimal digits.
#[must_use]
pub fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_survives_its_text() {
        let hash = TokenHash(std::array::from_fn(|at| u8::try_from(at * 7).unwrap()));
        let text = hash.to_string();
        assert_eq!(from_hex(&text).map(TokenHash), Some(hash));
        for wrong in ["", "12", &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn rights_have_one_word_each() {
        for rights in [Rights::ReadOnly, Rights::ReadWrite] {
            assert_eq!(rights.to_string().parse(), Ok(rights));
        }
        assert!("w".parse::<Rights>().is_err());
    }
}
