//! The commands, one file per group.

pub(crate) mod ca;
pub(crate) mod client;
pub(crate) mod conditions;
pub(crate) mod disk;
pub(crate) mod events;
pub(crate) mod fsck;
pub(crate) mod inspect;
pub(crate) mod mount;
pub(crate) mod node;
pub(crate) mod operation;
pub(crate) mod partition;
pub(crate) mod rebalance;
pub(crate) mod server;
pub(crate) mod status;
pub(crate) mod token;
pub(crate) mod up;
pub(crate) mod volume;
pub(crate) mod watch;
pub(crate) mod zone;
