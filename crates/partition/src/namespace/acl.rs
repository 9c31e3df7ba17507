//! POSIX access control lists, as Linux keeps them in extended attributes, and how they go with modes.
//!
//! ```text
//! version(4) = 2, then for each entry: tag(2) permissions(2) id(4), little-endian
//! ```
//!
//! A list with nothing but owner, group and others says what a mode says, and is kept as the mode.
//! With more entries it has a mask, and the group bits of the mode are the mask.

use super::codec::{Reader, Writer};
use types::namespace::{Failure, FailureKind};

pub(super) const ACCESS: &[u8] = b"system.posix_acl_access";
pub(super) const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: u32 = 2;
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
const PERMISSIONS: u16 = 0o7;

/// One line of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    tag: u16,
    permissions: u16,
    id: u32,
}

/// A valid list: owner, group and others once each, a mask when anybody is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Acl {
    lines: Vec<Line>,
}

/// What a new inode gets from its folder's default list.
pub(super) struct Inherited {
    pub mode: u32,
    /// Its access list, when the mode does not say it all.
    pub access: Option<Acl>,
}

impl Acl {
    /// Reads the value of an attribute; `None` for a list without lines, which removes the list.
    pub(super) fn parse(value: &[u8]) -> Result<Option<Acl>, Failure> {
        let invalid = || Failure::new(FailureKind::Invalid);
        let mut reader = Reader::new(value);
        let version = reader.u32().map_err(|_| invalid())?;
        if version != VERSION {
            return Err(Failure::new(FailureKind::NotSupported));
        }
        let mut lines = Vec::new();
        while !reader.is_empty() {
            let mut line = || {
                let (tag, permissions) = (reader.u16().ok()?, reader.u16().ok()?);
                Some(Line { tag, permissions, id: reader.u32().ok()? })
            };
            lines.push(line().ok_or_else(invalid)?);
        }
        if lines.is_empty() {
            return Ok(None);
        }
        let acl = Acl { lines };
        if acl.is_valid() { Ok(Some(acl)) } else { Err(invalid()) }
    }

    fn is_valid(&self) -> bool {
        let count = |tag| self.lines.iter().filter(|line| line.tag == tag).count();
        let named = count(USER) + count(GROUP);
        let known = [USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER];
        self.lines.iter().all(|line| known.contains(&line.tag) && line.permissions <= PERMISSIONS)
            && self.lines.is_sorted_by_key(|line| line.tag)
            && [USER_OBJ, GROUP_OBJ, OTHER].into_iter().all(|tag| count(tag) == 1)
            && (count(MASK) == 1 || (count(MASK) == 0 && named == 0))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(4 + 8 * self.lines.len());
        writer.u32(VERSION);
        for line in &self.lines {
            writer.u16(line.tag).u16(line.permissions).u32(line.id);
        }
        writer.finish()
    }

    fn permissions(&self, tag: u16) -> Option<u32> {
        self.lines.iter().find(|line| line.tag == tag).map(|line| u32::from(line.permissions))
    }

    fn line(&mut self, tag: u16) -> Option<&mut Line> {
        self.lines.iter_mut().find(|line| line.tag == tag)
    }

    /// The tag whose permissions are the group bits of the mode.
    fn group_tag(&self) -> u16 {
        if self.permissions(MASK).is_some() { MASK } else { GROUP_OBJ }
    }

    /// The nine permission bits that go with this list.
    pub(super) fn mode_bits(&self) -> u32 {
        let bits = |tag| self.permissions(tag).unwrap_or(0);
        bits(USER_OBJ) << 6 | bits(self.group_tag()) << 3 | bits(OTHER)
    }

    /// Whether the mode says all that this list says.
    pub(super) fn is_plain(&self) -> bool {
        self.lines.len() == 3
    }

    /// Follows a `chmod`: owner, mask (or group) and others become those of `mode`.
    pub(super) fn chmod(&mut self, mode: u32) {
        let group = self.group_tag();
        for (tag, shift) in [(USER_OBJ, 6), (group, 3), (OTHER, 0)] {
            if let Some(line) = self.line(tag) {
                line.permissions = (mode >> shift) as u16 & PERMISSIONS;
            }
        }
    }

    /// What an inode made with `mode` in a folder with this default list gets: no more than both say.
    pub(super) fn inherit(&self, mode: u32) -> Inherited {
        let mut access = self.clone();
        let group = access.group_tag();
        for (tag, shift) in [(USER_OBJ, 6), (group, 3), (OTHER, 0)] {
            if let Some(line) = access.line(tag) {
                line.permissions &= (mode >> shift) as u16;
            }
        }
        let mode = (mode & !0o777) | access.mode_bits();
        Inherited { mode, access: (!access.is_plain()).then_some(access) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(lines: &[(u16, u16, u32)]) -> Vec<u8> {
        let line = |&(tag, permissions, id): &(u16, u16, u32)| Line { tag, permissions, id };
        Acl { lines: lines.iter().map(line).collect() }.encode()
    }

    #[test]
    fn a_named_user_brings_a_mask_and_the_mask_is_the_group_of_the_mode() {
        let value =
            acl(&[(USER_OBJ, 6, 0), (USER, 7, 5), (GROUP_OBJ, 4, 0), (MASK, 5, 0), (OTHER, 0, 0)]);
        let mut list = Acl::parse(&value).unwrap().unwrap();
        assert_eq!(list.mode_bits(), 0o650);
        assert!(!list.is_plain());
        list.chmod(0o731);
        assert_eq!(list.permissions(MASK), Some(3));
        assert_eq!(list.permissions(GROUP_OBJ), Some(4), "the group's own line is left alone");
        assert_eq!(Acl::parse(&list.encode()).unwrap(), Some(list));
    }

    #[test]
    fn a_new_file_gets_no_more_than_list_and_mode_both_say() {
        let plain = Acl::parse(&acl(&[(USER_OBJ, 7, 0), (GROUP_OBJ, 5, 0), (OTHER, 5, 0)]))
            .unwrap()
            .unwrap();
        let inherited = plain.inherit(0o4640);
        assert_eq!(inherited.mode, 0o4640);
        assert!(inherited.access.is_none());
        let value =
            acl(&[(USER_OBJ, 7, 0), (GROUP_OBJ, 7, 0), (GROUP, 7, 9), (MASK, 7, 0), (OTHER, 5, 0)]);
        let inherited = Acl::parse(&value).unwrap().unwrap().inherit(0o666);
        assert_eq!(inherited.mode, 0o664);
        assert_eq!(inherited.access.unwrap().permissions(GROUP), Some(7));
    }

    #[test]
    fn lists_that_make_no_sense_are_refused() {
        let kind = |value: &[u8]| Acl::parse(value).unwrap_err().kind();
        assert_eq!(kind(b""), FailureKind::Invalid);
        assert_eq!(kind(&3_u32.to_le_bytes()), FailureKind::NotSupported);
        assert_eq!(kind(&acl(&[(USER_OBJ, 7, 0)])), FailureKind::Invalid);
        let no_mask = acl(&[(USER_OBJ, 7, 0), (USER, 7, 1), (GROUP_OBJ, 5, 0), (OTHER, 5, 0)]);
        assert_eq!(kind(&no_mask), FailureKind::Invalid);
        let mut cut = acl(&[(USER_OBJ, 7, 0), (GROUP_OBJ, 5, 0), (OTHER, 5, 0)]);
        cut.pop();
        assert_eq!(kind(&cut), FailureKind::Invalid);
        assert_eq!(Acl::parse(&2_u32.to_le_bytes()), Ok(None));
    }
}
