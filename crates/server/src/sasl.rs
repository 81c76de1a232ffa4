//! Login mechanisms: who a client says it is.

use std::fmt;

use leveret_broker::access::Secret;
use leveret_codec::{Table, TableLimits};

use crate::tls::{Certificate, NameKind};

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// With a name and a password (RFC 4616).
    Plain,
    /// The same as a field table.
    Amqplain,
    /// As the user that is set for it.
    Anonymous,
    /// As the user that a client's certificate names.
    External,
}

impl Mechanism {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Amqplain, Self::Anonymous, Self::External];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Amqplain => "AMQPLAIN",
            Self::Anonymous => "ANONYMOUS",
            Self::External => "EXTERNAL",
        }
    }
}

/// Which name in a client's certificate is its user's (RabbitMQ's `ssl_cert_login_from`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateUser {
    /// The whole subject, as in `CN=client,O=acme`.
    DistinguishedName,
    /// Its common names.
    CommonName,
    /// One of the other names.
    AlternativeName,
}

/// How clients may log in.
#[derive(Debug)]
pub(crate) struct Logins {
    /// The preferred way first.
    pub(crate) mechanisms: Vec<Mechanism>,
    /// Who comes in by `ANONYMOUS`, which is not offered without.
    pub(crate) anonymous: Option<Anonymous>,
    pub(crate) certificate_user: CertificateUser,
    /// The kind of the alternative name that is the user's, and which one of that kind.
    pub(crate) alternative_name: (NameKind, u16),
}

/// Who comes in by `ANONYMOUS`: a user like any other, whose password the broker knows.
#[derive(Debug)]
pub(crate) struct Anonymous {
    pub(crate) user: String,
    pub(crate) password: Secret,
}

/// What a connection's transport says of the client.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Transport<'a> {
    Plain,
    /// TLS, with the certificate the client has shown.
    Tls(Option<&'a Certificate>),
}

/// Who a client says it is.
#[derive(PartialEq, Eq)]
pub(crate) enum Identity<'a> {
    /// A user's name and password, as sent.
    Password { user: &'a str, password: &'a [u8] },
    /// The user that its certificate names, which has been checked.
    Certificate { user: String },
}

/// Passwords are nobody's business.
impl fmt::Debug for Identity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => {
                f.debug_struct("Password").field("user", user).finish_non_exhaustive()
            }
            Self::Certificate { user } => {
                f.debug_struct("Certificate").field("user", user).finish()
            }
        }
    }
}

/// Why a response says nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SaslError {
    #[error("the client asked for the mechanism '{0}', which is not offered")]
    UnknownMechanism(String),
    #[error("malformed response")]
    Malformed,
    #[error("connection peer presented no TLS (x.509) certificate")]
    NoCertificate,
    #[error("no name found")]
    NoName,
}

impl SaslError {
    /// Whether it is a login that failed, which RabbitMQ tells the client.
    pub(crate) const fn is_login(&self) -> bool {
        matches!(self, Self::NoCertificate | Self::NoName)
    }
}

impl Logins {
    /// Mechanisms on offer, as `connection.start` lists them.
    ///
    /// As in RabbitMQ, EXTERNAL is offered within TLS whether or not there is a certificate.
    pub(crate) fn offered(&self, transport: Transport<'_>) -> String {
        let offered = self.mechanisms.iter().filter(|one| self.offers(**one, transport));
        offered.map(|one| one.name()).collect::<Vec<_>>().join(" ")
    }

    fn offers(&self, mechanism: Mechanism, transport: Transport<'_>) -> bool {
        match mechanism {
            Mechanism::Plain | Mechanism::Amqplain => true,
            Mechanism::Anonymous => self.anonymous.is_some(),
            Mechanism::External => matches!(transport, Transport::Tls(_)),
        }
    }

