//! `leveret tls self-signed`: certificates for trying TLS on a laptop.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

/// What to do about TLS.
#[derive(Debug, Subcommand)]
pub(crate) enum TlsTool {
    /// Make certificates to try TLS with: an authority, and what it has signed
    ///
    /// Writes ca.pem, cert.pem and key.pem, and with --client also client.pem and client.key. The
    /// authority's own key is not kept. What is there already is not replaced.
    SelfSigned(SelfSigned),
}

/// For whom.
#[derive(Debug, Args)]
pub(crate) struct SelfSigned {
    /// Where to: a directory, made if it isn't there
    directory: PathBuf,

    /// A host or address clients connect to, repeatable
    #[arg(long, value_name = "HOST", default_values = ["localhost", "127.0.0.1", "::1"])]
    host: Vec<String>,

    /// A client's name, to make a certificate for it as well
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
}

/// Makes them.
///
/// # Errors
/// When a file is there already, or can't be written, or a host's name is none.
pub(crate) fn run(tool: &TlsTool) -> anyhow::Result<()> {
    let TlsTool::SelfSigned(wanted) = tool;
    let directory = &wanted.directory;
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make the directory {}", directory.display()))?;
    let authority = authority()?;
    let host = wanted.host.first().map_or("localhost", String::as_str);
    let mut files = vec![(CA, authority.pem(), PUBLIC)];
    let mut sign =
        |mut params: CertificateParams, name: &str, usage, [certificate, key]: [_; 2]| {
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![usage];
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            (params.not_before, params.not_after) = valid();
            let own = KeyPair::generate()?;
            files.push((certificate, params.signed_by(&own, &authority)?.pem(), PUBLIC));
            files.push((key, own.serialize_pem(), OWNER_ONLY));
            Ok::<_, rcgen::Error>(())
        };
    let params = named(wanted.host.clone())?;
    sign(params, host, ExtendedKeyUsagePurpose::ServerAuth, [CERT, KEY])?;
    if let Some(client) = &wanted.client {
        let params = named(Vec::new())?;
        sign(params, client, ExtendedKeyUsagePurpose::ClientAuth, ["client.pem", "client.key"])?;
    }
    if let Some((name, ..)) = files.iter().find(|(name, ..)| directory.join(name).exists()) {
        bail!("{} is there already", directory.join(name).display());
    }
    for (name, text, mode) in files {
        write(&directory.join(name), &text, mode)?;
    }
    let text = how_to_use(&fs::canonicalize(directory)?, wanted.client.is_some());
    Ok(io::stdout().write_all(text.as_bytes())?)
}

const CA: &str = "ca.pem";
const CERT: &str = "cert.pem";
const KEY: &str = "key.pem";
const PUBLIC: u32 = 0o644;
const OWNER_ONLY: u32 = 0o600;

/// From yesterday, as clocks differ, for about a year: as long as the longest that browsers take.
fn valid() -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    (now - Duration::days(1), now + Duration::days(396))
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = named(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "Leveret self-signed authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = valid();
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn named(hosts: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params)
}

fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn how_to_use(directory: &Path, has_client: bool) -> String {
    let path = |name| directory.join(name).display().to_string();
    let (ca, cert, key) = (path(CA), path(CERT), path(KEY));
    let clients = match has_client {
        true => format!("ca_file = \"{ca}\"\nverify = \"peer\"\n"),
        false => String::new(),
    };
    format!(
        "Certificates are in {}. To try them, put this into leveret.toml:\n\n\
         listen_tls = 5671\nmanagement_tls = 15671\n\n\
         [tls]\ncert_file = \"{cert}\"\nkey_file = \"{key}\"\n{clients}\n\
         Clients trust {ca}.\n",
        directory.display()
    )
}
