//! Asking a node what one of its replicas holds, to compare it with the others.
//!
//! Any replica answers, leader or not, from what it has applied; each answer says up to where that
//! is, for two replicas can be compared only at the same place. Answers come in pages.

/// Which replica of the partition named by the frame, and what of it.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Ask {
    #[prost(oneof = "What", tags = "1, 2, 3")]
    pub what: Option<What>,
    /// The place of the log that the answer is to be about. Who is past it answers as it is; who has not reached
    /// it waits for a moment.
    #[prost(uint64, tag = "4")]
    pub at: u64,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, prost::Oneof)]
pub enum What {
    /// A namespace: its own contradictions, and a digest of all of it. Answer: [`Namespace`].
    #[prost(message, tag = "1")]
    Namespace(AskNamespace),
    /// A namespace: its files with bytes, and where those are. Answer: [`Files`].
    #[prost(message, tag = "2")]
    Files(AskFiles),
    /// A data partition: every chunk it holds, read and verified. Answer: [`Chunks`].
    #[prost(message, tag = "3")]
    Chunks(AskChunks),
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct AskNamespace {
    #[prost(uint32, tag = "1")]
    pub findings_max: u32,
}

/// One page of files, from the one after `after` on.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct AskFiles {
    #[prost(uint64, tag = "1")]
    pub after: u64,
    #[prost(uint32, tag = "2")]
    pub files_max: u32,
}

/// One page of chunks, from the one after (`object`, `chunk`) on; all zeros for the first.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct AskChunks {
    #[prost(uint64, tag = "1")]
    pub object: u64,
    #[prost(uint64, tag = "2")]
    pub chunk: u64,
    #[prost(uint32, tag = "3")]
    pub chunks_max: u32,
    /// The page ends after so many bytes; zero for as many as a page may have.
    #[prost(uint64, tag = "4")]
    pub bytes_max: u64,
}

/// Which replica answered, and from what state.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Head {
    #[prost(uint64, tag = "1")]
    pub replica: u64,
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// The answer is about the records up to this one.
    #[prost(uint64, tag = "3")]
    pub applied: u64,
    #[prost(uint64, tag = "4")]
    pub log_end: u64,
}

/// A whole namespace.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Namespace {
    #[prost(message, optional, tag = "1")]
    pub head: Option<Head>,
    /// CRC-64 over all keys and values.
    #[prost(fixed64, tag = "2")]
    pub digest: u64,
    #[prost(uint64, tag = "3")]
    pub inodes: u64,
    #[prost(uint64, tag = "4")]
    pub names: u64,
    /// Bytes accounted.
    #[prost(uint64, tag = "5")]
    pub used: u64,
    /// What contradicts what, for people.
    #[prost(string, repeated, tag = "6")]
    pub findings: Vec<String>,
}

/// Some files, ascending.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Files {
    #[prost(message, optional, tag = "1")]
    pub head: Option<Head>,
    #[prost(message, repeated, tag = "2")]
    pub files: Vec<FileBytes>,
    /// Ask for what comes after this inode; zero when nothing does.
    #[prost(uint64, tag = "3")]
    pub next: u64,
}

/// What a namespace says about the bytes of one file.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FileBytes {
    #[prost(uint64, tag = "1")]
    pub inode: u64,
    /// Bytes that data partitions hold for it.
    #[prost(uint64, tag = "2")]
    pub allocated: u64,
    /// The data partitions that may hold some, ascending.
    #[prost(uint64, repeated, tag = "3")]
    pub partitions: Vec<u64>,
    /// A client may have written what `allocated` does not have yet.
    #[prost(bool, tag = "4")]
    pub unsettled: bool,
}

/// Some chunks, in order of object and chunk.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Chunks {
    #[prost(message, optional, tag = "1")]
    pub head: Option<Head>,
    #[prost(message, repeated, tag = "2")]
    pub chunks: Vec<ChunkBytes>,
    /// Nothing comes after this page.
    #[prost(bool, tag = "3")]
    pub end: bool,
}

/// What a replica holds of one chunk.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ChunkBytes {
    #[prost(uint64, tag = "1")]
    pub object: u64,
    #[prost(uint64, tag = "2")]
    pub chunk: u64,
    /// How many bytes.
    #[prost(uint64, tag = "3")]
    pub bytes: u64,
    /// CRC-64 over the places of its runs and their bytes, however they lie in the log. Means
    /// nothing when something is damaged.
    #[prost(fixed64, tag = "4")]
    pub digest: u64,
    /// What did not verify, for people; a few of them.
    #[prost(string, repeated, tag = "5")]
    pub damages: Vec<String>,
}
