//! How a mount ended: one line that says it all, and an exit code.

use crate::exit::{Exit, Failure, Result};
use crate::signals::Signals;
use crate::{output, size};
use mount::{Afterwards, Left, Mount};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use types::InodeId;
use world::World;

/// Why a mount ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reason {
    /// Somebody unmounted it, or asked the process to end.
    Unmounted,
    /// Its volume is being deleted, or was.
    VolumeDeleted,
    /// This client may not use the volume any more.
    AccessRevoked,
    /// The cluster answered nothing for longer than was allowed.
    ClusterUnreachable,
    /// The kernel's connection was torn down.
    MountLost,
}

impl Reason {
    fn exit(self, all_safe: bool) -> Exit {
        match self {
            Reason::Unmounted if all_safe => Exit::Ok,
            Reason::Unmounted => Exit::Failed,
            Reason::VolumeDeleted => Exit::VolumeDeleted,
            Reason::AccessRevoked => Exit::AccessRevoked,
            Reason::ClusterUnreachable => Exit::ClusterUnreachable,
            Reason::MountLost => Exit::MountLost,
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Reason::Unmounted => "unmounted",
            Reason::VolumeDeleted => "its volume is being deleted, or was",
            Reason::AccessRevoked => "access was revoked",
            Reason::ClusterUnreachable => "the cluster was unreachable for too long",
            Reason::MountLost => "the kernel's connection was torn down",
        }
    }
}

/// The final line. Field names are relied on: they are only ever added.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Ending {
    /// Always `mount-ended`.
    event: &'static str,
    reason: Reason,
    /// What the process ends with; `null` when it goes on with a standby.
    exit: Option<u8>,
    /// When it began to end: milliseconds since 1970.
    noticed_ms: i64,
    /// The volume that is mounted in the place of this one.
    standby: Option<String>,
    pub(crate) volume: String,
    volume_id: u64,
    pub(crate) mount_point: String,
    /// Written back while leaving.
    flushed_bytes: u64,
    /// Lost.
    unflushed_bytes: u64,
    /// Numbers of the inodes with something lost (`find -inum`).
    unflushed_files: Vec<u64>,
    /// Paths of these files within the volume, by inode, as far as programs had them open.
    unflushed_paths: BTreeMap<u64, String>,
    /// `clean`, `detached` (somebody used it), `already`, or `stuck` (it is still there).
    unmounted: &'static str,
    /// What went wrong first while leaving.
    error: Option<String>,
}

impl Ending {
    /// Leaves a mount in order, unless another signal says that it takes too long.
    pub(crate) async fn of(
        world: &World,
        mount: Mount,
        volume_name: &str,
        reason: Reason,
        (deadline, afterwards): (Duration, Afterwards),
        signals: &mut Signals,
    ) -> Ending {
        let (volume, path) = (mount.volume().clone(), mount.path().to_owned());
        let noticed_ms = world.timestamp().0 / 1_000_000;
        let leaving = mount.leave(deadline, afterwards);
        let patience = tokio::time::sleep(PATIENCE);
        tokio::pin!(leaving, patience);
        let mut told = false;
        let left = loop {
            tokio::select! {
                left = &mut leaving => break left,
                () = &mut patience, if !told => {
                    told = true;
                    output::talk("still writing back what is buffered: the cluster does not take \
                                  it; another signal gives up and loses it");
                }
                () = signals.next() => break give_up(&volume, &path),
            }
        };
        Ending {
            event: "mount-ended",
            reason,
            exit: Some(reason.exit(left.is_clean()) as u8),
            noticed_ms,
            standby: None,
            volume: volume_name.to_owned(),
            volume_id: volume.id().0,
            mount_point: path.display().to_string(),
            flushed_bytes: left.flushed_bytes,
            unflushed_bytes: left.unflushed_bytes,
            unflushed_files: left.unflushed_files.iter().map(|inode| inode.0).collect(),
            unflushed_paths: left
                .unflushed_names
                .into_iter()
                .map(|(id, path)| (id.0, path))
                .collect(),
            unmounted: left.unmounted.name(),
            error: left.error,
        }
    }

    /// Whether the place is free for a standby.
    pub(crate) fn wants_standby(&self) -> bool {
        self.reason == Reason::VolumeDeleted && self.unmounted != mount::Unmounted::Stuck.name()
    }

    /// The process goes on with another volume.
    pub(crate) fn go_on_with(&mut self, standby: &str) {
        self.standby = Some(standby.to_owned());
        self.exit = None;
    }

    pub(crate) fn volume_id(&self) -> types::VolumeId {
        types::VolumeId(self.volume_id)
    }

    /// Prints the line.
    pub(crate) fn print(&self, json: bool) -> Result {
        if json {
            return output::data(&serde_json::to_string(self).expect("plain data"));
        }
        output::data(&self.to_string())
    }

