//! How long a client keeps a file's delegation, and what may wait meanwhile.

use super::CLIENT_SESSION_SILENCE_MAX;
use std::time::Duration;

/// A client that appends to a file gives others their turn after this long.
pub const APPEND_HOLD_MAX: Duration = Duration::from_millis(50);

/// A sync leaves telling the namespace to whoever gives the file's delegation back for at most so long after that was
/// asked for. The cluster cannot have ended the session, and given the delegation to another, by then.
pub const DEFERRAL_MAX: Duration = Duration::from_secs(1);

/// A client that synced a file again and again leaves others so long to take its delegation before it does again.
pub const SYNC_HOLD_PAUSE: Duration = Duration::from_millis(10);

/// A client that cannot tell what it owes before it gives a delegation back tries again after this long at most.
pub const RELEASE_RETRY_MAX: Duration = Duration::from_secs(5);

/// A look at a name waits at most so long for the data of a file that another client has the delegation of.
pub const LENGTH_PATIENCE: Duration = Duration::from_secs(1);

const _: () = assert!(APPEND_HOLD_MAX.as_millis() * 4 <= DEFERRAL_MAX.as_millis());
const _: () = assert!(DEFERRAL_MAX.as_millis() * 10 < CLIENT_SESSION_SILENCE_MAX.as_millis());
