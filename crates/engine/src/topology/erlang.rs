//! Binaries as Erlang prints them, for texts that quote what a client sent.

use std::fmt;

/// `<<"text">>`, or `<<1,2,255>>` when it is no text.
pub(super) struct ErlangBinary<'a>(pub(super) &'a [u8]);

impl fmt::Display for ErlangBinary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_text = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
        match str::from_utf8(self.0) {
            Ok(text) if !text.is_empty() && is_text(self.0) => {
                let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
                write!(f, "<<\"{escaped}\">>")
            }
            _ => {
                let bytes: Vec<_> = self.0.iter().map(u8::to_string).collect();
                write!(f, "<<{}>>", bytes.join(","))
            }
        }
    }
}
