//! How often each interesting thing happened, so that the simulation cannot become toothless
//! without anybody noticing.

macro_rules! sights {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Something that must happen now and then, or the runs prove little.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Sight { $($(#[$doc])* $name),+ }

        impl Sight {
            /// All of them.
            pub const ALL: &[Sight] = &[$(Sight::$name),+];
        }
    };
}

sights! {
    WriteAcknowledged, WriteUnknown, WriteRefusedBusy, WriteRefusedBelowMinimum,
    WriteRefusedReconciling, WriteRefusedNotLeader,
    FlushAnswered, FlushRefused,
    ReadAnswered, ReadRefusedWithoutLease,
    LeaderAppointed, LeaderAppointedUnproven, LeaderMovedByHand, LeaderMovedThereAndBack, LeaderIsolated,
    LeaderAppointedTooSoon,
    LeaderKeptThroughConfiguration, LeaderSteppedDownBeaten, LeaderOvertaken,
    ComparisonAsked, ComparisonAnswered,
    FollowerRejected, FollowerCutTail, FollowerFedFromLog, FollowerFedFromMemoryAgain,
    SnapshotSent, SnapshotInstalled, SnapshotRefused, SnapshotDiscarded,
    PromotionAsked, PromotionMade,
    RemovalAskedSilent, RemovalAskedStalled, RemovalAskedFailed, RemovalMade,
    RequestOutdated, StaleSenderTold, StaleMessageIgnored, MessageOfFutureEpoch,
    ProvenAgain, StartedUnproven, StartedProven,
    ProcessKilled, PowerLost, PowerLostEverywhere, NodePaused, NetworkCut, ControlPlaneGone,
    MessageDropped, MessageDoubled, MessageLate,
    DiskFull, ReserveOnly, WriteRefusedNoRoom, AppendFailed, SyncFailed, SyncSlow, PersistFailed, PersistRefused, LogTrimmed,
    CommittedButUnsyncedLost, CopyMadeAnew,
}

/// Counts of everything in [`Sight`].
#[derive(Clone, Debug)]
pub struct Coverage {
    counts: Vec<u64>,
}

impl Default for Coverage {
    fn default() -> Coverage {
        Coverage { counts: vec![0; Sight::ALL.len()] }
    }
}

impl Coverage {
    pub(super) fn saw(&mut self, sight: Sight) {
        self.counts[sight as usize] += 1;
    }

    /// How often `sight` occurred.
    #[must_use]
    pub fn count(&self, sight: Sight) -> u64 {
        self.counts[sight as usize]
    }

    pub(super) fn add(&mut self, other: &Coverage) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
    }

    /// Whatever never occurred.
    #[must_use]
    pub fn missing(&self) -> Vec<Sight> {
        Sight::ALL.iter().copied().filter(|sight| self.count(*sight) == 0).collect()
    }
}
