//! Comparing what the namespace says about each file's bytes with what the data partitions hold.

use super::ask::Replica;
use super::bytes::Held;
use super::{Check, Finding, Kind, RECHECK_PAUSE, RECHECKED_MAX};
use std::collections::{BTreeMap, BTreeSet};
use types::PartitionId;
use wire::inspect::FileBytes;

impl Check<'_> {
    /// Compares all files, and looks again at those that do not fit.
    pub(super) async fn files(&mut self, held: &Held) {
        let Some(leader) = self.namespace.first().cloned() else { return };
        let files = match self.all_files(&leader).await {
            Ok(files) => files,
            Err(reason) => return self.unknown(leader.partition.0, Some(&leader), reason),
        };
        self.report.files = files.len() as u64;
        let nothing = BTreeMap::new();
        let inodes: BTreeSet<u64> = files.keys().chain(held.keys()).copied().collect();
        let suspects: Vec<u64> = inodes
            .into_iter()
            .filter(|inode| {
                let held = held.get(inode).unwrap_or(&nothing);
                !misfits(*inode, files.get(inode), held).is_empty()
            })
            .collect();
        if suspects.is_empty() {
            return;
        }
        // Data is written first and accounted afterwards, and deleted before its inode goes.
        self.world.sleep(RECHECK_PAUSE).await;
        for inode in suspects.iter().take(RECHECKED_MAX) {
            if let Err(reason) = self.look_again(&leader, *inode).await {
                self.unknown(leader.partition.0, None, format!("inode {inode}: {reason}"));
            }
        }
        if suspects.len() > RECHECKED_MAX {
            let more = suspects.len() - RECHECKED_MAX;
            self.unknown(leader.partition.0, None, format!("{more} more files do not fit"));
        }
    }

    async fn all_files(&self, leader: &Replica) -> Result<BTreeMap<u64, FileBytes>, String> {
        let mut files = BTreeMap::new();
        let mut after = 0;
        loop {
            (self.progress)("files", self.report.verified_bytes);
            let page = self.asker.files(leader, after).await?;
            files.extend(page.files.into_iter().map(|file| (file.inode, file)));
            match page.next {
                0 => return Ok(files),
                next => after = next,
            }
        }
    }

    async fn look_again(&mut self, leader: &Replica, inode: u64) -> Result<(), String> {
        let before = self.asker.file(leader, inode).await?;
        let mut held = BTreeMap::new();
        for (partition, replicas) in &self.replicas {
            let Some(leader) = replicas.first() else { continue };
            let bytes = self.held_of(leader, inode).await?;
            if bytes > 0 {
                held.insert(*partition, bytes);
            }
        }
        let after = self.asker.file(leader, inode).await?;
        if before != after {
            return Err("it changes all the time".into());
        }
        self.report.findings.extend(misfits(inode, after.as_ref(), &held));
        Ok(())
    }

    /// How many bytes a replica holds of an object.
    async fn held_of(&self, replica: &Replica, object: u64) -> Result<u64, String> {
        let (mut bytes, mut place) = (0, (object, 0));
        loop {
            let page = self.asker.chunk_from(replica, place).await?;
            let Some(chunk) = page.chunks.first().filter(|chunk| chunk.object == object) else {
                return Ok(bytes);
            };
            bytes += chunk.bytes;
            place = (object, chunk.chunk + 1);
        }
    }
}

/// What does not fit between a file and what is held for it.
fn misfits(
    inode: u64,
    file: Option<&FileBytes>,
    held: &BTreeMap<PartitionId, u64>,
) -> Vec<Finding> {
    let finding = |kind, partition, message| Finding {
        kind,
        partition,
        inode,
        message,
        ..Finding::default()
    };
    let Some(file) = file else {
        let stray = |(partition, bytes): (&PartitionId, &u64)| {
            finding(Kind::NoInode, partition.0, format!("{bytes} bytes belong to no file"))
        };
        return held.iter().map(stray).collect();
    };
    let mut found = Vec::new();
    for (partition, bytes) in held {
        if !file.partitions.contains(&partition.0) {
            let message = format!("{bytes} bytes lie where the namespace does not look for them");
            found.push(finding(Kind::Misplaced, partition.0, message));
        }
    }
    let total: u64 = held.values().sum();
    // Accounted are the bytes of a file that somebody writes when he is done, or has been followed by another.
    if total != file.allocated && !file.unsettled {
        let accounted = file.allocated;
        let message = format!("{accounted} bytes are accounted, {total} are held");
        found.push(finding(Kind::Accounting, 0, message));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(pairs: &[(u64, u64)]) -> BTreeMap<PartitionId, u64> {
        pairs.iter().map(|(partition, bytes)| (PartitionId(*partition), *bytes)).collect()
    }

    fn kinds(file: Option<FileBytes>, pairs: &[(u64, u64)]) -> Vec<Kind> {
        misfits(7, file.as_ref(), &held(pairs)).into_iter().map(|finding| finding.kind).collect()
    }

    #[test]
    fn each_way_not_to_fit_has_its_name() {
        let file = |allocated| {
            let partitions = vec![1, 2];
            Some(FileBytes { inode: 7, allocated, partitions, unsettled: false })
        };
        assert_eq!(kinds(file(30), &[(1, 10), (2, 20)]), []);
        assert_eq!(kinds(file(31), &[(1, 10), (2, 20)]), [Kind::Accounting]);
        assert_eq!(kinds(file(10), &[]), [Kind::Accounting]);
        assert_eq!(kinds(file(10), &[(3, 10)]), [Kind::Misplaced]);
        assert_eq!(kinds(None, &[(1, 10), (3, 1)]), [Kind::NoInode, Kind::NoInode]);
        assert_eq!(kinds(None, &[]), []);
        let written = file(10).map(|file| FileBytes { unsettled: true, ..file });
        assert_eq!(kinds(written.clone(), &[(1, 20)]), [], "its account comes later");
        assert_eq!(kinds(written, &[(3, 20)]), [Kind::Misplaced]);
    }
}
