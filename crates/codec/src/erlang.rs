//! Values printed as Erlang prints them: RabbitMQ's reply texts show raw bytes and argument values
//! in that notation, and clients' tests compare whole texts.

use std::fmt;

use crate::table::{Array, Table, Value};

/// Bytes as an Erlang binary: `<<"abc">>` when all of them print, `<<0,20>>` otherwise.
///
/// Shows at most [`Binary::SHOWN`] bytes: no reply text holds more.
pub(crate) struct Binary<'a>(pub(crate) &'a [u8]);

impl Binary<'_> {
    const SHOWN: usize = 256;
}

impl fmt::Display for Binary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..Self::SHOWN).unwrap_or(self.0);
        f.write_str("<<")?;
        if !shown.is_empty() && shown.iter().all(|&byte| is_printable(byte)) {
            f.write_str("\"")?;
            shown.iter().try_for_each(|&byte| write_escaped(f, byte))?;
            f.write_str("\"")?;
        } else {
            for (position, byte) in shown.iter().enumerate() {
                let comma = if position == 0 { "" } else { "," };
                write!(f, "{comma}{byte}")?;
            }
        }
        f.write_str(">>")
    }
}

/// A table value as an Erlang term, as it shows inside arrays and tables.
pub(crate) struct Term<'a>(pub(crate) Value<'a>);

impl fmt::Display for Term<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::LongStr(bytes) | Value::Binary(bytes) => Binary(bytes).fmt(f),
            Value::Bool(value) => value.fmt(f),
            Value::F32(value) => write!(f, "{:?}", f64::from(value)),
            Value::F64(value) => write!(f, "{value:?}"),
            Value::Decimal { scale, value } => write!(f, "{{{scale},{value}}}"),
            Value::Timestamp(seconds) => seconds.fmt(f),
            Value::Array(array) => write_array(f, array),
            Value::Table(table) => write_table(f, table),
            Value::Void => f.write_str("undefined"),
            Value::I8(_)
            | Value::U8(_)
            | Value::I16(_)
            | Value::U16(_)
            | Value::I32(_)
            | Value::U32(_)
            | Value::I64(_)
            | Value::I64Upper(_) => self.0.as_integer().unwrap_or_default().fmt(f),
        }
    }
}

fn write_array(f: &mut fmt::Formatter<'_>, array: Array<'_>) -> fmt::Result {
    f.write_str("[")?;
    for (position, value) in array.iter().enumerate() {
        let comma = if position == 0 { "" } else { "," };
        write!(f, "{comma}{{{},{}}}", value.type_name(), Term(value))?;
    }
    f.write_str("]")
}

fn write_table(f: &mut fmt::Formatter<'_>, table: Table<'_>) -> fmt::Result {
    f.write_str("[")?;
    for (position, (key, value)) in table.iter().enumerate() {
        let comma = if position == 0 { "" } else { "," };
        write!(f, "{comma}{{{},{},{}}}", Binary(key), value.type_name(), Term(value))?;
    }
    f.write_str("]")
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | 8..=13 | 27)
}

fn write_escaped(f: &mut fmt::Formatter<'_>, byte: u8) -> fmt::Result {
    let escape = match byte {
        8 => "\\b",
        9 => "\\t",
        10 => "\\n",
        11 => "\\v",
        12 => "\\f",
        13 => "\\r",
        27 => "\\e",
        b'"' => "\\\"",
        b'\\' => "\\\\",
        _ => return write!(f, "{}", char::from(byte)),
    };
    f.write_str(escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_print_as_in_erlang() {
        let shown = |bytes: &[u8]| Binary(bytes).to_string();
        assert_eq!(shown(b""), "<<>>");
        assert_eq!(shown(b"abc"), "<<\"abc\">>");
        assert_eq!(shown(b"a\"\\\n"), "<<\"a\\\"\\\\\\n\">>");
        assert_eq!(shown(&[0, 20, 0, 10, 0]), "<<0,20,0,10,0>>");
        assert_eq!(shown(&[b'a', 255]), "<<97,255>>");
    }

    #[test]
    fn a_long_binary_is_not_printed_whole() {
        assert!(Binary(&[0; 100_000]).to_string().len() < 1024);
    }
}
