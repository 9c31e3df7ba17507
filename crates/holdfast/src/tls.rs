//! Certificates from files to what the network takes.

use crate::exit::{Exit, Failure, Result};
use crate::file;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::path::Path;
use std::sync::Arc;
use world::net::Tls;

/// What a host of a cluster shows and trusts.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// Between nodes, clients and members: both sides show a certificate of the cluster.
    pub(crate) mutual: Tls,
    /// Towards people: the server shows one, and people show a token.
    pub(crate) admin: Tls,
}

/// Reads the certificates in a file.
pub(crate) fn certificates(path: &Path, pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    let read: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(wrong(path, "holds no certificate in PEM form")),
    }
}

fn wrong(path: &Path, why: &str) -> Failure {
    let action = "make certificates with: holdfast ca init, and: holdfast ca issue NAME";
    Failure::new(Exit::Usage, format!("{} {why}", path.display()), action)
}

/// Loads what a host shows and trusts.
pub(crate) fn load(ca: &Path, certificate: &Path, key: &Path) -> Result<Identity> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(ca, &file::read(ca)?)? {
        roots.add(authority).map_err(|error| wrong(ca, &format!("is no authority: {error}")))?;
    }
    let chain = certificates(certificate, &file::read(certificate)?)?;
    let secret = file::read(key)?;
    let secret = PrivateKeyDer::from_pem_slice(secret.as_bytes())
        .map_err(|_| wrong(key, "holds no private key in PEM form"))?;
    let mismatch = |error: rustls::Error| {
        wrong(certificate, &format!("does not go with {}: {error}", key.display()))
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = Arc::new(roots);
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
    let verifier = verifier.map_err(|error| wrong(ca, &format!("cannot be trusted: {error}")))?;
    let server = || {
        ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider knows the protocol")
    };
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider knows the protocol")
        .with_root_certificates(roots.clone())
        .with_client_auth_cert(chain.clone(), secret.clone_key())
        .map_err(mismatch)?;
    let mutual = server()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), secret.clone_key())
        .map_err(mismatch)?;
    let admin = server().with_no_client_auth().with_single_cert(chain, secret).map_err(mismatch)?;
    let client = Arc::new(client);
    Ok(Identity {
        mutual: Tls { client: client.clone(), server: Arc::new(mutual), roots: roots.clone() },
        admin: Tls { client, server: Arc::new(admin), roots },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::Client;
    use crate::command::ca::Ca;
    use clap::Parser;
    use control::view::{Item, StatusView};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use world::{Disk, Net, World};

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        ca: Ca,
    }

    fn ca(folder: &Path, words: &[&str]) -> Result {
        let folder = folder.display().to_string();
        let line = ["ca"].iter().chain(words).copied().chain(["--dir", &folder]);
        Line::parse_from(line).ca.run()
    }

    fn identity(folder: &Path, name: &str) -> Identity {
        let file = |end: &str| folder.join(format!("{name}.{end}"));
        load(&folder.join("ca.pem"), &file("pem"), &file("key")).unwrap()
    }

    /// Two folders with an authority and a host's certificate each.
    fn two_clusters() -> [tempfile::TempDir; 2] {
        [(); 2].map(|()| {
            let folder = tempfile::tempdir().unwrap();
            ca(folder.path(), &["init"]).unwrap();
            ca(folder.path(), &["issue", "host", "--address", "127.0.0.1"]).unwrap();
            folder
        })
    }

    async fn greet(server: &Net, client: &Net) -> std::io::Result<()> {
        let listener = server.listen("127.0.0.1:0").await?;
        let address = listener.local_address()?.to_string();
        let answer = tokio::spawn(async move {
            let mut stream = listener.accept().await?.establish().await?;
            stream.write_all(b"hello").await?;
            stream.shutdown().await
        });
        let mut stream = client.connect(&address).await?;
        stream.write_all(b"good day to you").await?;
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await?;
        answer.await.unwrap()?;
        assert_eq!(heard, "hello");
        Ok(())
    }

    #[tokio::test]
    async fn hosts_of_a_cluster_know_each_other_and_nobody_else() {
        let clusters = tokio::task::spawn_blocking(two_clusters).await.unwrap();
        let [ours, theirs] =
            clusters.each_ref().map(|f| Net::tls(identity(f.path(), "host").mutual));
        greet(&ours, &ours).await.unwrap();
        greet(&ours, &theirs).await.unwrap_err();
        greet(&theirs, &ours).await.unwrap_err();
        greet(&ours, &Net::tcp()).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_certificate_for_clients_is_known_as_one_and_is_no_hosts() {
        let made = || {
            let [ours, _] = two_clusters();
            ca(ours.path(), &["issue", "reader", "--client"]).unwrap();
            ours
        };
        let ours = tokio::task::spawn_blocking(made).await.unwrap();
        let (host, reader) = (identity(ours.path(), "host"), identity(ours.path(), "reader"));
        let (host, reader) = (Net::tls(host.mutual), Net::tls(reader.mutual));
        for (client, client_only) in [(&host, false), (&reader, true)] {
            let listener = host.listen("127.0.0.1:0").await.unwrap();
            let address = listener.local_address().unwrap().to_string();
            let (incoming, _stream) = tokio::join!(
                async { listener.accept().await.unwrap().establish().await.unwrap() },
                client.connect(&address)
            );
            assert_eq!(incoming.is_client_only(), client_only);
        }
        greet(&reader, &host).await.unwrap_err();
    }

    #[test]
    fn keys_are_secret_and_never_overwritten() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(ca(folder.path(), &["issue", "host"]).unwrap_err().exit, Exit::NotFound);
        ca(folder.path(), &["init"]).unwrap();
        assert_eq!(ca(folder.path(), &["init"]).unwrap_err().exit, Exit::Conflict);
        ca(folder.path(), &["issue", "host"]).unwrap();
        assert_eq!(ca(folder.path(), &["issue", "host"]).unwrap_err().exit, Exit::Conflict);
        assert_eq!(ca(folder.path(), &["issue", "../x"]).unwrap_err().exit, Exit::Usage);
        for key in ["ca.key", "host.key"] {
            let mode = folder.path().join(key).metadata().unwrap().mode();
            assert_eq!(mode & 0o077, 0, "{key} can be read by others");
        }
        ca(folder.path(), &["issue", "other"]).unwrap();
        let files = ["ca.pem", "host.pem", "other.key"].map(|name| folder.path().join(name));
        let mixed = load(&files[0], &files[1], &files[2]).unwrap_err();
        assert!(mixed.message.contains("does not go with"), "{}", mixed.message);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn people_reach_the_admin_api_through_tls_with_a_token() {
        let [ours, theirs] = tokio::task::spawn_blocking(two_clusters).await.unwrap();
        let embedding = control::Embedding {
            world: World::real(Net::tls(identity(ours.path(), "host").mutual)),
            disk: Disk::real(&ours.path().join("control")).unwrap(),
            hub: wire::Hub::default(),
            metrics: control::Metrics::new(Arc::default()),
            wire_metrics: Arc::default(),
        };
        let config = control::Config {
            admin_tls: Some(identity(ours.path(), "host").admin),
            admin_token: Some("open sesame, please".to_owned()),
            ..control::Config::alone("127.0.0.1:0")
        };
        let member = control::Member::start(embedding, config).await.unwrap();
        let address = member.admin_address().to_string();
        let ask = |token: Option<&str>, folder: &tempfile::TempDir| {
            let (token, ca) = (token.map(str::to_owned), folder.path().join("ca.pem"));
            let client = Client::new(&address, token, Some(&ca)).unwrap();
            tokio::task::spawn_blocking(move || client.get::<Item<StatusView>>("/v1/status"))
        };
        let token = Some("open sesame, please");
        assert_eq!(ask(token, &ours).await.unwrap().unwrap().item.members.len(), 1);
        assert_eq!(ask(None, &ours).await.unwrap().unwrap_err().exit, Exit::Denied);
        assert_eq!(ask(token, &theirs).await.unwrap().unwrap_err().exit, Exit::Unreachable);
        let plain = Client::new(&address, None, None).unwrap();
        let plain =
            tokio::task::spawn_blocking(move || plain.get::<Item<StatusView>>("/v1/status"));
        assert_eq!(plain.await.unwrap().unwrap_err().exit, Exit::Unreachable);
        member.stop().await;
    }
}
