//! One disk of a node, as the configuration file names it: a folder, or a folder with watermarks.

use crate::size;
use node::space::Watermarks;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Disk {
    Folder(PathBuf),
    Marked(Marked),
}

/// A disk whose watermarks somebody chose.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Marked {
    path: PathBuf,
    /// Below this much free room it is full.
    reserve: Option<String>,
    /// Below this much it gets no new replicas.
    low: Option<String>,
}

impl Disk {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Disk::Folder(path) | Disk::Marked(Marked { path, .. }) => path,
        }
    }

    /// The watermarks that were chosen.
    ///
    /// # Errors
    /// A sentence for people.
    pub(crate) fn watermarks(&self) -> Result<Watermarks, String> {
        let Disk::Marked(marked) = self else { return Ok(Watermarks::default()) };
        let parse = |text: &Option<String>| text.as_deref().map(size::parse).transpose();
        let marks = Watermarks { reserve: parse(&marked.reserve)?, low: parse(&marked.low)? };
        match marks {
            Watermarks { reserve: Some(reserve), low: Some(low) } if low <= reserve => {
                let path = marked.path.display();
                Err(format!("disk {path}: low must be more than reserve"))
            }
            marks => Ok(marks),
        }
    }
}
