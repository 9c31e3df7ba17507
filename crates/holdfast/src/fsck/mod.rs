//! Checking a volume: namespace, chunk maps, indexes and logs of all replicas against each other.
//!
//! 1. Every namespace replica is checked by itself, and all are compared by a digest.
//! 2. Every data replica reads and verifies every byte it holds; chunk by chunk the replicas are
//!    compared by digests.
//! 3. What the namespace says about each file is compared with what the data partitions hold.
//!
//! The volume may be in use. Replicas are compared only at the same place of their logs, and what
//! looks wrong is looked at again after a while; what cannot be compared is said to be unknown. A
//! file that is being written all the time is therefore *unknown* and not *wrong*.

mod ask;
mod bytes;
mod files;
mod report;

pub use report::{Finding, Kind, Report};

use ask::{Asker, Replica, replicas};
use client::Client;
use std::collections::BTreeMap;
use std::time::Duration;
use types::PartitionId;
use types::configuration::PartitionKind;
use world::World;

/// How often replicas are asked again until they answer from the same place.
const ATTEMPTS_MAX: usize = 6;

/// How long to wait before that.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(250);

/// How long what looks wrong is left alone before it is looked at again.
const RECHECK_PAUSE: Duration = Duration::from_secs(2);

/// Suspects that are looked at again; more are reported as they are.
const RECHECKED_MAX: usize = 1000;

/// Told about every step: what is looked at now, and how many bytes were verified so far.
pub type Progress<'a> = &'a (dyn Fn(&str, u64) + Sync);

/// A check under way.
struct Check<'a> {
    world: World,
    asker: Asker,
    progress: Progress<'a>,
    report: Report,
    /// The replicas of each partition, the leader first.
    replicas: BTreeMap<PartitionId, Vec<Replica>>,
    namespace: Vec<Replica>,
}

/// Checks a volume.
///
/// # Errors
/// When the control plane does not answer, or there is no such volume.
pub async fn check(
    world: &World,
    client: &Client,
    volume: &str,
    progress: Progress<'_>,
) -> Result<Report, client::Error> {
    let routes = client.routes(volume).await?;
    let mut check = Check {
        world: world.clone(),
        asker: Asker { client: client.clone() },
        progress,
        report: Report { id: routes.volume.0, name: routes.name.clone(), ..Report::default() },
        replicas: BTreeMap::new(),
        namespace: Vec::new(),
    };
    for (partition, configuration) in &routes.partitions {
        let replicas = replicas(&routes, *partition);
        check.report.partitions += 1;
        check.report.replicas += replicas.len() as u64;
        if !configuration.catching_up.is_empty() || replicas.is_empty() {
            let message = format!("only {} replicas are in sync", replicas.len());
            check.unknown(partition.0, None, message);
        }
        match configuration.kind {
            PartitionKind::Namespace => check.namespace = replicas,
            PartitionKind::Data => drop(check.replicas.insert(*partition, replicas)),
        }
    }
    check.namespaces().await;
    let held = check.bytes().await;
    check.files(&held).await;
    let mut report = check.report;
    report.findings.sort();
    report.clean = report.findings.is_empty() && report.unknown.is_empty();
    Ok(report)
}

impl Check<'_> {
    /// Checks each replica of the namespace, and compares them.
    async fn namespaces(&mut self) {
        let replicas = self.namespace.clone();
        let Some(partition) = replicas.first().map(|replica| replica.partition.0) else { return };
        for attempt in 1..=ATTEMPTS_MAX {
            let mut answers = Vec::new();
            for replica in &replicas {
                (self.progress)(
                    &format!("namespace, replica {}", replica.id),
                    self.report.verified_bytes,
                );
                match self.asker.namespace(replica).await {
                    Ok(answer) => answers.push((replica, answer)),
                    Err(reason) if attempt == ATTEMPTS_MAX => {
                        self.unknown(replica.partition.0, Some(replica), reason);
                    }
                    Err(_) => {}
                }
            }
            let places: std::collections::BTreeSet<u64> =
                answers.iter().filter_map(|(_, a)| Some(a.head?.applied)).collect();
            let comparable = places.len() == 1 && answers.len() == replicas.len();
            if !comparable && attempt < ATTEMPTS_MAX {
                self.world.sleep(ATTEMPT_PAUSE).await;
                continue;
            }
            if places.len() > 1 {
                self.unknown(partition, None, format!("its replicas are at {places:?}"));
            }
            for (replica, answer) in &answers {
                for finding in &answer.findings {
                    self.finding(Kind::Contradiction, replica, 0, finding.clone());
                }
            }
            if places.len() == 1 {
                let digests = answers.iter().map(|(replica, a)| (*replica, a.digest)).collect();
                let at = places.first().expect("there is one");
                self.compare(digests, 0, &format!("the namespace at {at}"));
            }
            return;
        }
    }

    /// Says whose value differs from what most have.
    fn compare<T: Ord + Copy>(&mut self, values: Vec<(&Replica, T)>, inode: u64, what: &str) {
        let mut groups: BTreeMap<T, Vec<&Replica>> = BTreeMap::new();
        for (replica, value) in values {
            groups.entry(value).or_default().push(replica);
        }
        if groups.len() < 2 {
            return;
        }
        let most = groups.values().map(Vec::len).max().unwrap_or(0);
        let majorities = groups.values().filter(|group| group.len() == most).count();
        for group in groups.values() {
            if group.len() == most && majorities == 1 {
                continue;
            }
            for replica in group {
                let message = if majorities == 1 {
                    format!("{what} differs from that of {most} other replicas")
                } else {
                    format!("{what} differs, and no majority says which is right")
                };
                self.finding(Kind::Differs, replica, inode, message);
            }
        }
    }

    fn finding(&mut self, kind: Kind, replica: &Replica, inode: u64, message: String) {
        self.report.findings.push(Finding {
            kind,
            partition: replica.partition.0,
            replica: replica.id.0,
            node: replica.node.0,
            inode,
            message,
        });
    }

    fn unknown(&mut self, partition: u64, replica: Option<&Replica>, message: String) {
        self.report.unknown.push(Finding {
            kind: Kind::NotCompared,
            partition,
            replica: replica.map_or(0, |replica| replica.id.0),
            node: replica.map_or(0, |replica| replica.node.0),
            inode: 0,
            message,
        });
    }
}
