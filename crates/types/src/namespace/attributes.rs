//! What is known of one inode, and where its chunks live.

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum FileKind {
    Unknown = 0,
    File = 1,
    Folder = 2,
    Symlink = 3,
    Fifo = 4,
    Socket = 5,
    CharDevice = 6,
    BlockDevice = 7,
}

/// The attributes of one inode, as one command left them.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Attributes {
    #[prost(uint64, tag = "1")]
    pub inode: u64,
    #[prost(enumeration = "FileKind", tag = "2")]
    pub kind: i32,
    /// Permission bits with suid, sgid and sticky: `0o7777` at most.
    #[prost(uint32, tag = "3")]
    pub mode: u32,
    #[prost(uint32, tag = "4")]
    pub uid: u32,
    #[prost(uint32, tag = "5")]
    pub gid: u32,
    /// Names it has; of a folder, 2 plus its sub-folders. Zero: an orphan, kept while it is open.
    #[prost(uint32, tag = "6")]
    pub nlink: u32,
    /// Bytes of a file or of a symbolic link's target; of a folder, the number of its entries.
    #[prost(uint64, tag = "7")]
    pub size: u64,
    /// Bytes its data takes in data partitions, one copy (`st_blocks` times 512).
    #[prost(uint64, tag = "8")]
    pub allocated: u64,
    /// Nanoseconds since 1970.
    #[prost(sfixed64, tag = "9")]
    pub atime: i64,
    #[prost(sfixed64, tag = "10")]
    pub mtime: i64,
    #[prost(sfixed64, tag = "11")]
    pub ctime: i64,
    #[prost(sfixed64, tag = "12")]
    pub btime: i64,
    /// Device number of a char or block device, in the kernel's encoding.
    #[prost(uint32, tag = "13")]
    pub rdev: u32,
    /// Goes up at every change of the inode or of its data as committed; validates caches.
    #[prost(uint64, tag = "14")]
    pub version: u64,
    /// Tells this inode from any other that ever had its number. Numbers are not reused: always 1.
    #[prost(uint64, tag = "15")]
    pub generation: u64,
    /// The session that holds the exclusive right to buffer writes; zero: none.
    #[prost(uint64, tag = "16")]
    pub delegate: u64,
    /// The data partition of chunk 0; zero: not placed yet.
    #[prost(uint64, tag = "17")]
    pub first_chunk: u64,
    /// Extended attributes it has, access control lists counted.
    #[prost(uint32, tag = "18")]
    pub xattrs: u32,
    /// The folder that holds a folder; of the root, itself; zero for everything else.
    #[prost(uint64, tag = "19")]
    pub parent: u64,
    /// Who held the delegation ended without saying how long the file had become: it may be longer than `size`, by the
    /// bytes that lie there without a gap.
    #[prost(bool, tag = "20")]
    pub unsettled: bool,
}

/// Where one chunk lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub struct Placement {
    /// Index of the chunk: the file offset divided by [`crate::limits::CHUNK_BYTES`].
    #[prost(uint64, tag = "1")]
    pub chunk: u64,
    #[prost(uint64, tag = "2")]
    pub partition: u64,
}
