//! A client of the admin API.

use crate::exit::{Exit, Failure, Result};
use crate::{file, tls};
use control::api::ApiError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use ureq::http::Response;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};

/// How long to wait for an answer. Longer than a member waits for the leader.
const DEADLINE: Duration = Duration::from_secs(15);

/// Largest answer that is read. Bytes.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// A way to one member's admin API.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    base: String,
    token: Option<String>,
}

impl Client {
    /// Prepares to ask `server`, as `HOST:PORT` or a URL.
    pub(crate) fn new(server: &str, token: Option<String>, ca: Option<&Path>) -> Result<Client> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(DEADLINE));
        if let Some(ca) = ca {
            let roots: Vec<Certificate<'static>> = tls::certificates(ca, &file::read(ca)?)?
                .iter()
                .map(|certificate| Certificate::from_der(certificate).to_owned())
                .collect();
            config = config.tls_config(
                TlsConfig::builder()
                    .root_certs(RootCerts::new_with_certs(&roots))
                    .unversioned_rustls_crypto_provider(Arc::new(
                        rustls::crypto::ring::default_provider(),
                    ))
                    .build(),
            );
        }
        let base = base(server, ca.is_some())?;
        Ok(Client { agent: Agent::new_with_config(config.build()), base, token })
    }

    /// Asks.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let request = self.agent.get(format!("{}{path}", self.base));
        self.answer(self.authorized(request).call())
    }

    /// Asks for a change.
    pub(crate) fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let body = serde_json::to_vec(body).expect("requests are plain data");
        let request = self.agent.post(format!("{}{path}", self.base));
        let request = request.header("content-type", "application/json");
        self.answer(self.authorized(request).send(body))
    }

    /// Asks for something to be deleted.
    pub(crate) fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let request = self.agent.delete(format!("{}{path}", self.base));
        self.answer(self.authorized(request).call())
    }

    fn authorized<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn answer<T: DeserializeOwned>(
        &self,
        answer: std::result::Result<Response<Body>, ureq::Error>,
    ) -> Result<T> {
        let mut answer = answer.map_err(|error| self.unreachable(&error))?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let body = body.map_err(|error| self.unreachable(&error))?;
        if (200..300).contains(&status) {
            return serde_json::from_slice(&body).map_err(|error| self.strange(&error.to_string()));
        }
        match serde_json::from_slice::<ApiError>(&body) {
            Ok(error) => Err(refused(status, &error)),
            Err(_) => Err(self.strange(&format!("HTTP status {status}"))),
        }
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let message = format!("cannot reach the cluster at {}: {error}", self.base);
        let action = if self.base.starts_with("https:") {
            "see that the server runs, that the address is right (--server, HOLDFAST_SERVER), and \
             that its certificate is of this authority and names this host (--ca, holdfast ca issue)"
        } else {
            "see that the server runs and that the address is right (--server, HOLDFAST_SERVER); \
             where the cluster uses TLS, name its authority (--ca, HOLDFAST_CA)"
        };
        Failure::new(Exit::Unreachable, message, action)
    }

    fn strange(&self, what: &str) -> Failure {
        let message = format!("{} does not answer like an admin API: {what}", self.base);
        let action =
            "see that the address is the one of the admin API, and that the versions match";
        Failure::new(Exit::Failed, message, action)
    }
}

/// The failure that an error of the admin API means here.
fn refused(status: u16, error: &ApiError) -> Failure {
    let exit = match status {
        400 => Exit::Usage,
        401 | 403 => Exit::Denied,
        404 | 410 => Exit::NotFound,
        409 => Exit::Conflict,
        502..=504 => Exit::Unreachable,
        _ => Exit::Failed,
    };
    Failure { code: error.code.clone(), ..Failure::new(exit, &error.message, &error.action) }
}

fn base(server: &str, tls: bool) -> Result<String> {
    let wrong = |why: &str| {
        let action = "write HOST:PORT, for example 127.0.0.1:7400";
        Failure::new(Exit::Usage, format!("'{server}' {why}"), action)
    };
    let server = server.trim_end_matches('/');
    match server.split_once("://") {
        Some(("https", _)) if !tls => {
            let action = "name the certificate of the cluster's authority (--ca, HOLDFAST_CA)";
            Err(Failure::new(Exit::Usage, "https needs an authority to trust", action))
        }
        Some(("http", _)) if tls => Err(wrong("is not https, and --ca asks for TLS")),
        Some(("http" | "https", rest)) if !rest.is_empty() => Ok(server.to_owned()),
        Some(_) => Err(wrong("is no address of an admin API")),
        None if server.is_empty() || !server.contains(':') => Err(wrong("has no port")),
        None if tls => Ok(format!("https://{server}")),
        None => Ok(format!("http://{server}")),
    }
}

/// Makes a name safe within a path.
pub(crate) fn segment(name: &str) -> String {
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_urls() {
        assert_eq!(base("127.0.0.1:7400", false).unwrap(), "http://127.0.0.1:7400");
        assert_eq!(base("http://host:1/", false).unwrap(), "http://host:1");
        assert_eq!(base("host:1", true).unwrap(), "https://host:1");
        for (wrong, tls) in
            [("host", false), ("", false), ("ftp://x", false), ("https://h:1", false)]
        {
            assert_eq!(base(wrong, tls).unwrap_err().exit, Exit::Usage, "{wrong}");
        }
    }

    #[test]
    fn names_cannot_leave_their_place_in_a_path() {
        assert_eq!(segment("main-1"), "main-1");
        assert_eq!(segment("../x y?"), "..%2Fx%20y%3F");
    }
}