    /// Reads a client's first response.
    ///
    /// PLAIN is `NUL user NUL password` with an empty authorization identity, as RabbitMQ demands;
    /// AMQPLAIN is a field table without its length, with `LOGIN` and `PASSWORD`; what comes with
    /// ANONYMOUS and EXTERNAL means nothing.
    pub(crate) fn identity<'a>(
        &'a self,
        mechanism: &str,
        response: &'a [u8],
        transport: Transport<'_>,
    ) -> Result<Identity<'a>, SaslError> {
        let mut offered = self.mechanisms.iter().filter(|one| self.offers(**one, transport));
        let unknown = || SaslError::UnknownMechanism(mechanism.to_owned());
        let found = offered.find(|one| one.name() == mechanism).ok_or_else(unknown)?;
        let (user, password) = match found {
            Mechanism::Plain => plain(response)?,
            Mechanism::Amqplain => amqplain(response)?,
            Mechanism::Anonymous => {
                let one = self.anonymous.as_ref().ok_or_else(unknown)?;
                (one.user.as_bytes(), one.password.as_bytes())
            }
            Mechanism::External => {
                let Transport::Tls(Some(certificate)) = transport else {
                    return Err(SaslError::NoCertificate);
                };
                let user = self.user_of(certificate).ok_or(SaslError::NoName)?;
                return Ok(Identity::Certificate { user });
            }
        };
        let user = std::str::from_utf8(user).map_err(|_| SaslError::Malformed)?;
        Ok(Identity::Password { user, password })
    }

    /// The user a certificate names, if it has such a name.
    fn user_of(&self, certificate: &Certificate) -> Option<String> {
        match self.certificate_user {
            CertificateUser::DistinguishedName => Some(certificate.subject.clone()),
            CertificateUser::CommonName => {
                let names = &certificate.common_names;
                (!names.is_empty()).then(|| names.join(","))
            }
            CertificateUser::AlternativeName => {
                let (kind, index) = self.alternative_name;
                let names = certificate.alternative_names.iter();
                let mut names = names.filter(|name| name.kind == kind);
                names.nth(index.into()).map(|name| name.name.clone())
            }
        }
    }
}

fn plain(response: &[u8]) -> Result<(&[u8], &[u8]), SaslError> {
    let mut parts = response.split(|byte| *byte == 0);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some([]), Some(user), Some(password), None) => Ok((user, password)),
        _ => Err(SaslError::Malformed),
    }
}

/// Within the limits of all that comes in a handshake, whatever is configured for later.
fn amqplain(response: &[u8]) -> Result<(&[u8], &[u8]), SaslError> {
    let table =
        Table::parse(response, &TableLimits::default()).map_err(|_| SaslError::Malformed)?;
    let field = |name| table.get(name).and_then(|value| value.as_bytes());
    field("LOGIN").zip(field("PASSWORD")).ok_or(SaslError::Malformed)
}

#[cfg(test)]
mod tests {
    use leveret_codec::{TableBuilder, Value};

    use super::*;
    use crate::tls::AlternativeName;

    fn logins(certificate_user: CertificateUser) -> Logins {
        Logins {
            mechanisms: Mechanism::ALL.to_vec(),
            anonymous: None,
            certificate_user,
            alternative_name: (NameKind::Dns, 1),
        }
    }

