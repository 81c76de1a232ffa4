use std::fmt;

use super::{Array, Table, raw};
use crate::erlang::Term;
use crate::wire;

/// A value in a table or an array, one variant for each type on the wire.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value<'a> {
    /// `t`; any octet but 0 is true.
    Bool(bool),
    /// `b`
    I8(i8),
    /// `B`
    U8(u8),
    /// `s`, an integer here though the specification's text calls it a short string.
    I16(i16),
    /// `u`
    U16(u16),
    /// `I`
    I32(i32),
    /// `i`
    U32(u32),
    /// `l`
    I64(i64),
    /// `L`, the same type under RabbitMQ's other tag for it.
    I64Upper(i64),
    /// `f`
    F32(f32),
    /// `d`
    F64(f64),
    /// `D`: `value` / 10^`scale`.
    Decimal {
        /// Digits after the decimal point.
        scale: u8,
        /// The digits.
        value: u32,
    },
    /// `S`: text by custom, bytes by right.
    LongStr(&'a [u8]),
    /// `x`
    Binary(&'a [u8]),
    /// `A`
    Array(Array<'a>),
    /// `F`
    Table(Table<'a>),
    /// `T`: seconds since 1970.
    Timestamp(u64),
    /// `V`
    Void,
}

impl<'a> Value<'a> {
    /// A long string of text.
    #[must_use]
    pub fn text(text: &'a str) -> Self {
        Self::LongStr(text.as_bytes())
    }

    /// The name RabbitMQ's error texts give the type, such as `longstr` or `signedint`.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::I8(_) => "byte",
            Self::U8(_) => "unsignedbyte",
            Self::I16(_) => "short",
            Self::U16(_) => "unsignedshort",
            Self::I32(_) => "signedint",
            Self::U32(_) => "unsignedint",
            Self::I64(_) | Self::I64Upper(_) => "long",
            Self::F32(_) => "float",
            Self::F64(_) => "double",
            Self::Decimal { .. } => "decimal",
            Self::LongStr(_) => "longstr",
            Self::Binary(_) => "binary",
            Self::Array(_) => "array",
            Self::Table(_) => "table",
            Self::Timestamp(_) => "timestamp",
            Self::Void => "void",
        }
    }

    /// The value of an integer of any width; timestamps and decimals are none.
    #[must_use]
    pub fn as_integer(&self) -> Option<i128> {
        Some(match *self {
            Self::I8(value) => value.into(),
            Self::U8(value) => value.into(),
            Self::I16(value) => value.into(),
            Self::U16(value) => value.into(),
            Self::I32(value) => value.into(),
            Self::U32(value) => value.into(),
            Self::I64(value) | Self::I64Upper(value) => value.into(),
            _ => return None,
        })
    }

    /// A long string, if it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        str::from_utf8(self.as_bytes()?).ok()
    }

    /// A long string.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        match *self {
            Self::LongStr(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A boolean; no other type counts as one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// A nested table.
    #[must_use]
    pub fn as_table(&self) -> Option<Table<'a>> {
        match *self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    /// An array.
    #[must_use]
    pub fn as_array(&self) -> Option<Array<'a>> {
        match *self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }

    /// The value as Erlang prints it inside of a term: text as `<<"abc">>`.
    #[must_use]
    pub fn as_term(&self) -> impl fmt::Display {
        Term(*self)
    }

    /// Equality as RabbitMQ compares arguments and headers: integers by value whatever their width
    /// (floating-point numbers likewise), everything else by type and value, arrays and tables
    /// element by element in their order.
    #[must_use]
    pub fn loosely_equals(&self, other: &Value<'_>) -> bool {
        match (*self, *other) {
            (Self::Array(a), Value::Array(b)) => {
                a.as_bytes() == b.as_bytes()
                    || equal_sequences(a.iter(), b.iter(), |a, b| a.loosely_equals(&b))
            }
            (Self::Table(a), Value::Table(b)) => {
                a.as_bytes() == b.as_bytes()
                    || equal_sequences(a.iter(), b.iter(), |(ka, va), (kb, vb)| {
                        ka == kb && va.loosely_equals(&vb)
                    })
            }
            (a, b) => match (a.as_integer(), b.as_integer()) {
                (Some(a), Some(b)) => a == b,
                _ => match (a.as_float(), b.as_float()) {
                    (Some(a), Some(b)) => a == b,
                    _ => a == b,
                },
            },
        }
    }

    fn as_float(&self) -> Option<f64> {
        match *self {
            Self::F32(value) => Some(value.into()),
            Self::F64(value) => Some(value),
            _ => None,
        }
    }

    /// Reads a tag and a value from checked bytes; `None` at their end.
    #[inline]
    pub(super) fn read(input: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&tag, rest) = input.split_first()?;
        Some(match tag {
            b't' => fixed(rest, |[octet]| Self::Bool(octet != 0))?,
            b'b' => fixed(rest, |bytes| Self::I8(i8::from_be_bytes(bytes)))?,
            b'B' => fixed(rest, |bytes| Self::U8(u8::from_be_bytes(bytes)))?,
            b's' => fixed(rest, |bytes| Self::I16(i16::from_be_bytes(bytes)))?,
            b'u' => fixed(rest, |bytes| Self::U16(u16::from_be_bytes(bytes)))?,
            b'I' => fixed(rest, |bytes| Self::I32(i32::from_be_bytes(bytes)))?,
            b'i' => fixed(rest, |bytes| Self::U32(u32::from_be_bytes(bytes)))?,
            b'l' => fixed(rest, |bytes| Self::I64(i64::from_be_bytes(bytes)))?,
            b'L' => fixed(rest, |bytes| Self::I64Upper(i64::from_be_bytes(bytes)))?,
            b'f' => fixed(rest, |bytes| Self::F32(f32::from_be_bytes(bytes)))?,
            b'd' => fixed(rest, |bytes| Self::F64(f64::from_be_bytes(bytes)))?,
            b'D' => fixed(rest, |[scale, v0, v1, v2, v3]| Self::Decimal {
                scale,
                value: u32::from_be_bytes([v0, v1, v2, v3]),
            })?,
            b'T' => fixed(rest, |bytes| Self::Timestamp(u64::from_be_bytes(bytes)))?,
            b'S' => lengthy(rest, Self::LongStr)?,
            b'x' => lengthy(rest, Self::Binary)?,
            b'A' => lengthy(rest, |bytes| Self::Array(Array::from_checked(bytes)))?,
            b'F' => lengthy(rest, |bytes| Self::Table(Table::from_checked(bytes)))?,
            b'V' => (Self::Void, rest),
            _ => return None,
        })
    }

    /// Appends tag and value.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.tag());
        match *self {
            Self::Bool(value) => out.push(value.into()),
            Self::I8(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::U8(value) => out.push(value),
            Self::I16(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::U16(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::I32(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::U32(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::I64(value) | Self::I64Upper(value) => {
                out.extend_from_slice(&value.to_be_bytes());
            }
            Self::F32(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::F64(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::Decimal { scale, value } => {
                out.push(scale);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Self::Timestamp(seconds) => out.extend_from_slice(&seconds.to_be_bytes()),
            Self::LongStr(bytes) | Self::Binary(bytes) => wire::put_long_bytes(out, bytes),
            Self::Array(array) => wire::put_long_bytes(out, array.as_bytes()),
            Self::Table(table) => wire::put_long_bytes(out, table.as_bytes()),
            Self::Void => {}
        }
    }

    fn tag(&self) -> u8 {
        match self {
            Self::Bool(_) => b't',
            Self::I8(_) => b'b',
            Self::U8(_) => b'B',
            Self::I16(_) => b's',
            Self::U16(_) => b'u',
            Self::I32(_) => b'I',
            Self::U32(_) => b'i',
            Self::I64(_) => b'l',
            Self::I64Upper(_) => b'L',
            Self::F32(_) => b'f',
            Self::F64(_) => b'd',
            Self::Decimal { .. } => b'D',
            Self::LongStr(_) => b'S',
            Self::Binary(_) => b'x',
            Self::Array(_) => b'A',
            Self::Table(_) => b'F',
            Self::Timestamp(_) => b'T',
            Self::Void => b'V',
        }
    }
}

/// As RabbitMQ shows a value in its texts: `classic`, `1000`, `true`; arrays and tables as Erlang
/// terms.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::LongStr(bytes) | Self::Binary(bytes) => String::from_utf8_lossy(bytes).fmt(f),
            value => Term(value).fmt(f),
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::text(text)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for Value<'_> {
    fn from(value: i32) -> Self {
        Self::I32(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::I64(value)
    }
}

impl<'a> From<Table<'a>> for Value<'a> {
    fn from(table: Table<'a>) -> Self {
        Self::Table(table)
    }
}

impl<'a> From<Array<'a>> for Value<'a> {
    fn from(array: Array<'a>) -> Self {
        Self::Array(array)
    }
}

#[inline]
fn fixed<'a, const N: usize>(
    input: &'a [u8],
    value: impl FnOnce([u8; N]) -> Value<'a>,
) -> Option<(Value<'a>, &'a [u8])> {
    let (bytes, rest) = input.split_first_chunk()?;
    Some((value(*bytes), rest))
}

#[inline]
fn lengthy<'a>(
    input: &'a [u8],
    value: impl FnOnce(&'a [u8]) -> Value<'a>,
) -> Option<(Value<'a>, &'a [u8])> {
    let (bytes, rest) = raw::long_bytes(input)?;
    Some((value(bytes), rest))
}

fn equal_sequences<A, B>(
    mut a: impl Iterator<Item = A>,
    mut b: impl Iterator<Item = B>,
    equal: impl Fn(A, B) -> bool,
) -> bool {
    loop {
        match (a.next(), b.next()) {
            (Some(a), Some(b)) => {
                if !equal(a, b) {
                    return false;
                }
            }
            (a, b) => return a.is_none() && b.is_none(),
        }
    }
}
