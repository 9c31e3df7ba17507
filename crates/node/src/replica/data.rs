//! What clients ask of a data partition.

use super::read::{ReadJob, Wanted};
use super::{Holder, Machine, Waiter, status_of};
use crate::context::Counters;
use partition::extent::{Command, DataKey};
use std::sync::{Arc, OnceLock};
use types::limits::{DELETE_OBJECTS_MAX, RECORD_PAYLOAD_BYTES_MAX};
use wire::{Operation, Reply, Request, Responder, Status, data};

impl Holder {
    /// Takes one request of a client; the answer may come later.
    pub fn request(&mut self, request: Request, responder: Responder) {
        if let Some(reason) = &self.failed {
            return responder.refuse(Status::NotLeader, format!("this replica failed: {reason}"));
        }
        if self.kind == types::configuration::PartitionKind::Namespace {
            return self.namespace_request(&request, responder);
        }
        match request.operation {
            Operation::DataWrite | Operation::DataTrim => self.change(&request, responder),
            Operation::DataDelete => self.delete(&request, responder),
            Operation::DataFlush => self.flush(responder),
            Operation::DataRead => self.read(&request, responder),
            Operation::DataExtents => self.extents(&request, responder),
            Operation::Mend => self.mend_for_other(&request, responder),
            operation => {
                let message = format!("a data partition does not do {}", operation.name());
                responder.refuse(Status::Unsupported, message);
            }
        }
    }

    pub(super) fn flush(&mut self, responder: Responder) {
        // Writes of this turn came before the flush.
        self.submit_turn();
        let token = self.wait(Waiter::Flush(responder));
        self.handle(partition::replica::Event::Flush { token });
    }

    fn change(&mut self, request: &Request, responder: Responder) {
        if request.operation == Operation::DataWrite
            && let Some(reason) = self.lacks_room()
        {
            return responder.refuse(Status::NoSpace, reason);
        }
        let command = match command_of(request) {
            Ok(command) => command,
            Err(reason) => return responder.refuse(Status::Invalid, reason),
        };
        Counters::add(&self.context.counters.writes, 1);
        Counters::add(&self.context.counters.bytes_written, request.payload.len() as u64);
        self.submit(command.into_entry(), Waiter::Write(responder));
    }

    /// All at once, and made durable with the same request: whoever deletes has much to delete.
    fn delete(&mut self, request: &Request, responder: Responder) {
        let Ok(data::Delete { objects }) = request.decode() else {
            return responder.refuse(Status::Invalid, "the request does not decode");
        };
        if objects.is_empty() || objects.len() > DELETE_OBJECTS_MAX {
            let message = format!("1 to {DELETE_OBJECTS_MAX} objects at a time");
            return responder.refuse(Status::Invalid, message);
        }
        let commands: Vec<Command> =
            objects.into_iter().map(|object| Command::Delete { object }).collect();
        if let Some(error) = commands.iter().find_map(|command| command.check().err()) {
            return responder.refuse(Status::Invalid, error.to_string());
        }
        Counters::add(&self.context.counters.writes, commands.len() as u64);
        let refused = Arc::new(OnceLock::new());
        for command in commands {
            self.submit(command.into_entry(), Waiter::Part(refused.clone()));
        }
        // Whatever is refused later takes the flush with it.
        self.submit_turn();
        match refused.get() {
            Some(refusal) => responder.refuse(status_of(*refusal), refusal.to_string()),
            None => self.flush(responder),
        }
    }

    fn read(&mut self, request: &Request, responder: Responder) {
        let Ok(read) = request.decode::<data::Read>() else {
            return responder.refuse(Status::Invalid, "the request does not decode");
        };
        if read.length > RECORD_PAYLOAD_BYTES_MAX
            || read.offset.checked_add(read.length.into()).is_none()
        {
            return responder.refuse(Status::Invalid, "the range is too long");
        }
        let key = DataKey { object: read.object, offset: read.offset, length: read.length.into() };
        let Some(pieces) = self.find(&key, &responder) else { return drop(responder) };
        let pieces = match pieces {
            Ok(pieces) => pieces,
            Err((status, reason)) => return responder.refuse(status, reason),
        };
        Counters::add(&self.context.counters.reads, 1);
        Counters::add(&self.context.counters.bytes_read, read.length.into());
        let wanted = Wanted { key, pieces };
        self.start_read(ReadJob { wanted, responder });
    }

    fn extents(&mut self, request: &Request, responder: Responder) {
        let Ok(asked) = request.decode::<data::Extents>() else {
            return responder.refuse(Status::Invalid, "the request does not decode");
        };
        let key = DataKey { object: asked.object, offset: asked.offset, length: asked.length };
        if key.end().is_none() || asked.length > types::limits::CHUNK_BYTES {
            return responder.refuse(Status::Invalid, "at most one chunk's length at a time");
        }
        let Some(pieces) = self.find(&key, &responder) else { return drop(responder) };
        match pieces {
            Err((status, reason)) => responder.refuse(status, reason),
            Ok(pieces) => {
                let mut runs: Vec<u64> = Vec::new();
                for piece in pieces {
                    let length = u64::from(piece.extent.length);
                    match runs.as_mut_slice() {
                        [.., start, total] if *start + *total == piece.offset => *total += length,
                        _ => runs.extend([piece.offset, length]),
                    }
                }
                responder.reply(Reply::message(&data::ExtentsReply { runs }));
            }
        }
    }

    /// Looks a range up for a caller who wants committed state; `None` when the caller has left.
    #[allow(clippy::type_complexity)]
    fn find(
        &mut self,
        key: &DataKey,
        responder: &Responder,
    ) -> Option<Result<Vec<partition::extent::Piece>, (Status, String)>> {
        if responder.is_cancelled() {
            return None;
        }
        if let Err(refusal) = self.check_readable() {
            return Some(Err((status_of(refusal), refusal.to_string())));
        }
        let Machine::Data(index) = &mut self.machine else {
            return Some(Err((Status::Unsupported, "this is a namespace partition".into())));
        };
        let mut pieces = Vec::new();
        match index.find(key, &mut pieces) {
            Ok(()) => Some(Ok(pieces)),
            Err(error) => {
                self.fail_index(&error.clone().into());
                Some(Err((Status::NotLeader, error.to_string())))
            }
        }
    }
}

/// The command that a request asks for, checked.
fn command_of(request: &Request) -> Result<Command, String> {
    let undecodable = |_| "the request does not decode".to_string();
    let command = match request.operation {
        Operation::DataWrite => {
            let write: data::Write = request.decode().map_err(undecodable)?;
            let length = request.payload.len() as u64;
            let key = DataKey { object: write.object, offset: write.offset, length };
            let payload = request.payload.clone();
            Command::Write { key, checksums: write.checksums, payload }
        }
        Operation::DataTrim => {
            let trim: data::Trim = request.decode().map_err(undecodable)?;
            let data::Trim { object, offset, length } = trim;
            Command::Trim(DataKey { object, offset, length })
        }
        operation => return Err(format!("{} changes no bytes", operation.name())),
    };
    command.check().map_err(|error| error.to_string())?;
    Ok(command)
}
