//! Login mechanisms: what a client's response says.

use leveret_codec::{Table, TableLimits};

/// Mechanisms on offer, in the order of preference.
pub(crate) const fn mechanisms(anonymous: Option<&Anonymous>) -> &'static str {
    match anonymous {
        Some(_) => "PLAIN AMQPLAIN ANONYMOUS",
        None => "PLAIN AMQPLAIN",
    }
}

/// Who comes in by `ANONYMOUS`: a user like any other, whose password the broker knows.
#[derive(Debug)]
pub(crate) struct Anonymous {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// A user name and a password, as sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Credentials<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: &'a [u8],
}

/// Why a response says nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SaslError {
    #[error("the client asked for the mechanism '{0}', which is not offered")]
    UnknownMechanism(String),
    #[error("malformed response")]
    Malformed,
}

/// Reads a client's first response.
///
/// PLAIN is `NUL user NUL password` with an empty authorization identity, as RabbitMQ demands;
/// AMQPLAIN is a field table without its length, with `LOGIN` and `PASSWORD`; what comes with
/// ANONYMOUS means nothing.
pub(crate) fn credentials<'a>(
    mechanism: &str,
    response: &'a [u8],
    anonymous: Option<&'a Anonymous>,
) -> Result<Credentials<'a>, SaslError> {
    let (user, password) = match mechanism {
        "PLAIN" => {
            let mut parts = response.split(|byte| *byte == 0);
            match (parts.next(), parts.next(), parts.next(), parts.next()) {
                (Some([]), Some(user), Some(password), None) => (user, password),
                _ => return Err(SaslError::Malformed),
            }
        }
        "AMQPLAIN" => {
            let table = Table::parse(response, &TableLimits::default())
                .map_err(|_| SaslError::Malformed)?;
            let field = |name| table.get(name).and_then(|value| value.as_bytes());
            match (field("LOGIN"), field("PASSWORD")) {
                (Some(user), Some(password)) => (user, password),
                _ => return Err(SaslError::Malformed),
            }
        }
        "ANONYMOUS" if let Some(one) = anonymous => (one.user.as_bytes(), one.password.as_bytes()),
        other => return Err(SaslError::UnknownMechanism(other.to_owned())),
    };
    let user = std::str::from_utf8(user).map_err(|_| SaslError::Malformed)?;
    Ok(Credentials { user, password })
}

#[cfg(test)]
mod tests {
    use leveret_codec::{TableBuilder, Value};

    use super::*;

    #[test]
    fn plain_has_an_empty_identity_and_two_nuls() {
        let good = Credentials { user: "guest", password: b"p" };
        assert_eq!(credentials("PLAIN", b"\0guest\0p", None), Ok(good));
        for bad in [&b"junk"[..], b"", b"x\0guest\0p", b"\0guest", b"\0guest\0p\0"] {
            assert_eq!(credentials("PLAIN", bad, None), Err(SaslError::Malformed));
        }
    }

    #[test]
    fn amqplain_is_a_table_without_its_length() {
        let table = TableBuilder::new()
            .put("LOGIN", Value::LongStr(b"guest"))
            .put("PASSWORD", Value::LongStr(b"p"))
            .build();
        let good = Credentials { user: "guest", password: b"p" };
        assert_eq!(credentials("AMQPLAIN", table.as_bytes(), None), Ok(good));
        assert_eq!(credentials("AMQPLAIN", b"", None), Err(SaslError::Malformed));
        assert_eq!(credentials("AMQPLAIN", b"\xff\xff", None), Err(SaslError::Malformed));
    }

    #[test]
    fn anonymous_is_somebody_if_anybody() {
        let nobody = SaslError::UnknownMechanism("ANONYMOUS".to_owned());
        assert_eq!(credentials("ANONYMOUS", b"whatever", None), Err(nobody));
        let anonymous = Anonymous { user: "guest".to_owned(), password: "p".to_owned() };
        let good = Credentials { user: "guest", password: b"p" };
        assert_eq!(credentials("ANONYMOUS", b"whatever", Some(&anonymous)), Ok(good));
        assert_eq!(mechanisms(Some(&anonymous)), "PLAIN AMQPLAIN ANONYMOUS");
    }

    #[test]
    fn other_mechanisms_are_not_offered() {
        let refused = SaslError::UnknownMechanism("FOO".to_owned());
        assert_eq!(credentials("FOO", b"", None), Err(refused));
    }
}
