//! Names and attributes: one method for each thing a file system does with them.

use crate::data::decode;
use crate::{Error, Volume};
use bytes::Bytes;
use std::time::Duration;
use types::InodeId;
use types::namespace::{
    Answer, AnswerBody, Attributes, Caller, ChunkMap, ChunkMapPage, Command, Create, DirectoryPage,
    GetAttributes, GetLock, GetXattr, Link, ListXattr, Lock, LockKind, LockMode, Lookup,
    OutcomeBody, Query, QueryBody, ReadDirectory, ReadLink, ReleaseLocks, RemoveXattr, Rename,
    SetAttributes, SetLock, SetXattr, Statfs, Unlink, Usage,
};
use wire::{Operation, Request};

fn otherwise<T>(asked: &str) -> Result<T, Error> {
    Err(Error::Invalid(format!("{asked} was answered otherwise")))
}

fn attributes(found: Option<Attributes>, asked: &str) -> Result<Attributes, Error> {
    found.map_or_else(|| otherwise(asked), Ok)
}

impl Volume {
    async fn query(&self, query: QueryBody) -> Result<AnswerBody, Error> {
        let request = Request::new(Operation::NamespaceQuery).message(&Query::from(query));
        let reply = self.call(self.namespace_partition(), request).await?;
        let answer: Answer = decode(&reply)?;
        Ok(answer.into_result()?)
    }

    /// The inode behind a name.
    ///
    /// # Errors
    /// `NotFound` and the like as [`Error::Refused`]; see [`Error`].
    pub async fn lookup(&self, parent: InodeId, name: Bytes) -> Result<Attributes, Error> {
        match self.query(QueryBody::Lookup(Lookup { parent: parent.0, name })).await? {
            AnswerBody::Attributes(found) => Ok(self.complete_soon(found).await),
            _ => otherwise("a lookup"),
        }
    }

