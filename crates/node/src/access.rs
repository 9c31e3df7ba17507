//! Who may do what with the volumes of this node: the list of tokens, and the door.
//!
//! The control plane sends the list whenever the node's is not the newest, with the answer to a
//! heartbeat. The list is kept in memory only: a node that starts takes no request of a client before
//! it has heard it.
//!
//! | what the node knows | with a token of the list | with another, or none |
//! | --- | --- | --- |
//! | nothing yet | *cannot tell* | *cannot tell* |
//! | a list, confirmed lately | by its rights | *denied* |
//! | a list, and nothing heard since | by its rights, but no new session | *cannot tell* |
//!
//! A volume that is not in the list needs no token. *Cannot tell* is temporary: the client goes on
//! asking, here and elsewhere. What nodes and operators ask of each other (every class but
//! *foreground*) needs no token; a certificate that is for clients only keeps its holder from that.
//!
//! An older list than the one at hand is dropped: it comes from a leader that was deposed. Unless nobody
//! confirms the newer one for long: then the control plane itself was restored from an older copy.

use std::collections::BTreeMap;
use types::access::TokenHash;
use types::limits::{ACCESS_FRESH_MAX, PUSHED_DOUBT_MIN};
use types::namespace::{Command, Request as CommandRequest};
use types::{Moment, VolumeId};
use wire::control::{AccessList, Assignment, TokenRights};
use wire::{Class, Operation, Request, Status};

/// The list, and how sure it is.
#[derive(Debug, Default)]
pub struct AccessTable {
    /// Zero before the first.
    version: u64,
    /// When the control plane last said that this is the newest one.
    confirmed: Option<Moment>,
    volumes: BTreeMap<VolumeId, BTreeMap<TokenHash, TokenRights>>,
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Needs {
    /// To have had a token once: it lets go of something.
    Leave,
    Read,
    /// The same, and that the token is certainly still good.
    Begin,
    Write,
}

/// Why a request is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: Status,
    pub reason: &'static str,
}

const fn refusal(status: Status, reason: &'static str) -> Result<(), Refusal> {
    Err(Refusal { status, reason })
}

impl AccessTable {
    /// Which version this is; zero for none.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Takes what the control plane says.
    pub fn take(&mut self, now: Moment, assignment: &Assignment) {
        let doubt = self.confirmed.is_none_or(|at| now.since(at) >= PUSHED_DOUBT_MIN);
        if assignment.access_version < self.version && !doubt {
            return;
        }
        match &assignment.access {
            Some(list) => {
                self.version = assignment.access_version;
                self.volumes = read(list);
                self.confirmed = Some(now);
            }
            // It knows nothing of tokens, so there are none; or it knows that we have the newest list.
            None if assignment.access_version == self.version => self.confirmed = Some(now),
            None => {}
        }
    }

    /// Whether a request to a partition of `volume` may be carried out.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, now: Moment, volume: VolumeId, request: &Request) -> Result<(), Refusal> {
        if !is_of_a_client(request) {
            return Ok(());
        }
        let Some(confirmed) = self.confirmed else {
            return refusal(Status::AccessUnknown, "this node has not heard who may do what yet");
        };
        let Some(tokens) = self.volumes.get(&volume) else { return Ok(()) };
        let fresh = now.since(confirmed) < ACCESS_FRESH_MAX;
        let rights = request.access.and_then(|secret| tokens.get(&secret.hash())).copied();
        decide(needs(request), rights, request.access.is_some(), fresh)
    }
}