    fn read<'a>(
        logins: &'a Logins,
        mechanism: &str,
        response: &'a [u8],
    ) -> Result<Identity<'a>, SaslError> {
        logins.identity(mechanism, response, Transport::Plain)
    }

    #[test]
    fn plain_has_an_empty_identity_and_two_nuls() {
        let logins = logins(CertificateUser::CommonName);
        let good = Identity::Password { user: "guest", password: b"p" };
        assert_eq!(read(&logins, "PLAIN", b"\0guest\0p"), Ok(good));
        for bad in [&b"junk"[..], b"", b"x\0guest\0p", b"\0guest", b"\0guest\0p\0"] {
            assert_eq!(read(&logins, "PLAIN", bad), Err(SaslError::Malformed));
        }
    }

    #[test]
    fn amqplain_is_a_table_without_its_length() {
        let logins = logins(CertificateUser::CommonName);
        let table = TableBuilder::new()
            .put("LOGIN", Value::LongStr(b"guest"))
            .put("PASSWORD", Value::LongStr(b"p"))
            .build();
        let good = Identity::Password { user: "guest", password: b"p" };
        assert_eq!(read(&logins, "AMQPLAIN", table.as_bytes()), Ok(good));
        assert_eq!(read(&logins, "AMQPLAIN", b""), Err(SaslError::Malformed));
        assert_eq!(read(&logins, "AMQPLAIN", b"\xff\xff"), Err(SaslError::Malformed));
    }

    #[test]
    fn anonymous_is_somebody_if_anybody() {
        let mut logins = logins(CertificateUser::CommonName);
        let nobody = SaslError::UnknownMechanism("ANONYMOUS".to_owned());
        assert_eq!(read(&logins, "ANONYMOUS", b"whatever"), Err(nobody));
        logins.anonymous = Some(Anonymous { user: "guest".to_owned(), password: "p".into() });
        let good = Identity::Password { user: "guest", password: b"p" };
        assert_eq!(read(&logins, "ANONYMOUS", b"whatever"), Ok(good));
        assert_eq!(logins.offered(Transport::Plain), "PLAIN AMQPLAIN ANONYMOUS");
    }

    #[test]
    fn no_password_shows() {
        let one = Anonymous { user: "anna".to_owned(), password: "hunter2".into() };
        let identity = Identity::Password { user: "anna", password: b"hunter2" };
        let shown = format!("{one:?} {identity:?}");
        assert_eq!(
            shown,
            "Anonymous { user: \"anna\", password: (not shown) } Password { user: \"anna\", .. }"
        );
    }

    #[test]
    fn other_mechanisms_are_not_offered() {
        let mut logins = logins(CertificateUser::CommonName);
        let refused = |name: &str| Err(SaslError::UnknownMechanism(name.to_owned()));
        assert_eq!(read(&logins, "FOO", b""), refused("FOO"));
        assert_eq!(read(&logins, "EXTERNAL", b""), refused("EXTERNAL"));
        logins.mechanisms = vec![Mechanism::External, Mechanism::Plain];
        assert_eq!(logins.offered(Transport::Tls(None)), "EXTERNAL PLAIN");
        assert_eq!(read(&logins, "AMQPLAIN", b""), refused("AMQPLAIN"));
    }

    #[test]
    fn external_is_who_the_certificate_names() {
        let name = |kind, name: &str| AlternativeName { kind, name: name.to_owned() };
        let mut certificate = Certificate::default();
        certificate.subject = "CN=b,CN=a,O=acme".to_owned();
        certificate.common_names = vec!["a".to_owned(), "b".to_owned()];
        certificate.alternative_names = vec![
            name(NameKind::Dns, "zero"),
            name(NameKind::Email, "a@b"),
            name(NameKind::Dns, "one"),
        ];
        let named = |logins: &Logins, certificate| match logins.identity(
            "EXTERNAL",
            b"whatever",
            Transport::Tls(certificate),
        ) {
            Ok(Identity::Certificate { user }) => Ok(user),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        };
        let by_subject = logins(CertificateUser::DistinguishedName);
        assert_eq!(named(&by_subject, Some(&certificate)), Ok("CN=b,CN=a,O=acme".to_owned()));
        assert_eq!(named(&by_subject, None), Err(SaslError::NoCertificate));
        let by_common_name = logins(CertificateUser::CommonName);
        assert_eq!(named(&by_common_name, Some(&certificate)), Ok("a,b".to_owned()));
        let nameless = Certificate::default();
        assert_eq!(named(&by_common_name, Some(&nameless)), Err(SaslError::NoName));
        let mut by_alternative = logins(CertificateUser::AlternativeName);
        assert_eq!(named(&by_alternative, Some(&certificate)), Ok("one".to_owned()));
        by_alternative.alternative_name = (NameKind::Email, 0);
        assert_eq!(named(&by_alternative, Some(&certificate)), Ok("a@b".to_owned()));
        by_alternative.alternative_name = (NameKind::Dns, 2);
        assert_eq!(named(&by_alternative, Some(&certificate)), Err(SaslError::NoName));
    }
}
