//! A value as it was given, and what a setting may take it for.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::settings::Refused;
use super::units;

/// A value as it was given: typed in a file, text in the environment and in flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    List(Vec<Self>),
    /// Anything no setting takes, as it was written.
    Other(String),
}

impl Value {
    /// Takes a parsed value over, or gives a table back.
    pub(super) fn from_toml<'i>(value: Spanned<DeValue<'i>>) -> Result<Self, DeTable<'i>> {
        Ok(match value.into_inner() {
            DeValue::String(text) => Self::Text(text.into_owned()),
            DeValue::Integer(integer) => {
                match i64::from_str_radix(integer.as_str(), integer.radix()) {
                    Ok(integer) => Self::Integer(integer),
                    Err(_) => Self::Other(integer.as_str().to_owned()),
                }
            }
            DeValue::Array(values) => Self::List(
                values
                    .into_iter()
                    .map(|value| {
                        Self::from_toml(value).unwrap_or_else(|_| Self::Other("{...}".to_owned()))
                    })
                    .collect(),
            ),
            DeValue::Float(float) => Self::Other(float.as_str().to_owned()),
            DeValue::Boolean(boolean) => Self::Other(boolean.to_string()),
            DeValue::Datetime(datetime) => Self::Other(datetime.to_string()),
            DeValue::Table(table) => return Err(table),
        })
    }

    /// The value of a setting as it is shown.
    pub(super) fn from_shown(value: toml::Value) -> Self {
        match value {
            toml::Value::String(text) => Self::Text(text),
            toml::Value::Integer(integer) => Self::Integer(integer),
            toml::Value::Array(values) => {
                Self::List(values.into_iter().map(Self::from_shown).collect())
            }
            other => Self::Other(other.to_string()),
        }
    }

    /// A list of one value is that value.
    pub(super) fn flatten(self) -> Self {
        match self {
            Self::List(mut values) if values.len() == 1 => values.remove(0),
            value => value,
        }
    }

    /// A text of 1 to 255 bytes: what fits a name in AMQP.
    pub(super) fn name(&self) -> Result<String, Refused> {
        match self {
            Self::Text(text) if (1..=255).contains(&text.len()) => Ok(text.clone()),
            _ => Err(Refused::NotAllowed),
        }
    }

    /// A text of any length but none.
    pub(super) fn text(&self) -> Result<&str, Refused> {
        match self {
            Self::Text(text) if !text.is_empty() => Ok(text),
            _ => Err(Refused::NotAllowed),
        }
    }

    /// One of some words, whatever the case of its letters.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, Refused> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        found.map(|(_, meaning)| *meaning).ok_or(Refused::NotAllowed)
    }

    /// `true` or `false`, also written as text.
    pub(super) fn boolean(&self) -> Result<bool, Refused> {
        match self {
            Self::Text(text) | Self::Other(text) => text.parse().map_err(|_| Refused::NotAllowed),
            Self::Integer(_) | Self::List(_) => Err(Refused::NotAllowed),
        }
    }

    /// A number, also written as text.
    pub(super) fn integer<T: TryFrom<u64> + PartialOrd>(
        &self,
        range: RangeInclusive<T>,
    ) -> Result<T, Refused> {
        self.measured(|text| text.parse().ok(), range)
    }

    /// A number of bytes: `131072`, `"128KiB"`.
    pub(super) fn bytes<T: TryFrom<u64> + PartialOrd>(
        &self,
        range: RangeInclusive<T>,
    ) -> Result<T, Refused> {
        self.measured(units::parse_bytes, range)
    }

    /// A whole number of seconds: `60`, `"60s"`, `"1m"`.
    pub(super) fn seconds<T: TryFrom<u64> + PartialOrd>(
        &self,
        range: RangeInclusive<T>,
    ) -> Result<T, Refused> {
        let whole = |time: Duration| (time.subsec_nanos() == 0).then_some(time.as_secs());
        self.measured(|text| units::parse_duration(text).and_then(whole), range)
    }

    /// A time; a number without a unit counts seconds.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Result<Duration, Refused> {
        let duration = match self {
            Self::Text(text) => units::parse_duration(text),
            Self::Integer(seconds) => u64::try_from(*seconds).ok().map(Duration::from_secs),
            _ => None,
        };
        duration.filter(|duration| range.contains(duration)).ok_or(Refused::NotAllowed)
    }

    fn measured<T: TryFrom<u64> + PartialOrd>(
        &self,
        parse: impl Fn(&str) -> Option<u64>,
        range: RangeInclusive<T>,
    ) -> Result<T, Refused> {
        let number = match self {
            Self::Integer(integer) => u64::try_from(*integer).ok(),
            Self::Text(text) => parse(text),
            _ => None,
        };
        number
            .and_then(|number| T::try_from(number).ok())
            .filter(|number| range.contains(number))
            .ok_or(Refused::NotAllowed)
    }

    /// Texts: a list, or one text with commas. `none` is the empty list.
    pub(super) fn texts(&self) -> Result<Vec<String>, Refused> {
        let texts: Vec<String> = match self {
            Self::Text(text) => text.split(',').map(|text| text.trim().to_owned()).collect(),
            Self::Integer(integer) => vec![integer.to_string()],
            Self::List(values) => values
                .iter()
                .map(|value| match value {
                    Self::Text(text) => Ok(text.clone()),
                    Self::Integer(integer) => Ok(integer.to_string()),
                    _ => Err(Refused::NotAllowed),
                })
                .collect::<Result<_, _>>()?,
            Self::Other(_) => return Err(Refused::NotAllowed),
        };
        match texts.as_slice() {
            [none] if none.eq_ignore_ascii_case("none") => Ok(Vec::new()),
            _ if texts.iter().any(String::is_empty) => Err(Refused::NotAllowed),
            _ => Ok(texts),
        }
    }

    /// Addresses to listen on, each once.
    pub(super) fn addresses(&self) -> Result<Vec<SocketAddr>, Refused> {
        let mut addresses = Vec::new();
        for text in self.texts()? {
            let address = parse_address(&text).ok_or(Refused::NotAllowed)?;
            if address.port() == 0 || !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }
}

/// `127.0.0.1:5672`, `[::1]:5672`, `localhost:5672`, and for all interfaces `5672`, `:5672` or
/// `*:5672`.
fn parse_address(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let port: u16 = port.parse().ok()?;
    match host {
        "" | "*" => Some((Ipv6Addr::UNSPECIFIED, port).into()),
        "localhost" => Some((Ipv4Addr::LOCALHOST, port).into()),
        _ => None,
    }
}

/// As TOML writes it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => toml::Value::from(text.as_str()).fmt(f),
            Self::Integer(integer) => integer.fmt(f),
            Self::Other(text) => f.write_str(text),
            Self::List(values) => {
                let values: Vec<_> = values.iter().map(Self::to_string).collect();
                write!(f, "[{}]", values.join(", "))
            }
        }
    }
}