fn decide(
    needs: Needs,
    rights: Option<TokenRights>,
    shown: bool,
    fresh: bool,
) -> Result<(), Refusal> {
    match rights {
        None if !fresh => refusal(
            Status::AccessUnknown,
            "this node has heard nothing of the control plane lately, and does not know this token",
        ),
        None if shown => refusal(Status::Denied, "the token is none of this volume's"),
        None => refusal(Status::Denied, "the volume needs a token, and none was shown"),
        Some(TokenRights::Ended) if needs == Needs::Leave => Ok(()),
        Some(TokenRights::Ended) => refusal(Status::Denied, "the token was revoked, or is over"),
        Some(_) if needs == Needs::Begin && !fresh => refusal(
            Status::AccessUnknown,
            "this node has heard nothing of the control plane lately, and begins no session",
        ),
        Some(TokenRights::ReadOnly) if needs == Needs::Write => {
            refusal(Status::ReadOnly, "the token gives no right to change anything")
        }
        Some(TokenRights::ReadOnly | TokenRights::ReadWrite) => Ok(()),
    }
}

fn read(list: &AccessList) -> BTreeMap<VolumeId, BTreeMap<TokenHash, TokenRights>> {
    let volume = |volume: &wire::control::VolumeAccess| {
        let grants = volume.grants.iter();
        let tokens = grants.filter_map(|grant| Some((grant.token()?, grant.rights())));
        (VolumeId(volume.volume), tokens.collect())
    };
    list.volumes.iter().map(volume).collect()
}

/// Nodes speak to each other in other classes. An inspection reads all of a volume, whoever asks.
fn is_of_a_client(request: &Request) -> bool {
    match request.operation {
        Operation::Inspect => true,
        Operation::Snapshot | Operation::Mend => false,
        _ => request.class == Class::Foreground,
    }
}

fn needs(request: &Request) -> Needs {
    match request.operation {
        Operation::DataWrite | Operation::DataTrim | Operation::DataDelete => Needs::Write,
        Operation::NamespaceCommand => match request.decode::<CommandRequest>() {
            Ok(CommandRequest { command: Some(command), .. }) => needs_of(&command),
            // It is refused for another reason.
            _ => Needs::Read,
        },
        _ => Needs::Read,
    }
}

