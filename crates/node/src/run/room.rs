//! The room of the node's disks, as its loop sees to it: measured, probed, told, and held back.

use super::{NodeEvent, NodeLoop};
use types::{DiskId, Moment};

impl NodeLoop {
    /// Measures the disks, and tells whoever is concerned when one has room no more, or again.
    pub(super) fn measure(&mut self, now: Moment) {
        let disks: Vec<DiskId> = self.spaces.keys().copied().collect();
        for disk in disks {
            let Some(space) = self.spaces.get_mut(&disk) else { continue };
            let changed = space.measure(now);
            let probe = space.wants_probe(now);
            if let Some(job) = probe {
                let context = self.context.clone();
                self.context.world.detach_blocking(move || {
                    let result = job.run();
                    context.post(NodeEvent::Probed { disk, result });
                });
            }
            if changed {
                self.tell_room(disk);
            }
            self.keep_ballast(disk, now);
        }
    }

    /// Has ballast made where some is missing and there is room for it.
    fn keep_ballast(&self, disk: DiskId, now: Moment) {
        let (ballast, space) = (&self.homes[&disk].ballast, &self.spaces[&disk]);
        if !ballast.is_due(now) {
            return;
        }
        let missing = ballast.missing();
        if missing > 0 && space.can_spare(missing) {
            let filling = ballast.fill();
            self.context.world.detach_blocking(move || filling.run());
        }
    }

    /// A write on a disk was refused for want of room.
    pub(super) fn refused(&mut self, disk: DiskId, error: &str) {
        if self.spaces.get_mut(&disk).is_some_and(|space| space.refused(error)) {
            self.tell_room(disk);
        }
    }

    pub(super) fn probed(&mut self, disk: DiskId, result: std::io::Result<()>) {
        let now = self.context.world.now();
        let space = self.spaces.get_mut(&disk);
        if space.is_some_and(|space| space.probed(now, result)) {
            self.tell_room(disk);
        }
    }

    /// Tells the replicas on a disk, and the control plane, how its space is.
    fn tell_room(&mut self, disk: DiskId) {
        let Some(space) = self.spaces.get(&disk) else { return };
        for holder in self.replicas.values_mut().filter(|holder| holder.disk_id == disk) {
            holder.set_room(space);
            self.touched.insert(holder.id);
        }
        self.heartbeat.notify_one();
    }
}
