//! What a certificate says.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use super::distinguished_name as name;
use super::error::TlsError;

/// A certificate, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// The file it is in; none for a client's.
    pub file: Option<PathBuf>,
    /// Whose it is, as RFC 4514 and RabbitMQ write it.
    pub subject: String,
    /// Who signed it, written alike.
    pub issuer: String,
    /// From when on it is valid, in seconds of Unix time.
    pub valid_from: i64,
    /// Until when it is valid.
    pub valid_until: i64,
    /// The subject's common names.
    pub common_names: Vec<String>,
    /// The subject's other names.
    pub alternative_names: Vec<AlternativeName>,
    validity: String,
}

/// A name from the extension for them (RFC 5280, section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlternativeName {
    /// What kind of name it is.
    pub kind: NameKind,
    /// The name.
    pub name: String,
}

/// A kind of name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// A host.
    Dns,
    /// An address.
    Ip,
    /// A mailbox.
    Email,
    /// A URI.
    Uri,
    /// Something else that is text.
    Other,
}

impl Certificate {
    /// Reads the certificates of a file.
    pub(super) fn parse_all(
        all: &[CertificateDer<'_>],
        path: &Path,
    ) -> Result<Vec<Self>, TlsError> {
        let read = |(index, der): (usize, &CertificateDer<'_>)| {
            let certificate = Self::parse(der).ok_or_else(|| {
                TlsError::file(path, format!("certificate {} in it can't be read", index + 1))
            })?;
            Ok(Self { file: Some(path.to_owned()), ..certificate })
        };
        all.iter().enumerate().map(read).collect()
    }

    /// Reads a certificate, if it is one.
    pub(crate) fn parse(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        let (from, until) = (validity.not_before, validity.not_after);
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map(|extension| extension.value.general_names.as_slice());
        Some(Self {
            file: None,
            subject: name::rfc_4514(certificate.subject()),
            issuer: name::rfc_4514(certificate.issuer()),
            valid_from: from.timestamp(),
            valid_until: until.timestamp(),
            common_names: name::common_names(certificate.subject()),
            alternative_names: names.unwrap_or_default().iter().filter_map(alternative).collect(),
            validity: format!("{} - {}", show(from), show(until)),
        })
    }

    /// From when until when it is valid, as RabbitMQ shows it.
    pub fn validity(&self) -> &str {
        &self.validity
    }

    /// Whether it is for a host: named whole, or by a `*` in the place of its first part.
    pub(super) fn is_for(&self, host: &str) -> bool {
        let parent = host.split_once('.').map(|(_, parent)| parent);
        let mut names = self.alternative_names.iter().filter(|name| name.kind == NameKind::Dns);
        names.any(|AlternativeName { name, .. }| {
            let wild = name.strip_prefix("*.");
            name.eq_ignore_ascii_case(host)
                || wild.zip(parent).is_some_and(|(name, parent)| name.eq_ignore_ascii_case(parent))
        })
    }

    pub(super) fn warn_if_expired(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if i64::try_from(now).is_ok_and(|now| self.valid_until < now) {
            let file = self.file.as_deref().unwrap_or_else(|| Path::new("")).display();
            tracing::warn!("{file}: the certificate of {} has expired", self.subject);
        }
    }
}

fn alternative(name: &GeneralName<'_>) -> Option<AlternativeName> {
    let (kind, name) = match name {
        GeneralName::DNSName(name) => (NameKind::Dns, (*name).to_owned()),
        GeneralName::RFC822Name(name) => (NameKind::Email, (*name).to_owned()),
        GeneralName::URI(name) => (NameKind::Uri, (*name).to_owned()),
        GeneralName::IPAddress(bytes) => (NameKind::Ip, address(bytes)?),
        GeneralName::OtherName(_, value) => (NameKind::Other, name::text_within(value)?),
        _ => return None,
    };
    Some(AlternativeName { kind, name })
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(bytes).to_string());
    }
    let bytes = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(bytes).to_string())
}

/// As in `2026-11-20T21:42:15Z`.
fn show(time: ASN1Time) -> String {
    let time = time.to_datetime();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}
