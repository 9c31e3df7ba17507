//! Who may listen where.
//!
//! One rule, in one function: past loopback, strangers can knock, so nothing listens there without
//! certificates, and nothing that takes orders listens there without a token.

use std::net::{IpAddr, SocketAddr};

/// Shortest admin token that is taken. Characters.
pub(crate) const TOKEN_BYTES_MIN: usize = 16;

/// How to make a token.
pub(crate) const MAKE_TOKEN: &str =
    "make one with: head -c 32 /dev/urandom | base64 > admin.token; chmod 600 admin.token";

/// What listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// Nodes, clients and members talk there.
    Wire,
    /// People give orders there.
    Admin,
}

/// What keeps strangers out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    pub(crate) tls: bool,
    pub(crate) token: bool,
}

/// Refuses to listen where strangers can knock and nothing keeps them out. The error says what to
/// run.
pub(crate) fn check(door: Door, address: &str, guard: Guard) -> Result<(), String> {
    if is_loopback(address)? {
        return Ok(());
    }
    if !guard.tls {
        return Err(format!(
            "{address} can be reached from other machines, and there is no [tls]. Run\n  \
             holdfast ca init --dir pki\n  \
             holdfast ca issue this-host --dir pki --address HOST\n\
             and name pki/ca.pem, pki/this-host.pem and pki/this-host.key in [tls] \
             (or listen on 127.0.0.1)"
        ));
    }
    if door == Door::Admin && !guard.token {
        return Err(format!(
            "the admin API on {address} can be reached from other machines, and there is no admin \
             token. Run\n  \
             head -c 32 /dev/urandom | base64 > admin.token; chmod 600 admin.token\n\
             and name the file as admin_token_file in [control] (or listen on 127.0.0.1)"
        ));
    }
    Ok(())
}

/// Whether only this machine can reach the address. A name other than `localhost` may mean
/// anything, so it counts as public.
fn is_loopback(address: &str) -> Result<bool, String> {
    if let Ok(socket) = address.parse::<SocketAddr>() {
        return Ok(match socket.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            // An IPv4 address in disguise is judged as what it is.
            IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or(ip.is_loopback(), |ip| ip.is_loopback()),
        });
    }
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Ok(host.eq_ignore_ascii_case("localhost"))
        }
        _ => Err(format!("'{address}' is no address to listen on; write HOST:PORT")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Guard = Guard { tls: false, token: false };

    #[test]
    fn loopback_needs_nothing() {
        for address in ["127.0.0.1:7400", "127.9.9.9:0", "[::1]:7400", "localhost:7400"] {
            assert_eq!(check(Door::Admin, address, OPEN), Ok(()), "{address}");
        }
    }

    #[test]
    fn everything_else_needs_certificates() {
        for address in [
            "0.0.0.0:1",
            "[::]:1",
            "10.0.0.1:1",
            "[::ffff:10.0.0.1]:1",
            "localhost.example.com:1",
            "db:1",
        ] {
            for door in [Door::Wire, Door::Admin] {
                let error = check(door, address, Guard { tls: false, token: true }).unwrap_err();
                assert!(error.contains("holdfast ca init"), "{address}: {error}");
            }
            assert_eq!(check(Door::Wire, address, Guard { tls: true, token: false }), Ok(()));
        }
    }

    #[test]
    fn orders_need_a_token_too() {
        let error = check(Door::Admin, "0.0.0.0:1", Guard { tls: true, token: false }).unwrap_err();
        assert!(error.contains("admin_token_file"), "{error}");
        assert_eq!(check(Door::Admin, "0.0.0.0:1", Guard { tls: true, token: true }), Ok(()));
    }

    #[test]
    fn what_is_no_address_is_said_to_be_none() {
        for wrong in ["", "host", ":7400", "host:port", "1.2.3.4"] {
            assert!(check(Door::Wire, wrong, OPEN).unwrap_err().contains("no address"), "{wrong}");
        }
    }
}
