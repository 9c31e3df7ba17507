//! What is damaged in one replica and not yet mended.
//!
//! Kept so that a damaged replica shows as one until the last place of it is well again, and no
//! longer. Places that could not be mended at once (no other replica had good bytes, or none could
//! be asked) are looked at again, less and less often. All of it is in memory only: after a restart
//! damage is found again by whoever meets it.

use super::read::{Damage, read_piece};
use super::{Holder, Machine};
use crate::run::NodeEvent;
use partition::extent::{DataKey, Extent, Piece};
use partition::log::Location;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use types::Moment;
use types::limits::{
    DAMAGES_REMEMBERED_MAX, DAMAGES_RETRY_INTERVAL, DAMAGES_RETRY_INTERVAL_MAX, MEND_BATCH,
};

/// Damaged places by their records.
#[derive(Debug, Default)]
pub(super) struct Damages {
    /// By record, and by where in its payload they begin.
    places: BTreeMap<(Location, u32), Damage>,
    /// There were more than are remembered: only a new start tells whether all are mended.
    overflowed: bool,
    /// When to look again, and how long to wait after that.
    retry: Option<(Moment, Duration)>,
}

impl Damages {
    /// Remembers a damaged place. Says whether it is news.
    pub(super) fn note(&mut self, damage: &Damage, now: Moment) -> bool {
        let Extent { at, skip, length, .. } = damage.piece.extent;
        if let Some(known) = self.places.get_mut(&(at, skip)) {
            if known.piece.extent.length < length {
                known.clone_from(damage);
            }
            return false;
        }
        if self.places.len() >= DAMAGES_REMEMBERED_MAX {
            self.overflowed = true;
            return false;
        }
        self.places.insert((at, skip), damage.clone());
        self.retry = Some((now + DAMAGES_RETRY_INTERVAL, DAMAGES_RETRY_INTERVAL));
        true
    }

    /// The place is well again, or nobody needs what was there.
    pub(super) fn mended(&mut self, whole: &Extent) {
        let end = |extent: &Extent| extent.skip.saturating_add(extent.length);
        self.places.retain(|(at, skip), damage| {
            *at != whole.at || *skip < whole.skip || end(&damage.piece.extent) > end(whole)
        });
    }

    /// Of a place that was noted only this is in use any more.
    fn shrink(&mut self, whole: &Extent, left: impl Iterator<Item = Damage>) {
        let before = self.places.len();
        self.mended(whole);
        if self.places.len() < before {
            let key = |damage: &Damage| (damage.piece.extent.at, damage.piece.extent.skip);
            self.places.extend(left.map(|damage| (key(&damage), damage)));
        }
    }

    /// What to look at again now.
    fn due(&mut self, now: Moment) -> Vec<Damage> {
        let Some((at, wait)) = self.retry.filter(|(at, _)| *at <= now) else { return Vec::new() };
        if self.places.is_empty() {
            self.retry = None;
            return Vec::new();
        }
        let wait = (wait * 2).min(DAMAGES_RETRY_INTERVAL_MAX);
        self.retry = Some((at.max(now) + wait, wait));
        self.places.values().take(MEND_BATCH).cloned().collect()
    }

    /// Whether anything is known to be damaged.
    pub(super) fn are_there(&self) -> bool {
        self.overflowed || !self.places.is_empty()
    }

    /// What to tell people; `None` when nothing is damaged.
    pub(super) fn describe(&self) -> Option<String> {
        let more = if self.overflowed { " or more" } else { "" };
        match self.places.first_key_value() {
            Some(((at, _), damage)) => {
                let (segment, offset, count) = (at.segment, at.offset, self.places.len());
                let first = format!("segment {segment} offset {offset}: {}", damage.reason);
                Some(match count {
                    1 => first,
                    _ => format!("{count}{more} places; {first}"),
                })
            }
            None if self.overflowed => Some("places that are not remembered".to_owned()),
            None => None,
        }
    }
}

