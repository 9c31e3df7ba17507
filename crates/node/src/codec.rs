//! The engine's messages as frames, and back.

use bytes::{Bytes, BytesMut};
use partition::log::record::KEY_BYTES_MAX;
use partition::replica::{Ack, Append, Entry, EntryBody, Failure, Message, Position, Reject, Room};
use std::sync::Arc;
use types::limits::RECORD_PAYLOAD_BYTES_MAX;
use types::{Epoch, ReplicaId, Sequence};
use wire::replicate as on_wire;

/// Why a message from another node cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed replication message: {0}")]
pub struct Malformed(pub &'static str);

/// A message on its way within the process.
#[derive(Clone, Debug)]
pub struct Native {
    pub from: ReplicaId,
    pub to: ReplicaId,
    pub message: Message,
}

/// Encodes a message: body and payload of a frame. The caller splits appends so that they fit; see
/// [`split`].
#[must_use]
pub fn encode(from: ReplicaId, to: ReplicaId, message: &Message) -> (on_wire::Replicate, Bytes) {
    let (message, payload) = match message {
        Message::Append(append) => {
            let (append, payload) = encode_append(append);
            (on_wire::Message::Append(append), payload)
        }
        Message::Ack(ack) => (on_wire::Message::Ack(encode_ack(ack)), Bytes::new()),
        Message::Reject(reject) => {
            let reject = on_wire::Reject {
                epoch: reject.epoch.0,
                stamp: reject.stamp,
                life: reject.life,
                hint: Some(encode_position(reject.hint)),
            };
            (on_wire::Message::Reject(reject), Bytes::new())
        }
        Message::Stale { epoch, leader } => {
            let leader = leader.map_or(0, |leader| leader.0);
            (on_wire::Message::Stale(on_wire::Stale { epoch: epoch.0, leader }), Bytes::new())
        }
        Message::Compare { epoch, stamp } => {
            let compare = on_wire::Compare { epoch: epoch.0, stamp: *stamp };
            (on_wire::Message::Compare(compare), Bytes::new())
        }
        Message::Compared { epoch, stamp, life, last } => {
            let compared = on_wire::Compared {
                epoch: epoch.0,
                stamp: *stamp,
                life: *life,
                last: last.map(encode_position),
            };
            (on_wire::Message::Compared(compared), Bytes::new())
        }
    };
    (on_wire::Replicate { from: from.0, to: to.0, message: Some(message) }, payload)
}

/// Decodes a message; whatever is wrong with it is an error, never a panic.
///
/// # Errors
/// What is wrong with it.
pub fn decode(body: on_wire::Replicate, payload: &Bytes) -> Result<Native, Malformed> {
    let message = match body.message.ok_or(Malformed("no message"))? {
        on_wire::Message::Append(append) => Message::Append(decode_append(append, payload)?),
        on_wire::Message::Ack(ack) => Message::Ack(decode_ack(&ack)?),
        on_wire::Message::Reject(reject) => Message::Reject(Reject {
            epoch: Epoch(reject.epoch),
            stamp: reject.stamp,
            life: reject.life,
            hint: decode_position(reject.hint)?,
        }),
        on_wire::Message::Stale(stale) => Message::Stale {
            epoch: Epoch(stale.epoch),
            leader: (stale.leader != 0).then_some(ReplicaId(stale.leader)),
        },
        on_wire::Message::Compare(compare) => {
            Message::Compare { epoch: Epoch(compare.epoch), stamp: compare.stamp }
        }
        on_wire::Message::Compared(compared) => Message::Compared {
            epoch: Epoch(compared.epoch),
            stamp: compared.stamp,
            life: compared.life,
            last: compared.last.map(|last| decode_position(Some(last))).transpose()?,
        },
    };
    Ok(Native { from: ReplicaId(body.from), to: ReplicaId(body.to), message })
}

/// Cuts an append into pieces that each fit into one frame.
pub fn split(append: Append, mut send: impl FnMut(Append)) {
    let limit = RECORD_PAYLOAD_BYTES_MAX as usize;
    let size = |entries: &[Entry]| entries.iter().map(|entry| entry.body.bytes()).sum::<usize>();
    // One entry alone may be a key longer than the limit: the key travels in the body then.
    if append.entries.len() <= 1 || size(&append.entries) <= limit {
        return send(append);
    }
    let mut previous = append.previous;
    let mut rest: &[Entry] = &append.entries;
    while !rest.is_empty() {
        let mut count = 1;
        while count < rest.len() && size(&rest[..=count]) <= limit {
            count += 1;
        }
        let (now, later) = rest.split_at(count);
        send(append.after(previous).with_entries(Arc::from(now)));
        previous = now.last().expect("at least one").position();
        rest = later;
    }
}

fn encode_append(append: &Append) -> (on_wire::Append, Bytes) {
    let entries = append.entries.iter().map(|entry| on_wire::Entry {
        epoch: entry.epoch.0,
        kind: entry.body.kind.into(),
        key_bytes: u32::try_from(entry.body.key.len()).expect("keys have a limit"),
        payload_bytes: u32::try_from(entry.body.payload.len()).expect("payloads have a limit"),
    });
    let encoded = on_wire::Append {
        epoch: append.epoch.0,
        stamp: append.stamp,
        life: append.life,
        previous: Some(encode_position(append.previous)),
        end: append.end.0,
        committed: append.committed.0,
        sync_upto: append.sync_upto.0,
        entries: entries.collect(),
        keys: append.entries.iter().map(|entry| entry.body.key.clone()).collect(),
    };
    // One entry needs no copy; several are gathered.
    let payload = match &append.entries[..] {
        [] => Bytes::new(),
        [entry] => entry.body.payload.clone(),
        entries => {
            let length = entries.iter().map(|entry| entry.body.payload.len()).sum();
            let mut bytes = BytesMut::with_capacity(length);
            entries.iter().for_each(|entry| bytes.extend_from_slice(&entry.body.payload));
            bytes.freeze()
        }
    };
    (encoded, payload)
}

fn decode_append(append: on_wire::Append, payload: &Bytes) -> Result<Append, Malformed> {
    let previous = decode_position(append.previous)?;
    if append.keys.len() != append.entries.len() {
        return Err(Malformed("as many keys as entries are needed"));
    }
    let mut entries = Vec::with_capacity(append.entries.len());
    let (mut at, mut sequence) = (0, previous.sequence);
    for (entry, key) in append.entries.iter().zip(append.keys) {
        if entry.key_bytes as usize != key.len() || entry.key_bytes > KEY_BYTES_MAX {
            return Err(Malformed("a key's length is wrong"));
        }
        let end = at + entry.payload_bytes as usize;
        if end > payload.len() {
            return Err(Malformed("payloads are longer than what was sent"));
        }
        sequence = Sequence(sequence.0.checked_add(1).ok_or(Malformed("sequence overflows"))?);
        let kind = u8::try_from(entry.kind).map_err(|_| Malformed("unknown kind of entry"))?;
        let body = EntryBody { kind, key, payload: payload.slice(at..end) };
        entries.push(Entry { epoch: Epoch(entry.epoch), sequence, body });
        at = end;
    }
    if at != payload.len() {
        return Err(Malformed("payloads are shorter than what was sent"));
    }
    Ok(Append {
        epoch: Epoch(append.epoch),
        stamp: append.stamp,
        life: append.life,
        previous,
        end: Sequence(append.end),
        committed: Sequence(append.committed),
        sync_upto: Sequence(append.sync_upto),
        entries: Arc::from(entries),
    })
}

fn encode_ack(ack: &Ack) -> on_wire::Ack {
    on_wire::Ack {
        epoch: ack.epoch.0,
        stamp: ack.stamp,
        life: ack.life,
        matched: ack.matched.0,
        synced: ack.synced.0,
        proven: ack.proven,
        failure: match ack.failure {
            None => 0,
            Some(Failure::NoSpace) => 1,
            Some(Failure::Io) => 2,
            Some(Failure::Diverged) => 3,
        },
        room: match ack.room {
            Room::Enough => 0,
            Room::Reserve => 1,
            Room::Scarce => 2,
        },
    }
}

fn decode_ack(ack: &on_wire::Ack) -> Result<Ack, Malformed> {
    Ok(Ack {
        epoch: Epoch(ack.epoch),
        stamp: ack.stamp,
        life: ack.life,
        matched: Sequence(ack.matched),
        synced: Sequence(ack.synced),
        proven: ack.proven,
        failure: match ack.failure {
            0 => None,
            1 => Some(Failure::NoSpace),
            2 => Some(Failure::Io),
            3 => Some(Failure::Diverged),
            _ => return Err(Malformed("unknown failure")),
        },
        room: match ack.room {
            0 => Room::Enough,
            1 => Room::Reserve,
            2 => Room::Scarce,
            _ => return Err(Malformed("unknown room")),
        },
    })
}

fn encode_position(position: Position) -> on_wire::Position {
    on_wire::Position { epoch: position.epoch.0, sequence: position.sequence.0 }
}

fn decode_position(position: Option<on_wire::Position>) -> Result<Position, Malformed> {
    let position = position.ok_or(Malformed("a position is missing"))?;
    Ok(Position { epoch: Epoch(position.epoch), sequence: Sequence(position.sequence) })
}
