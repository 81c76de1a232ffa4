//! Distinguished names as text: RFC 4514 as RabbitMQ writes it, which makes users' names of it.

use std::fmt::Write;

use x509_parser::der_parser::asn1_rs::{Any, FromDer, Tag};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Short names of attributes.
const NAMES: [(&str, &str); 17] = [
    ("2.5.4.3", COMMON_NAME),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "TITLE"),
    ("2.5.4.42", "GIVENNAME"),
    ("2.5.4.43", "INITIALS"),
    ("2.5.4.44", "GENERATIONQUALIFIER"),
    ("2.5.4.65", "PSEUDONYM"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "EMAILADDRESS"),
];
const COMMON_NAME: &str = "CN";

/// The name, its last part first: `CN=client,O=acme,C=SE`.
pub(super) fn rfc_4514(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> =
        name.iter().map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+")).collect();
    parts.reverse();
    parts.join(",")
}

/// The common names, in the order of the certificate.
pub(super) fn common_names(name: &X509Name<'_>) -> Vec<String> {
    let all = name.iter_attributes().filter(|one| type_of(one) == COMMON_NAME);
    all.map(|one| value(one.attr_value())).collect()
}

/// The text in an encoded value that says what it is.
pub(super) fn text_within(encoded: &[u8]) -> Option<String> {
    let (_, outer) = Any::from_der(encoded).ok()?;
    // An other name's value is in brackets of its own, `[0] EXPLICIT`.
    match text(&outer) {
        Some(text) => Some(text),
        None => text(&Any::from_der(outer.data).ok()?.1),
    }
}

fn attribute(one: &AttributeTypeAndValue<'_>) -> String {
    format!("{}={}", type_of(one), escaped(&value(one.attr_value())))
}

fn type_of(one: &AttributeTypeAndValue<'_>) -> String {
    let oid = one.attr_type().to_id_string();
    let short = NAMES.iter().find(|(own, _)| *own == oid);
    short.map_or(oid, |(_, name)| (*name).to_owned())
}

/// What is no text is shown by its bytes, as RFC 4514 has it (section 2.4).
fn value(value: &Any<'_>) -> String {
    text(value).unwrap_or_else(|| {
        value.data.iter().fold("#".to_owned(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    })
}

fn text(value: &Any<'_>) -> Option<String> {
    let bytes = value.data;
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString => {
            String::from_utf8(bytes.to_vec()).ok()
        }
        Tag::T61String => Some(bytes.iter().copied().map(char::from).collect()),
        Tag::BmpString => {
            let units = bytes.as_chunks().0.iter().copied().map(u16::from_be_bytes);
            String::from_utf16(&units.collect::<Vec<_>>()).ok()
        }
        Tag::UniversalString => {
            let units = bytes.as_chunks().0.iter().copied().map(u32::from_be_bytes);
            units.map(char::from_u32).collect()
        }
        _ => None,
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    let last = text.len().saturating_sub(1);
    for (index, byte) in text.bytes().enumerate() {
        let is_special = match byte {
            b' ' => index == 0 || index == last,
            b'#' => index == 0,
            byte => b"\"+,;<>\\".contains(&byte),
        };
        match byte {
            byte if is_special => {
                escaped.push('\\');
                escaped.push(byte.into());
            }
            0..32 | 126.. => {
                let _ = write!(escaped, "\\{byte:02X}");
            }
            byte => escaped.push(byte.into()),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_are_escaped() {
        assert_eq!(escaped("a b"), "a b");
        assert_eq!(escaped(" a#b "), "\\ a#b\\ ");
        assert_eq!(escaped("#a,b+c\"d;e<f>g\\h=i"), "\\#a\\,b\\+c\\\"d\\;e\\<f\\>g\\\\h=i");
        assert_eq!(escaped("é\n~"), "\\C3\\A9\\0A\\7E");
        assert_eq!(escaped(""), "");
    }
}
