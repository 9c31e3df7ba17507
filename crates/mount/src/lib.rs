//! Adapters between the kernel and the client. Thin: behaviour is in the client and behind it.

pub mod fuse;

pub use fuse::{
    Afterwards, Ended, Left, Mount, MountError, MountOptions, Unmounted, open_files, remove_dead,
    tear_down, unmount,
};
