//! What a user creates.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// When a write counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// Every in-sync replica has it in its log; `fsync` still reaches all their disks.
    #[default]
    Replicated,
    /// Every in-sync replica has it on its disk.
    Synced,
}

/// The kinds of volume a user may create.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeKind {
    /// A POSIX tree.
    File,
}

macro_rules! words {
    ($name:ident { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $($name::$variant => $word),+ })
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($name::$variant),)+
                    _ => Err(format!("'{text}' is none of: {}", [$($word),+].join(", "))),
                }
            }
        }
    };
}

words!(Durability { Replicated => "replicated", Synced => "synced" });
words!(VolumeKind { File => "file" });
