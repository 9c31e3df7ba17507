//! Calls between members. Arguments and results travel as JSON; the bytes of a snapshot's piece
//! travel beside it, as the frame's payload.
//!
//! Where a member is, the configuration file says, and not the group's own membership: that is how
//! a member may move.

use super::{Raft, Shortage, TypeConfig};
use bytes::Bytes;
use openraft::BasicNode;
use openraft::error::{
    InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use prost::Message as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use types::Moment;
use wire::control::RaftCall;
use wire::{Class, Operation, Peers, Reply, Request, Status, control as message};
use world::World;

/// How long to leave a member alone that could not be reached.
const UNREACHABLE_PAUSE: Duration = Duration::from_millis(200);

/// Where the members of a group are, and how to reach them; cheap to clone.
#[derive(Clone, Debug)]
pub struct Network {
    /// Name of the group; members of another one are turned away.
    pub group: Arc<str>,
    /// `host:port` of each member's wire listener.
    pub addresses: Arc<BTreeMap<u64, String>>,
    pub peers: Peers,
    pub world: World,
    /// When each of the other members last answered this one.
    pub answered: Arc<Mutex<BTreeMap<u64, Moment>>>,
    /// The members that said last that their disk has no room, and what they said.
    pub without_room: Arc<Mutex<BTreeMap<u64, String>>>,
}

impl Network {
    /// How long ago a member last answered this one; `None` when it never did.
    pub(crate) fn silence(&self, member: u64) -> Option<Duration> {
        let answered = self.answered.lock().expect("no holder panics");
        answered.get(&member).map(|at| self.world.now().since(*at))
    }
}

impl Network {
    /// What a member said last of its disk, if that was that there is no room.
    pub(crate) fn lacks_room(&self, member: u64) -> Option<String> {
        self.without_room.lock().expect("no holder panics").get(&member).cloned()
    }

    /// Notes that a member answered; a refusal for want of room is an answer, too.
    fn note_answer(&self, member: u64, without_room: Option<String>) {
        let now = self.world.now();
        self.answered.lock().expect("no holder panics").insert(member, now);
        let mut all = self.without_room.lock().expect("no holder panics");
        match without_room {
            Some(words) => all.insert(member, words),
            None => all.remove(&member),
        };
    }
}

/// The way to one other member.
#[derive(Clone, Debug)]
pub struct Connection {
    network: Network,
    target: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failure(String);

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, _node: &BasicNode) -> Connection {
        Connection { network: self.clone(), target }
    }
}

impl Connection {
    async fn call<A, R, E>(
        &self,
        call: RaftCall,
        argument: &A,
        payload: Bytes,
        option: &RPCOption,
    ) -> Result<R, RPCError<u64, BasicNode, RaftError<u64, E>>>
    where
        A: Serialize,
        R: DeserializeOwned,
        E: std::error::Error + DeserializeOwned,
    {
        let lost = |text: String| RPCError::Network(NetworkError::new(&Failure(text)));
        let gone = |text: String| RPCError::Unreachable(Unreachable::new(&Failure(text)));
        let Some(address) = self.network.addresses.get(&self.target) else {
            return Err(gone(format!("member {} is not in the configuration", self.target)));
        };
        let data = serde_json::to_vec(argument).map_err(|error| lost(error.to_string()))?;
        let group = self.network.group.to_string();
        let body =
            message::Raft { group, target: self.target, call: call.into(), data: data.into() };
        let request = Request::new(Operation::ControlRaft)
            .class(Class::Control)
            .deadline(option.hard_ttl())
            .message(&body)
            .payload(payload);
        let reply = match self.network.peers.call(address, request).await {
            Ok(reply) => reply,
            Err(error @ wire::Error::TimedOut { .. }) => return Err(lost(error.to_string())),
            Err(error) => {
                if error.status() == Some(Status::NoSpace) {
                    self.network.note_answer(self.target, Some(error.to_string()));
                }
                return Err(gone(error.to_string()));
            }
        };
        self.network.note_answer(self.target, None);
        let reply: message::RaftReply = reply.decode().map_err(|error| lost(error.to_string()))?;
        let result: Result<R, RaftError<u64, E>> =
            serde_json::from_slice(&reply.data).map_err(|error| lost(error.to_string()))?;
        result.map_err(|error| RPCError::RemoteError(RemoteError::new(self.target, error)))
    }
}

impl RaftNetwork<TypeConfig> for Connection {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        self.call(RaftCall::Append, &rpc, Bytes::new(), &option).await
    }

    async fn install_snapshot(
        &mut self,
        mut rpc: InstallSnapshotRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<
        InstallSnapshotResponse<u64>,
        RPCError<u64, BasicNode, RaftError<u64, InstallSnapshotError>>,
    > {
        let piece = Bytes::from(std::mem::take(&mut rpc.data));
        self.call(RaftCall::Snapshot, &rpc, piece, &option).await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        self.call(RaftCall::Vote, &rpc, Bytes::new(), &option).await
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(UNREACHABLE_PAUSE))
    }
}

/// The answer to a call of another member.
pub(crate) struct Served {
    pub(crate) reply: Reply,
    /// Whether the call came from the leader this member follows.
    pub(crate) by_leader: bool,
}

/// Carries out a call of another member.
///
/// # Errors
/// When the call is not meant for this member or makes no sense, and while its disk has no room:
/// everything that is asked for here has to be written down.
pub(crate) async fn serve(
    raft: &Raft,
    network: &Network,
    (own, shortage): (u64, Option<Shortage>),
    request: &Request,
) -> Result<Served, (Status, String)> {
    let invalid = |error: String| (Status::Invalid, error);
    let call: message::Raft = request.decode().map_err(|error| invalid(error.to_string()))?;
    if call.group != *network.group || call.target != own {
        let (group, target) = (&call.group, call.target);
        return Err((Status::NotFound, format!("this is not member {target} of '{group}'")));
    }
    if let Some(shortage) = shortage {
        return Err((Status::NoSpace, shortage.reason));
    }
    let mut by_leader = false;
    let data = match call.call() {
        RaftCall::Append => {
            let rpc = parse::<AppendEntriesRequest<TypeConfig>>(&call.data).map_err(invalid)?;
            let response = raft.append_entries(rpc).await;
            let refused =
                |r: &AppendEntriesResponse<u64>| matches!(r, AppendEntriesResponse::HigherVote(_));
            by_leader = response.as_ref().is_ok_and(|response| !refused(response));
            serde_json::to_vec(&response)
        }
        RaftCall::Vote => {
            let rpc = parse::<VoteRequest<u64>>(&call.data).map_err(invalid)?;
            serde_json::to_vec(&raft.vote(rpc).await)
        }
        RaftCall::Snapshot => {
            let rpc = parse::<InstallSnapshotRequest<TypeConfig>>(&call.data).map_err(invalid)?;
            let rpc = InstallSnapshotRequest { data: request.payload.to_vec(), ..rpc };
            let theirs = rpc.vote;
            let response = raft.install_snapshot(rpc).await;
            by_leader = response.as_ref().is_ok_and(|response| response.vote <= theirs);
            serde_json::to_vec(&response)
        }
        RaftCall::Unspecified => return Err(invalid("unknown call".into())),
    };
    let data = data.map_err(|error| (Status::Internal, error.to_string()))?;
    let body = message::RaftReply { data: data.into() }.encode_to_vec().into();
    Ok(Served { reply: Reply { body, payload: Bytes::new() }, by_leader })
}

fn parse<T: DeserializeOwned>(data: &[u8]) -> Result<T, String> {
    serde_json::from_slice(data).map_err(|error| error.to_string())
}