impl Holder {
    /// What of damaged places is in use. What was overwritten, deleted or moved meanwhile is read by nobody
    /// any more, and its room may have been given back.
    pub(super) fn in_use(&mut self, damages: Vec<Damage>) -> Vec<Damage> {
        let Machine::Data(index) = &mut self.machine else { return damages };
        let mut used = Vec::with_capacity(damages.len());
        for damage in damages {
            let Piece { offset, extent } = damage.piece;
            let key = DataKey { object: damage.object, offset, length: extent.length.into() };
            let mut pieces = Vec::new();
            if index.find(&key, &mut pieces).is_err() {
                // Whoever reads it next says so.
                used.push(damage);
                continue;
            }
            pieces.retain(|piece| piece.extent.at == extent.at);
            let left = pieces.iter().map(|piece| Damage { piece: *piece, ..damage.clone() });
            if pieces != [damage.piece] {
                self.damages.shrink(&extent, left.clone());
            }
            used.extend(left);
        }
        used
    }

    /// Looks again at what is damaged, when it is time.
    pub(super) fn tend_damages(&mut self, now: Moment) {
        let due = self.damages.due(now);
        let due = self.in_use(due);
        if due.is_empty() || !matches!(self.machine, Machine::Data(_)) {
            return;
        }
        let numbers = due.iter().map(|damage| damage.piece.extent.at.segment);
        let files: HashMap<_, _> =
            numbers.filter_map(|number| Some((number, self.log.file(number).ok()?))).collect();
        let (context, partition, replica) = (self.context.clone(), self.partition, self.id);
        self.context.world.spawn("look again", async move {
            let look = move || {
                due.into_iter().partition(|damage: &Damage| {
                    let mut out = vec![0; damage.piece.extent.length as usize];
                    let file = files.get(&damage.piece.extent.at.segment);
                    let read = |file| {
                        read_piece(partition, damage.object, &damage.piece, file, &mut out).is_ok()
                    };
                    file.is_some_and(read)
                })
            };
            let (good, damages): (Vec<Damage>, Vec<Damage>) = context.world.blocking(look).await;
            let good = good.iter().map(|damage| damage.piece.extent).collect();
            context.post(NodeEvent::LookedAgain { replica, good, damages });
        });
    }

