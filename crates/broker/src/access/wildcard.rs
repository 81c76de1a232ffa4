//! The patterns in scopes of tokens: `*` stands for any characters, everything else may be
//! percent-encoded, as a slash has to be.

/// A pattern, taken apart at its asterisks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wildcard(Vec<Vec<u8>>);

impl Wildcard {
    /// `None` for percent signs that encode nothing: such a pattern matches nothing.
    pub(super) fn new(pattern: &str) -> Option<Self> {
        pattern.split('*').map(decoded).collect::<Option<_>>().map(Self)
    }

    /// As RabbitMQ matches: each part is looked for where the one before ends, and the first place
    /// counts. So `a*b` is not found in `abab`.
    pub(super) fn matches(&self, subject: &str) -> bool {
        let Some((first, mut parts)) = self.0.split_first() else { return false };
        let Some(mut rest) = subject.as_bytes().strip_prefix(first.as_slice()) else {
            return false;
        };
        loop {
            match parts {
                [] => return rest.is_empty(),
                [last] if last.is_empty() => return true,
                _ if rest.is_empty() => return false,
                [part, others @ ..] => {
                    let Some(found) = find(rest, part) else { return false };
                    rest = found;
                    parts = others;
                }
            }
        }
    }
}

/// A pattern for nothing but this text, as one part of a scope.
pub(super) fn literal(text: &str) -> String {
    let mut literal = String::with_capacity(text.len());
    for one in text.chars() {
        match one {
            '*' | '%' | '+' | '/' | ':' => literal += &format!("%{:02X}", u32::from(one)),
            one => literal.push(one),
        }
    }
    literal
}

/// What follows the part where it first occurs.
fn find<'a>(text: &'a [u8], part: &[u8]) -> Option<&'a [u8]> {
    (0..=text.len()).find_map(|start| text.get(start..)?.strip_prefix(part))
}

/// As in forms: a plus sign is a space.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => digit(bytes.next()?)? << 4 | digit(bytes.next()?)?,
            byte => byte,
        });
    }
    Some(decoded)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_rabbitmq() {
        let cases = [
            ("*", "", true),
            ("*", "anything/at all", true),
            ("", "", true),
            ("", "a", false),
            ("q", "q", true),
            ("q", "qq", false),
            ("q*", "q", true),
            ("q*", "queue", true),
            ("*q", "q", true),
            ("a*q", "aq", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1c2b", false),
            ("a*b", "abab", false),
            ("a**b", "axb", true),
            ("%2F", "/", true),
            ("%2f*", "/x", true),
            ("a%2Ab", "a*b", true),
            ("a%2Ab", "axb", false),
            ("a+b", "a b", true),
            ("%C3%BC", "ü", true),
        ];
        for (pattern, subject, expected) in cases {
            let matches = Wildcard::new(pattern).unwrap().matches(subject);
            assert_eq!(matches, expected, "{pattern} {subject}");
        }
        for broken in ["%", "%2", "%zz", "a*%4"] {
            assert_eq!(Wildcard::new(broken), None);
        }
    }
}
