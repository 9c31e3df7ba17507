//! Sessions over real sockets, with peers that keep to the protocol and peers that do not.

#![allow(clippy::disallowed_methods, reason = "tests look from outside")]

mod it {
    mod mixup;
    mod peer;
    mod session;
    mod strangers;
}
