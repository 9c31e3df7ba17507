//! Clients: they write, flush and read where they believe the leader to be, and often are wrong.

use super::check::Verdict;
use super::coverage::Sight;
use super::world::{Happening, World};
use bytes::Bytes;
use partition::replica::{Answer, EntryBody, Event, Refusal, Replica};

/// Tokens of requests that are not writes.
pub(super) const NOT_A_WRITE: u64 = 1 << 60;
const FLUSH: u64 = NOT_A_WRITE | 1 << 61;

static FILL: [u8; 1 << 20] = [0; 1 << 20];

impl World {
    pub(super) fn client(&mut self, client: usize) -> Verdict {
        let gap = self.dice.between(1, self.scenario.client_gap_ns);
        self.after(gap, Happening::Client { client });
        let machine = self.believed_leader(client);
        let event = match self.dice.between(0, 99) {
            0..60 => self.write(0),
            60..70 => {
                let count = self.dice.between(2, 6);
                self.write_many(count, 0)
            }
            70..80 => Event::Flush { token: FLUSH },
            _ => Event::Read { token: NOT_A_WRITE },
        };
        self.ask(machine, event)
    }

    /// Much at once, so that the window fills.
    pub(super) fn burst(&mut self) -> Verdict {
        let machine = self.believed_leader(0);
        for _ in 0..3 {
            let event = self.write_many(8, FILL.len());
            self.ask(machine, event)?;
        }
        Ok(())
    }

    /// Steps a request; when the process is down nothing happens, truthfully.
    pub(super) fn ask(&mut self, machine: usize, event: Event) -> Verdict {
        if self.machines[machine].replica.is_none()
            || self.machines[machine].paused_until > self.now
        {
            return Ok(());
        }
        let lacks_room = self.machines[machine].replica.as_ref().is_some_and(Replica::lacks_room);
        let is_write = matches!(event, Event::Submit { .. } | Event::SubmitMany(_));
        // What gives room back is taken even then.
        if is_write && lacks_room && self.dice.chance(800) {
            self.saw(Sight::WriteRefusedNoRoom);
            return Ok(());
        }
        self.step(machine, event)
    }

    fn believed_leader(&mut self, client: usize) -> usize {
        if self.dice.chance(150) {
            self.beliefs[client] = self.dice.below(self.machines.len());
        } else if self.dice.chance(300) {
            let leader = self.control.configuration.leader;
            self.beliefs[client] = leader.map_or(self.beliefs[client], super::control::machine_of);
        }
        self.beliefs[client]
    }

    pub(super) fn write(&mut self, bytes: usize) -> Event {
        let (token, entry) = self.new_write(bytes);
        Event::Submit { token, entry }
    }

    fn write_many(&mut self, count: u64, bytes: usize) -> Event {
        Event::SubmitMany((0..count).map(|_| self.new_write(bytes)).collect())
    }

    fn new_write(&mut self, bytes: usize) -> (u64, EntryBody) {
        let token = self.oracle.on_submitted();
        let key = Bytes::copy_from_slice(&token.to_le_bytes());
        (token, EntryBody { kind: 1, key, payload: Bytes::from_static(&FILL[..bytes]) })
    }

    pub(super) fn refused(&mut self, token: u64, refusal: Refusal) -> Verdict {
        if let Refusal::NotLeader { leader: Some(leader), .. } = refusal
            && let Some(machine) = self.host(leader)
            && self.dice.chance(300)
        {
            let client = self.dice.below(self.beliefs.len());
            self.beliefs[client] = machine;
        }
        if token & NOT_A_WRITE == 0 { self.oracle.on_refused(token, refusal) } else { Ok(()) }
    }

    pub(super) fn note_answer(&mut self, token: u64, result: Result<Answer, Refusal>) {
        let sight = match (result, token) {
            (Ok(Answer::Written { .. }), _) => Sight::WriteAcknowledged,
            (Ok(Answer::Flushed { .. }), _) => Sight::FlushAnswered,
            (Ok(Answer::Readable { .. }), _) => Sight::ReadAnswered,
            (Err(Refusal::NoLease), _) => Sight::ReadRefusedWithoutLease,
            (Err(_), FLUSH) => Sight::FlushRefused,
            (Err(Refusal::Unknown), _) => Sight::WriteUnknown,
            (Err(Refusal::Busy), _) => Sight::WriteRefusedBusy,
            (Err(Refusal::BelowMinimum { .. }), _) => Sight::WriteRefusedBelowMinimum,
            (Err(Refusal::Reconciling), _) => Sight::WriteRefusedReconciling,
            (Err(Refusal::NotLeader { .. }), _) => Sight::WriteRefusedNotLeader,
        };
        self.saw(sight);
    }
}
