//! Looking for a text in bytes.

use memchr::memmem::Finder;

/// Bytes that are looked through at a time: it is done in a copy, and a body may be long.
const AT_ONCE: usize = 64 * 1024;

/// A text that is looked for, whether in capitals or not. It takes time by what is looked through, however
/// long the text is: it is for anybody to choose, and so is what it is looked for in.
#[derive(Clone, Debug)]
pub(crate) struct TextSearch {
    in_lower_case: Finder<'static>,
}

impl TextSearch {
    pub(crate) fn new(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        Self { in_lower_case: Finder::new(text.as_bytes()).into_owned() }
    }

    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        let before_max = self.in_lower_case.needle().len().saturating_sub(1);
        let mut seen = Vec::new();
        for bytes in bytes.chunks(AT_ONCE) {
            // It may have begun in those before.
            seen.drain(..seen.len().saturating_sub(before_max));
            seen.extend(bytes.iter().map(u8::to_ascii_lowercase));
            if self.in_lower_case.find(&seen).is_some() {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_wherever_it_stands() {
        let text = TextSearch::new("aAb\u{e4}");
        for before in (AT_ONCE - 12..=AT_ONCE).chain([0, 1, 3 * AT_ONCE - 1]) {
            let mut bytes = vec![b'A'; before];
            bytes.extend_from_slice("aab\u{c4}".as_bytes());
            assert!(!text.is_in(&bytes), "{before}: only ASCII is the same in capitals");
            bytes.extend_from_slice("AaB\u{e4}".as_bytes());
            assert!(text.is_in(&bytes), "{before}");
            bytes.extend(vec![b'a'; AT_ONCE]);
            assert!(text.is_in(&bytes), "{before}");
        }
    }

    #[test]
    fn a_text_may_be_longer_than_what_is_looked_through_at_once() {
        let long = "ab".repeat(AT_ONCE);
        assert!(TextSearch::new(&long).is_in(format!("b{long}").as_bytes()));
        assert!(!TextSearch::new(&long).is_in(&long.as_bytes()[1..]));
    }
}