    /// Some places may be well again; the others may be mended now.
    pub fn looked_again(&mut self, good: &[Extent], damages: Vec<Damage>) {
        good.iter().for_each(|extent| self.damages.mended(extent));
        self.mend_all(damages);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Waiter;
    use super::super::bench::Bench;
    use super::*;
    use partition::extent::Command;
    use types::configuration::PartitionKind;

    fn at(offset: u32) -> Location {
        Location { segment: 7, offset }
    }

    fn damage(offset: u32, reason: &str) -> Damage {
        let extent = Extent { start: 0, length: 1, at: at(offset), skip: 0, payload_bytes: 1 };
        Damage { object: 1, piece: Piece { offset: 0, extent }, reason: reason.to_owned() }
    }

    fn second(second: u64) -> Moment {
        Moment(second * 1_000_000_000)
    }

    #[test]
    fn damaged_until_the_last_place_is_mended() {
        let mut damages = Damages::default();
        assert_eq!(damages.describe(), None);
        assert!(damages.note(&damage(64, "a block's checksum is wrong"), second(0)));
        assert!(!damages.note(&damage(64, "again"), second(0)));
        assert!(damages.note(&damage(128, "cut off"), second(0)));
        let said = damages.describe().unwrap();
        assert_eq!(said, "2 places; segment 7 offset 64: a block's checksum is wrong");
        damages.mended(&damage(64, "").piece.extent);
        damages.mended(&damage(64, "").piece.extent);
        assert_eq!(damages.describe().unwrap(), "segment 7 offset 128: cut off");
        damages.mended(&damage(128, "").piece.extent);
        assert_eq!(damages.describe(), None);
    }

    /// What was overwritten or deleted stayed damaged for ever, and once its room was given back the whole
    /// replica was given up for a record that could not be identified.
    #[tokio::test]
    async fn what_is_overwritten_or_deleted_is_not_damaged_any_more() {
        let bench = Bench::new();
        let mut holder = bench.create(PartitionKind::Data);
        holder.configure(Bench::configuration(PartitionKind::Data));
        let submit = |holder: &mut Holder, command: Command| {
            holder.submit(command.into_entry(), Waiter::Nobody);
            holder.submit_turn();
        };
        let write = |object, offset, length: usize| {
            let payload = bytes::Bytes::from(vec![7; length]);
            let key = DataKey { object, offset, length: length as u64 };
            let sums = types::checksum::block_checksums(&payload);
            let checksums = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
            Command::Write { key, checksums, payload }
        };
        let whole = |holder: &mut Holder, object| {
            let Machine::Data(index) = &mut holder.machine else { unreachable!("it is data") };
            let mut pieces = Vec::new();
            index.find(&DataKey { object, offset: 0, length: 9000 }, &mut pieces).unwrap();
            Damage { object, piece: pieces[0], reason: "rot".to_owned() }
        };
        for object in [1, 2] {
            submit(&mut holder, write(object, 0, 9000));
        }
        let both = [whole(&mut holder, 1), whole(&mut holder, 2)];
        both.iter().for_each(|damage| assert!(holder.damages.note(damage, second(0))));
        assert_eq!(holder.in_use(both.to_vec()).len(), 2);
        submit(&mut holder, write(1, 0, 4096));
        submit(&mut holder, Command::Delete { object: 2 });
        let left = holder.in_use(both.to_vec());
        let places: Vec<_> = left.iter().map(|d| (d.object, d.piece.offset)).collect();
        assert_eq!(places, [(1, 4096)], "the rest of the first");
        assert_eq!(holder.damages.places.len(), 1, "and nothing else is damaged");
        submit(&mut holder, Command::Delete { object: 1 });
        holder.mend_all(both.to_vec());
        assert_eq!((holder.damages.describe(), holder.failed.is_some()), (None, false));
    }

    #[test]
    fn of_a_record_each_place_is_mended_for_itself() {
        let mut damages = Damages::default();
        let (mut short, mut whole, mut other) = (damage(64, "x"), damage(64, "x"), damage(64, "x"));
        for (damage, (skip, length)) in
            [&mut short, &mut whole, &mut other].into_iter().zip([(0, 1), (0, 9000), (9000, 10)])
        {
            (damage.piece.extent.skip, damage.piece.extent.length) = (skip, length);
        }
        assert!(damages.note(&short, second(0)));
        assert!(!damages.note(&whole, second(0)), "it was known to be damaged");
        assert!(damages.note(&other, second(0)));
        damages.mended(&short.piece.extent);
        assert_eq!(damages.places.len(), 2, "a byte of it is well, and not the whole");
        damages.mended(&whole.piece.extent);
        damages.mended(&other.piece.extent);
        assert!(!damages.are_there());
    }

    #[test]
    fn what_stays_damaged_is_looked_at_less_and_less_often() {
        let mut damages = Damages::default();
        damages.note(&damage(64, "x"), second(0));
        let looks = (0..3600).filter(|s| !damages.due(second(*s)).is_empty()).count();
        assert!((60..80).contains(&looks), "{looks} looks in an hour");
        damages.mended(&damage(64, "").piece.extent);
        assert!((3600..7200).all(|s| damages.due(second(s)).is_empty()));
    }

    #[test]
    fn memory_is_bounded_and_says_so() {
        let mut damages = Damages::default();
        let count = u32::try_from(DAMAGES_REMEMBERED_MAX).unwrap() + 1;
        for offset in 0..count {
            damages.note(&damage(offset, "x"), second(0));
        }
        (0..count).for_each(|offset| damages.mended(&damage(offset, "").piece.extent));
        assert!(damages.describe().is_some());
    }
}
