//! Comparing what the replicas of each data partition hold, chunk by chunk.

use super::ask::Replica;
use super::{ATTEMPT_PAUSE, ATTEMPTS_MAX, Check, Kind, RECHECKED_MAX};
use std::collections::{BTreeMap, BTreeSet};
use types::PartitionId;
use wire::inspect::ChunkBytes;

/// Object and chunk.
type Place = (u64, u64);

/// How many bytes each data partition holds of each object, by its leader's word.
pub(super) type Held = BTreeMap<u64, BTreeMap<PartitionId, u64>>;

/// What one replica said of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    bytes: u64,
    digest: u64,
    damaged: bool,
}

impl From<&ChunkBytes> for Seen {
    fn from(chunk: &ChunkBytes) -> Seen {
        Seen { bytes: chunk.bytes, digest: chunk.digest, damaged: !chunk.damages.is_empty() }
    }
}

impl Check<'_> {
    /// Reads everything on every replica, and compares; returns who holds how much.
    pub(super) async fn bytes(&mut self) -> Held {
        let mut held = Held::new();
        for (partition, replicas) in self.replicas.clone() {
            let mut seen: Vec<(Replica, BTreeMap<Place, Seen>)> = Vec::new();
            for replica in replicas {
                match self.read_all(&replica).await {
                    Ok(chunks) => seen.push((replica, chunks)),
                    Err(reason) => self.unknown(partition.0, Some(&replica), reason),
                }
            }
            if let Some((_, chunks)) = seen.first() {
                for ((object, _), chunk) in chunks {
                    *held.entry(*object).or_default().entry(partition).or_default() += chunk.bytes;
                }
            }
            self.compare_chunks(&seen).await;
        }
        held
    }

    async fn read_all(&mut self, replica: &Replica) -> Result<BTreeMap<Place, Seen>, String> {
        let mut chunks = BTreeMap::new();
        let mut after = (0, 0);
        loop {
            let what = format!("partition {}, replica {}", replica.partition, replica.id);
            (self.progress)(&what, self.report.verified_bytes);
            let page = self.asker.chunks(replica, after).await?;
            for chunk in &page.chunks {
                chunks.insert((chunk.object, chunk.chunk), Seen::from(chunk));
                self.report.verified_bytes += chunk.bytes;
                for damage in &chunk.damages {
                    self.finding(Kind::Damaged, replica, chunk.object, damage.clone());
                }
            }
            match page.chunks.last() {
                Some(last) if !page.end => after = (last.object, last.chunk),
                _ => return Ok(chunks),
            }
        }
    }

    /// Chunks that looked different are looked at again, for replicas are never quite at the same place.
    async fn compare_chunks(&mut self, seen: &[(Replica, BTreeMap<Place, Seen>)]) {
        let Some((first, _)) = seen.first() else { return };
        let places: BTreeSet<Place> = seen.iter().flat_map(|(_, c)| c.keys().copied()).collect();
        let differs = |place: &Place| {
            let values: BTreeSet<Option<Seen>> = seen
                .iter()
                .map(|(_, chunks)| chunks.get(place).copied())
                .filter(|seen| !seen.is_some_and(|seen| seen.damaged))
                .collect();
            values.len() > 1
        };
        let suspects: Vec<Place> = places.into_iter().filter(differs).collect();
        let replicas: Vec<&Replica> = seen.iter().map(|(replica, _)| replica).collect();
        for place in suspects.iter().take(RECHECKED_MAX) {
            self.compare_chunk(&replicas, *place).await;
        }
        if suspects.len() > RECHECKED_MAX {
            let message = format!("{} more chunks look different", suspects.len() - RECHECKED_MAX);
            self.unknown(first.partition.0, None, message);
        }
    }

    /// Compares one chunk, once all replicas say what they hold at the same place of the log.
    async fn compare_chunk(&mut self, replicas: &[&Replica], place: Place) {
        for _ in 0..ATTEMPTS_MAX {
            let mut values = Vec::new();
            let mut at = BTreeSet::new();
            for replica in replicas {
                let Ok(page) = self.asker.chunk_from(replica, place).await else { continue };
                at.extend(page.head.map(|head| head.applied));
                let chunk = page.chunks.iter().find(|c| (c.object, c.chunk) == place);
                values.push((*replica, chunk.map(Seen::from)));
            }
            if at.len() == 1 && values.len() == replicas.len() {
                values.retain(|(_, seen)| !seen.is_some_and(|seen| seen.damaged));
                let (object, chunk) = place;
                return self.compare(values, object, &format!("chunk {chunk} of inode {object}"));
            }
            self.world.sleep(ATTEMPT_PAUSE).await;
        }
        let message = format!("chunk {} of inode {} changes all the time", place.1, place.0);
        self.unknown(replicas[0].partition.0, None, message);
    }
}