    /// The attributes of an inode, what this client has buffered included.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn attributes(&self, inode: InodeId) -> Result<Attributes, Error> {
        let told = self.told_attributes(inode).await?;
        self.complete(told).await
    }

    /// The attributes of an inode as the namespace has them.
    pub(crate) async fn told_attributes(&self, inode: InodeId) -> Result<Attributes, Error> {
        match self.query(QueryBody::GetAttributes(GetAttributes { inode: inode.0 })).await? {
            AnswerBody::Attributes(found) => Ok(found),
            _ => otherwise("a question for attributes"),
        }
    }

    /// The attributes of a folder in which this client changed a name a moment ago, and how long they may
    /// be kept; `None` where they have to be asked for.
    #[must_use]
    pub fn folder_told(&self, folder: InodeId) -> Option<(Attributes, Duration)> {
        self.inner.folders.told(folder, self.client().world.now())
    }

    /// One page of a folder; see [`ReadDirectory`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn read_directory(&self, read: ReadDirectory) -> Result<DirectoryPage, Error> {
        match self.query(QueryBody::ReadDirectory(read)).await? {
            AnswerBody::Directory(mut page) => {
                let listed = page.entries.iter().filter_map(|entry| entry.attributes).collect();
                let mut complete = self.complete_listed(listed).await.into_iter();
                for entry in page.entries.iter_mut().filter(|entry| entry.attributes.is_some()) {
                    entry.attributes = complete.next();
                }
                Ok(page)
            }
            _ => otherwise("reading a folder"),
        }
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn read_link(&self, inode: InodeId) -> Result<Bytes, Error> {
        match self.query(QueryBody::ReadLink(ReadLink { inode: inode.0 })).await? {
            AnswerBody::Bytes(target) => Ok(target),
            _ => otherwise("reading a link"),
        }
    }

    /// The value of an extended attribute.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn xattr(&self, inode: InodeId, name: Bytes) -> Result<Bytes, Error> {
        match self.query(QueryBody::GetXattr(GetXattr { inode: inode.0, name })).await? {
            AnswerBody::Bytes(value) => Ok(value),
            _ => otherwise("reading an attribute"),
        }
    }

    /// The names of all extended attributes.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn xattrs(&self, inode: InodeId) -> Result<Vec<Bytes>, Error> {
        match self.query(QueryBody::ListXattr(ListXattr { inode: inode.0 })).await? {
            AnswerBody::Xattrs(list) => Ok(list.names),
            _ => otherwise("listing attributes"),
        }
    }

    /// What the volume holds and may hold.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn usage(&self) -> Result<Usage, Error> {
        match self.query(QueryBody::Statfs(Statfs {})).await? {
            AnswerBody::Usage(usage) => Ok(usage),
            _ => otherwise("a question for usage"),
        }
    }

    /// The lock that would be in the way of `lock`, when one is.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_lock(&self, inode: InodeId, lock: Lock) -> Result<Option<Lock>, Error> {
        let lock = Some(Lock { session: self.session().0, ..lock });
        match self.query(QueryBody::GetLock(GetLock { inode: inode.0, lock })).await? {
            AnswerBody::Lock(lock) => Ok(Some(lock)),
            AnswerBody::Done(_) => Ok(None),
            _ => otherwise("a question for a lock"),
        }
    }

    pub(crate) async fn chunk_map(
        &self,
        inode: InodeId,
        first: u64,
        placements_max: u32,
    ) -> Result<ChunkMapPage, Error> {
        let map = ChunkMap { inode: inode.0, first, placements_max };
        match self.query(QueryBody::ChunkMap(map)).await? {
            AnswerBody::Chunks(page) => Ok(page),
            _ => otherwise("a question for chunks"),
        }
    }

    /// Makes an inode under a new name; says whether it was there before (only without `exclusive`).
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn create(
        &self,
        mut create: Create,
        caller: Caller,
    ) -> Result<(Attributes, bool), Error> {
        // Spread by parent and name, so that no inode number need be known yet.
        let spread = create
            .name
            .iter()
            .fold(create.parent, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        create.first_chunk = self.place(spread).map_or(0, |partition| partition.0);
        match self.command(Command::Create(create), caller).await? {
            OutcomeBody::Created(created) => {
                let found = attributes(created.attributes, "creating")?;
                let found = if created.existed { self.complete(found).await? } else { found };
                Ok((found, created.existed))
            }
            _ => otherwise("creating"),
        }
    }

    /// Gives an inode one more name.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn link(&self, link: Link, caller: Caller) -> Result<Attributes, Error> {
        match self.command(Command::Link(link), caller).await? {
            OutcomeBody::Linked(linked) => {
                Ok(self.complete_soon(attributes(linked.attributes, "linking")?).await)
            }
            _ => otherwise("linking"),
        }
    }

    /// Takes a name away; returns what is left of the inode.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn unlink(&self, unlink: Unlink, caller: Caller) -> Result<Attributes, Error> {
        match self.command(Command::Unlink(unlink), caller).await? {
            OutcomeBody::Unlinked(unlinked) => attributes(unlinked.attributes, "unlinking"),
            _ => otherwise("unlinking"),
        }
    }

    /// Moves a name; returns the inode that moved, and the one that was at the target.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn rename(
        &self,
        rename: Rename,
        caller: Caller,
    ) -> Result<(Attributes, Option<Attributes>), Error> {
        match self.command(Command::Rename(rename), caller).await? {
            OutcomeBody::Renamed(renamed) => {
                Ok((attributes(renamed.moved, "renaming")?, renamed.replaced))
            }
            _ => otherwise("renaming"),
        }
    }

    /// Changes attributes other than the size, for which there is [`crate::File::truncate`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn set_attributes(
        &self,
        change: SetAttributes,
        caller: Caller,
    ) -> Result<Attributes, Error> {
        match self.command(Command::SetAttributes(change), caller).await? {
            OutcomeBody::Changed(changed) => {
                let changed = attributes(changed.attributes, "changing attributes")?;
                Ok(self.complete_soon(changed).await)
            }
            _ => otherwise("changing attributes"),
        }
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn set_xattr(&self, set: SetXattr, caller: Caller) -> Result<(), Error> {
        self.command(Command::SetXattr(set), caller).await.map(drop)
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn remove_xattr(
        &self,
        inode: InodeId,
        name: Bytes,
        caller: Caller,
    ) -> Result<(), Error> {
        let remove = RemoveXattr { inode: inode.0, name };
        self.command(Command::RemoveXattr(remove), caller).await.map(drop)
    }

    /// Takes, changes or releases a lock; never waits.
    ///
    /// # Errors
    /// `Locked` when somebody else's lock is in the way; [`Error::SessionEnded`], once, when locks
    /// that this client held on the inode were lost; see [`Error`].
    pub async fn set_lock(&self, inode: InodeId, lock: Lock) -> Result<(), Error> {
        let unlocks = lock.mode() == LockMode::Unlocked;
        if !unlocks && self.inner.locks.take_lost(inode) {
            return Err(Error::SessionEnded);
        }
        let set = SetLock { inode: inode.0, lock: Some(lock) };
        self.command(Command::SetLock(set), Caller::default()).await?;
        self.inner.locks.note(inode, &lock);
        Ok(())
    }

    /// Releases all locks of one owner on an inode.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn release_locks(
        &self,
        inode: InodeId,
        owner: u64,
        kind: LockKind,
    ) -> Result<(), Error> {
        self.inner.locks.forget(inode, owner);
        let release = ReleaseLocks { inode: inode.0, owner, kind: kind.into() };
        self.command(Command::ReleaseLocks(release), Caller::default()).await.map(drop)
    }

    /// Makes every change of names and attributes that was acknowledged durable.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn flush_namespace(&self) -> Result<(), Error> {
        let request = Request::new(Operation::NamespaceFlush);
        self.call(self.namespace_partition(), request).await.map(drop)
    }
}
