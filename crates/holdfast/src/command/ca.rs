//! `holdfast ca`: the certificates of a cluster, made with files and nothing else.

use crate::exit::{Exit, Failure, Result};
use crate::{file, output};
use clap::{Args, Subcommand};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use std::path::{Path, PathBuf};
use types::Timestamp;
use world::net::SERVER_NAME;

/// The authority's name. The same everywhere, because what tells authorities apart is the key.
const AUTHORITY: &str = "Holdfast cluster authority";
const CA_CERTIFICATE: &str = "ca.pem";
const CA_KEY: &str = "ca.key";

const DAY_SECONDS: i64 = 86_400;

#[derive(Debug, Subcommand)]
pub(crate) enum Ca {
    /// Make the authority of a new cluster
    Init(Init),
    /// Issue a certificate to a host of the cluster
    Issue(Issue),
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Folder for ca.pem (to every host) and ca.key (to nobody)
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Days until it runs out
    #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u16).range(1..=36500))]
    days: u16,
}

#[derive(Debug, Args)]
pub(crate) struct Issue {
    /// What the host's files are called: NAME.pem and NAME.key
    name: String,
    /// Host name or IP address that people reach the host by; may be given several times
    #[arg(long = "address", value_name = "HOST")]
    addresses: Vec<String>,
    /// For a client only: it can mount, and pose neither as a host nor as a node
    #[arg(long, conflicts_with = "addresses")]
    client: bool,
    /// Folder of ca.pem and ca.key, and for the host's files
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Days until it runs out
    #[arg(long, default_value_t = 1095, value_parser = clap::value_parser!(u16).range(1..=36500))]
    days: u16,
}

impl Ca {
    pub(crate) fn run(self) -> Result {
        // The dates come from the world, which wants a runtime around it.
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.map_err(|error| failed("cannot start", &error))?;
        let now = runtime.block_on(async { world::World::real(world::Net::tcp()).timestamp() });
        match self {
            Ca::Init(command) => command.run(now),
            Ca::Issue(command) => command.run(now),
        }
    }
}

fn failed(what: &str, error: &dyn std::error::Error) -> Failure {
    Failure::new(Exit::Failed, format!("{what}: {error}"), "")
}

/// Refuses to go on when one of the files is there: keys are never overwritten.
fn refuse_existing(paths: &[&Path]) -> Result {
    match paths.iter().find(|path| file::exists(path)) {
        None => Ok(()),
        Some(path) => {
            let message = format!("{} exists, and is not overwritten", path.display());
            Err(Failure::new(Exit::Conflict, message, "choose another folder or name"))
        }
    }
}

/// Valid from yesterday, for clocks that are behind, until `days` from now.
fn set_validity(params: &mut CertificateParams, now: Timestamp, days: u16) {
    let (year, month, day) = date(now.seconds() - DAY_SECONDS);
    params.not_before = rcgen::date_time_ymd(year, month, day);
    let (year, month, day) = date(now.seconds() + i64::from(days) * DAY_SECONDS);
    params.not_after = rcgen::date_time_ymd(year, month, day);
}

/// Year, month and day.
fn date(seconds: i64) -> (i32, u8, u8) {
    let text = Timestamp::from_parts(seconds, 0).to_string();
    let parts: Vec<u16> = text[..10].split('-').filter_map(|part| part.parse().ok()).collect();
    let byte = |number: u16| u8::try_from(number).expect("months and days are small");
    match parts[..] {
        [year, month, day] => (i32::from(year), byte(month), byte(day)),
        _ => unreachable!("dates print as year, month and day"),
    }
}

/// The authority's certificate follows from this and the key.
fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Init {
    fn run(self, now: Timestamp) -> Result {
        file::create_folder(&self.dir)?;
        let (certificate_path, key_path) = (self.dir.join(CA_CERTIFICATE), self.dir.join(CA_KEY));
        refuse_existing(&[&certificate_path, &key_path])?;
        let key = KeyPair::generate().map_err(|error| failed("cannot make a key", &error))?;
        let mut params = authority();
        set_validity(&mut params, now, self.days);
        let certificate = params.self_signed(&key);
        let certificate = certificate.map_err(|error| failed("cannot sign", &error))?;
        file::create(&key_path, &key.serialize_pem(), true)?;
        file::create(&certificate_path, &certificate.pem(), false)?;
        output::data(&certificate_path.display().to_string())?;
        output::data(&key_path.display().to_string())?;
        output::talk(
            "Whoever has ca.key can join the cluster: keep it where only you can read it.\n\
             Next, for each host: holdfast ca issue NAME --address HOST",
        );
        Ok(())
    }
}

impl Issue {
    fn run(self, now: Timestamp) -> Result {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.name.is_empty() || self.name == "ca" || !self.name.chars().all(plain) {
            let message = format!("'{}' cannot be the name of a host's files", self.name);
            let action = "use letters, digits, '-', '_' and '.', and not 'ca'";
            return Err(Failure::new(Exit::Usage, message, action));
        }
        let certificate_path = self.dir.join(format!("{}.pem", self.name));
        let key_path = self.dir.join(format!("{}.key", self.name));
        refuse_existing(&[&certificate_path, &key_path])?;
        let issuer = issuer(&self.dir)?;
        let key = KeyPair::generate().map_err(|error| failed("cannot make a key", &error))?;
        let mut params = self.params()?;
        set_validity(&mut params, now, self.days);
        let certificate = params.signed_by(&key, &issuer);
        let certificate = certificate.map_err(|error| failed("cannot sign", &error))?;
        file::create(&key_path, &key.serialize_pem(), true)?;
        file::create(&certificate_path, &certificate.pem(), false)?;
        output::data(&certificate_path.display().to_string())?;
        output::data(&key_path.display().to_string())
    }

    fn params(&self) -> Result<CertificateParams> {
        let mut names = Vec::new();
        if !self.client {
            names.push(SERVER_NAME.to_owned());
        }
        names.extend(self.addresses.iter().cloned());
        let mut params = CertificateParams::new(names).map_err(|error| {
            let action = "give each --address as a host name or an IP address, without a port";
            Failure::new(Exit::Usage, format!("an address is wrong: {error}"), action)
        })?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, self.name.as_str());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !self.client {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }
}

fn issuer(folder: &Path) -> Result<Issuer<'static, KeyPair>> {
    let path = folder.join(CA_KEY);
    if !file::exists(&path) {
        let message = format!("there is no authority in {}", folder.display());
        let action = "make one with: holdfast ca init, or name its folder with --dir";
        return Err(Failure::new(Exit::NotFound, message, action));
    }
    let key = KeyPair::from_pem(&file::read(&path)?).map_err(|error| {
        let message = format!("{} holds no usable key: {error}", path.display());
        Failure::new(Exit::Usage, message, "take the ca.key that 'holdfast ca init' wrote")
    })?;
    Ok(Issuer::new(authority(), key))
}