    /// What the process should end with.
    pub(crate) fn result(&self) -> Result {
        match self.reason.exit(self.is_clean()) {
            Exit::Ok => Ok(()),
            // The line has said it all.
            exit => Err(Failure::new(exit, "", "")),
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.unflushed_bytes == 0 && self.unflushed_files.is_empty() && self.error.is_none()
    }
}

/// Leaves at once, with whatever is not written back.
fn give_up(volume: &client::Volume, path: &std::path::Path) -> Left {
    let names = mount::open_files(path);
    let unmounted = match mount::tear_down(path) {
        Ok(()) => mount::Unmounted::Detached,
        Err(_) => mount::Unmounted::Already,
    };
    let lost = volume.lost();
    let files: BTreeSet<InodeId> = lost.files.into_iter().chain(volume.unflushed()).collect();
    Left {
        flushed_bytes: 0,
        unflushed_bytes: lost.bytes + volume.dirty_bytes(),
        unflushed_names: names.into_iter().filter(|(id, _)| files.contains(id)).collect(),
        unflushed_files: files,
        unmounted,
        error: Some("given up at a second signal".to_owned()),
    }
}

/// How long leaving may take before a person is told what it waits for.
const PATIENCE: Duration = Duration::from_secs(3);

/// Most files that are named to people.
const FILES_SHOWN_MAX: usize = 10;

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ending { volume, mount_point, .. } = self;
        write!(f, "mount ended: volume {volume} on {mount_point}: {}", self.reason.sentence())?;
        match (&self.exit, &self.standby) {
            (Some(exit), _) => write!(f, " (exit {exit})")?,
            (None, Some(standby)) => write!(f, " (goes on with volume {standby})")?,
            (None, None) => {}
        }
        write!(f, "; {} written back", size::show(self.flushed_bytes))?;
        if self.is_clean() {
            write!(f, ", nothing lost")?;
        } else {
            write!(f, ", {} lost", size::show(self.unflushed_bytes))?;
        }
        let count = self.unflushed_files.len();
        if count > 0 {
            let shown = self.unflushed_files.iter().take(FILES_SHOWN_MAX);
            let name = |inode: &u64| match self.unflushed_paths.get(inode) {
                Some(path) => format!("{inode} {path}"),
                None => inode.to_string(),
            };
            let shown: Vec<String> = shown.map(name).collect();
            write!(f, " of {count} files (inodes {}", shown.join(", "))?;
            write!(f, "{})", if count > FILES_SHOWN_MAX { ", ..." } else { "" })?;
        }
        if let Some(error) = &self.error {
            write!(f, "; {error}")?;
        }
        write!(f, "; unmounted: {}", self.unmounted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(reason: Reason, files: u64) -> Ending {
        Ending {
            event: "mount-ended",
            reason,
            exit: Some(reason.exit(files == 0) as u8),
            noticed_ms: 0,
            standby: None,
            volume: "v".into(),
            volume_id: 1,
            mount_point: "/mnt".into(),
            flushed_bytes: 2 << 20,
            unflushed_bytes: files * 4096,
            unflushed_files: (2..2 + files).collect(),
            unflushed_paths: [(3, "/a/b".to_owned())].into(),
            unmounted: "clean",
            error: (files > 0).then(|| "the volume was deleted".into()),
        }
    }

    #[test]
    fn the_line_says_what_was_saved_and_what_was_not() {
        assert_eq!(
            ending(Reason::Unmounted, 0).to_string(),
            "mount ended: volume v on /mnt: unmounted (exit 0); 2 MiB written back, nothing lost; \
             unmounted: clean"
        );
        assert_eq!(
            ending(Reason::VolumeDeleted, 2).to_string(),
            "mount ended: volume v on /mnt: its volume is being deleted, or was (exit 10); 2 MiB \
             written back, 8 KiB lost of 2 files (inodes 2, 3 /a/b); the volume was deleted; unmounted: \
             clean"
        );
        let mut goes_on = ending(Reason::VolumeDeleted, 0);
        goes_on.go_on_with("spare");
        assert!(goes_on.to_string().contains("or was (goes on with volume spare); 2 MiB written"));
        let many = ending(Reason::MountLost, 11).to_string();
        assert!(many.contains("10, 11, ...)"), "{many}");
    }

    #[test]
    fn the_exit_code_says_why_and_zero_says_that_all_is_safe() {
        let code = |reason, files| ending(reason, files).result().map_err(|f| f.exit as u8);
        assert_eq!(code(Reason::Unmounted, 0), Ok(()));
        assert_eq!(code(Reason::Unmounted, 1), Err(1));
        assert_eq!(code(Reason::VolumeDeleted, 0), Err(10));
        assert_eq!(code(Reason::AccessRevoked, 0), Err(11));
        assert_eq!(code(Reason::ClusterUnreachable, 1), Err(12));
        assert_eq!(code(Reason::MountLost, 0), Err(13));
        let line = serde_json::to_value(ending(Reason::VolumeDeleted, 1)).unwrap();
        assert_eq!((&line["reason"], &line["exit"]), (&"volume-deleted".into(), &10.into()));
    }
}