fn needs_of(command: &Command) -> Needs {
    match command {
        Command::OpenSession(_) => Needs::Begin,
        Command::CloseSession(_)
        | Command::ReleaseLocks(_)
        | Command::Undelegate(_)
        | Command::Unreserve(_) => Needs::Leave,
        // Locks are advice among readers, too.
        Command::RenewSession(_) | Command::SetLock(_) => Needs::Read,
        Command::Create(_)
        | Command::Link(_)
        | Command::Unlink(_)
        | Command::Rename(_)
        | Command::SetAttributes(_)
        | Command::SetXattr(_)
        | Command::RemoveXattr(_)
        | Command::AllocateChunks(_)
        | Command::Commit(_)
        | Command::DropChunks(_)
        | Command::ExpireSession(_)
        | Command::Delegate(_)
        | Command::Reserve(_)
        | Command::SetCapacity(_)
        | Command::Purge(_) => Needs::Write,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::namespace::{CloseSession, OpenSession, RenewSession};
    use wire::Secret;
    use wire::control::{Grant, VolumeAccess};

    const V: VolumeId = VolumeId(3);
    const NOW: Moment = Moment(1 << 40);

    fn secret(number: u64) -> Secret {
        Secret::draw(|| number)
    }

    fn assignment(version: u64, tokens: &[(u64, TokenRights)]) -> Assignment {
        let grant = |(number, rights): &(u64, TokenRights)| Grant {
            hash: secret(*number).hash().0.to_vec().into(),
            rights: (*rights).into(),
        };
        let grants = tokens.iter().map(grant).collect();
        let volumes = vec![VolumeAccess { volume: V.0, grants }];
        Assignment {
            access_version: version,
            access: Some(AccessList { volumes }),
            ..Assignment::default()
        }
    }

    fn status(table: &AccessTable, now: Moment, request: Request, token: Option<u64>) -> Status {
        let request = request.access(token.map(secret));
        table.check(now, V, &request).map_or_else(|refused| refused.status, |()| Status::Ok)
    }

    fn command(command: Command) -> Request {
        let request = CommandRequest { command: Some(command), ..CommandRequest::default() };
        Request::new(Operation::NamespaceCommand).message(&request)
    }

    fn open() -> Request {
        command(Command::OpenSession(OpenSession::default()))
    }

    fn three() -> AccessTable {
        let mut table = AccessTable::default();
        let tokens =
            [(1, TokenRights::ReadWrite), (2, TokenRights::ReadOnly), (3, TokenRights::Ended)];
        table.take(NOW, &assignment(5, &tokens));
        table
    }

    #[test]
    fn rights_are_those_of_the_token() {
        let table = three();
        let read = || Request::new(Operation::DataRead);
        let write = || Request::new(Operation::DataWrite);
        let renew = || command(Command::RenewSession(RenewSession {}));
        let close = || command(Command::CloseSession(CloseSession {}));
        for (request, rw, ro, ended) in [
            (&read as &dyn Fn() -> Request, Status::Ok, Status::Ok, Status::Denied),
            (&write, Status::Ok, Status::ReadOnly, Status::Denied),
            (&open, Status::Ok, Status::Ok, Status::Denied),
            (&renew, Status::Ok, Status::Ok, Status::Denied),
            (&close, Status::Ok, Status::Ok, Status::Ok),
        ] {
            let of = |token| status(&table, NOW, request(), token);
            assert_eq!((of(Some(1)), of(Some(2)), of(Some(3))), (rw, ro, ended));
            assert_eq!((of(Some(9)), of(None)), (Status::Denied, Status::Denied));
        }
        assert!(table.check(NOW, VolumeId(4), &write()).is_ok(), "this one needs none");
        let by_a_node = write().class(Class::Background);
        assert_eq!(status(&table, NOW, by_a_node, None), Status::Ok);
        let inspection = Request::new(Operation::Inspect).class(Class::Background);
        assert_eq!(status(&table, NOW, inspection.clone(), None), Status::Denied);
        assert_eq!(status(&table, NOW, inspection, Some(2)), Status::Ok);
    }

    #[test]
    fn who_knows_nothing_lets_nobody_in_and_who_was_cut_off_nobody_new() {
        let table = AccessTable::default();
        let read = || Request::new(Operation::DataRead);
        assert_eq!(status(&table, NOW, read(), Some(1)), Status::AccessUnknown);
        assert_eq!(status(&table, NOW, read(), None), Status::AccessUnknown);
        let (table, later) = (three(), NOW + ACCESS_FRESH_MAX);
        assert_eq!(status(&table, later, read(), Some(1)), Status::Ok, "it was let in before");
        assert_eq!(status(&table, later, open(), Some(1)), Status::AccessUnknown);
        assert_eq!(status(&table, later, read(), Some(9)), Status::AccessUnknown, "it may be new");
        assert_eq!(status(&table, later, read(), Some(3)), Status::Denied, "nothing takes it back");
    }

    #[test]
    fn only_a_control_plane_that_was_restored_goes_back() {
        let mut table = three();
        let read = || Request::new(Operation::DataRead);
        let old = assignment(4, &[(3, TokenRights::ReadWrite)]);
        table.take(NOW, &old);
        assert_eq!(table.version(), 5, "a leader that was deposed");
        let confirms = Assignment { access_version: 5, ..Assignment::default() };
        let mut now = NOW;
        for _ in 0..30 {
            now = now + ACCESS_FRESH_MAX / 5;
            table.take(now, &confirms);
            table.take(now, &old);
        }
        assert_eq!(table.version(), 5);
        assert_eq!(status(&table, now, open(), Some(1)), Status::Ok, "it is fresh");
        now = now + PUSHED_DOUBT_MIN;
        table.take(now, &old);
        assert_eq!(table.version(), 4);
        assert_eq!(status(&table, now, read(), Some(3)), Status::Ok);
        // One from before there were tokens is believed as well, once it is settled.
        let mut fresh = AccessTable::default();
        fresh.take(NOW, &Assignment::default());
        assert_eq!(status(&fresh, NOW, read(), None), Status::Ok);
    }
}
