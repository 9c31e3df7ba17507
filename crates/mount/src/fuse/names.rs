//! What files are called that programs have open, as the kernel knows it.
//!
//! The client knows files by their inodes. When bytes are lost a person wants names, and what is
//! buffered belongs, but for moments, to files that somebody has open or mapped: closing a file writes
//! it back. So the kernel is asked who has what open, once, at the beginning of the end. No question of
//! this goes to the mount itself. Programs of others are seen by root only; what cannot be seen has
//! no name.
#![expect(clippy::disallowed_methods, reason = "the kernel's own files, which nobody simulates")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use types::InodeId;

/// Paths within the volume, of files of the mount at `place` that are open or mapped now.
pub fn open_files(place: &Path) -> BTreeMap<InodeId, String> {
    let mut found = BTreeMap::new();
    let Some(mount) = Listed::find(&super::mounts(), place) else { return found };
    let Ok(processes) = fs::read_dir("/proc") else { return found };
    for process in processes.filter_map(Result::ok) {
        if process.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            mount.look(&process.path(), &mut found);
        }
    }
    found
}

/// A mount, as the kernel lists it.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    id: u64,
    /// As in lists of mappings: hexadecimal.
    device: String,
    place: String,
}

impl Listed {
    fn find(mountinfo: &str, place: &Path) -> Option<Listed> {
        let place = place.to_str()?;
        // What was mounted last is on top.
        let line = mountinfo.lines().rfind(|line| line.split(' ').nth(4) == Some(place))?;
        let mut fields = line.split(' ');
        let id = fields.next()?.parse().ok()?;
        let (major, minor) = fields.nth(1)?.split_once(':')?;
        let number = |text: &str| text.parse::<u32>().ok();
        let device = format!("{:02x}:{:02x}", number(major)?, number(minor)?);
        Some(Listed { id, device, place: place.to_owned() })
    }

    /// Adds what one process has open. It may end meanwhile.
    fn look(&self, process: &Path, found: &mut BTreeMap<InodeId, String>) {
        let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten();
        for descriptor in descriptors.filter_map(Result::ok) {
            let info = process.join("fdinfo").join(descriptor.file_name());
            let Some(inode) = fs::read_to_string(info).ok().and_then(|info| self.inode(&info))
            else {
                continue;
            };
            let target = fs::read_link(descriptor.path()).ok();
            if let Some(path) = target.as_deref().and_then(|path| self.within(path.to_str()?)) {
                found.insert(inode, path);
            }
        }
        let maps = fs::read_to_string(process.join("maps")).unwrap_or_default();
        found.extend(maps.lines().filter_map(|line| self.mapping(line)));
    }

    /// The inode of a descriptor, when it is of this mount.
    fn inode(&self, info: &str) -> Option<InodeId> {
        let field = |name: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(name))?;
            value.trim().parse::<u64>().ok()
        };
        (field("mnt_id:")? == self.id).then_some(InodeId(field("ino:")?))
    }

    /// Inode and path of a mapping, when it is of this mount.
    fn mapping(&self, line: &str) -> Option<(InodeId, String)> {
        let mut fields = line.split_ascii_whitespace();
        let device = fields.nth(3)?;
        let inode = InodeId(fields.next()?.parse().ok()?);
        let path = &line[line.find('/')?..];
        (device == self.device).then_some((inode, self.within(path)?))
    }

    fn within(&self, path: &str) -> Option<String> {
        let rest = path.strip_prefix(&self.place)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| rest.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
90 22 0:47 / /mnt rw shared:5 - fuse.holdfast holdfast:a rw
91 90 0:48 / /mnt rw shared:5 - fuse.holdfast holdfast:b rw
";

    #[test]
    fn files_are_named_by_what_the_kernel_says_of_this_mount() {
        let mount = Listed::find(MOUNTS, Path::new("/mnt")).unwrap();
        assert_eq!(mount, Listed { id: 91, device: "00:30".into(), place: "/mnt".into() });
        assert_eq!(Listed::find(MOUNTS, Path::new("/mn")), None);
        let info = |mount| format!("pos:\t0\nflags:\t02\nmnt_id:\t{mount}\nino:\t77\n");
        assert_eq!(mount.inode(&info(91)), Some(InodeId(77)));
        assert_eq!(mount.inode(&info(90)), None, "of the one underneath");
        assert_eq!(mount.within("/mnt/a/b c (deleted)"), Some("/a/b c (deleted)".into()));
        assert_eq!(mount.within("/mnt2/a"), None);
        let map = "7f00-7f10 rw-s 00000000 00:30 12                         /mnt/a b";
        assert_eq!(mount.mapping(map), Some((InodeId(12), "/a b".into())));
        assert_eq!(mount.mapping(&map.replace("00:30", "00:2f")), None);
        assert_eq!(mount.mapping("7f00-7f10 rw-p 00000000 00:00 0"), None);
    }

    #[test]
    fn looking_around_meets_no_error() {
        assert_eq!(open_files(Path::new("/nowhere")), BTreeMap::new());
        let listed = Listed::find(&super::super::mounts(), Path::new("/"));
        if let Some(root) = listed {
            let own = fs::File::open("/proc/self/exe").unwrap();
            root.look(Path::new("/proc/self"), &mut BTreeMap::new());
            drop(own);
        }
    }
}
