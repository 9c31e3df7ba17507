//! Tokens, as people see them, and which nodes go by them.

use super::Sight;
use crate::state::Token;
use serde::{Deserialize, Serialize};
use types::{NodeId, VolumeId};

/// One token of a volume. Its secret is known to nobody but its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenView {
    pub id: u64,
    pub volume: u64,
    pub name: String,
    /// `ro` or `rw`.
    pub rights: String,
    /// `live`, `revoked` or `expired`.
    pub state: String,
    pub created: String,
    /// When its time is or was over; `null` for one that lasts until it is revoked.
    pub expires: Option<String>,
    pub ended: Option<String>,
    /// Clients that have the volume open with it, by their own word.
    pub clients: u64,
    /// Nodes that said of themselves that they go by the newest list of tokens.
    pub nodes_told: Vec<u64>,
    /// Nodes that did not: those that are down, or cut off.
    pub nodes_behind: Vec<u64>,
}

/// A new token with its secret, which is shown this once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedToken {
    pub token: TokenView,
    pub secret: String,
}

/// The nodes that go by the newest list of tokens, by a fresh report, and those that do not.
#[must_use]
pub fn nodes(sight: &Sight<'_>) -> (Vec<NodeId>, Vec<NodeId>) {
    let newest = sight.state.access.version;
    sight.state.nodes.keys().partition(|node| {
        sight.fresh(**node).is_some_and(|(report, _)| report.access_version == newest)
    })
}

/// Computes the view of a token that `clients` use.
#[must_use]
pub fn token(sight: &Sight<'_>, volume: VolumeId, token: &Token, clients: u64) -> TokenView {
    let (told, behind) = nodes(sight);
    let numbers = |nodes: Vec<NodeId>| nodes.into_iter().map(|node| node.0).collect();
    TokenView {
        id: token.id.0,
        volume: volume.0,
        name: token.name.clone(),
        rights: token.rights.to_string(),
        state: token.ended.map_or("live", |(why, _)| why.name()).to_owned(),
        created: token.created.to_string(),
        expires: token.expires.map(|at| at.to_string()),
        ended: token.ended.map(|(_, at)| at.to_string()),
        clients,
        nodes_told: numbers(told),
        nodes_behind: numbers(behind),
    }
}
