//! Tables as a test sees them: trees that own everything, with a decoder and an encoder written
//! the obvious, recursive way.

use leveret_codec::{ArrayBuf, ArrayBuilder, Table, TableBuf, TableBuilder, Value};
use proptest::prelude::*;

/// A table in the order of the wire.
pub(crate) type Entries = Vec<(Vec<u8>, Field)>;

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Field {
    Bool(bool),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    I64Upper(i64),
    F32(f32),
    F64(f64),
    Decimal(u8, u32),
    LongStr(Vec<u8>),
    Binary(Vec<u8>),
    Array(Vec<Self>),
    Table(Entries),
    Timestamp(u64),
    Void,
}

/// Any field but `L`, which every other encoder writes as `l`.
pub(crate) fn common_field() -> impl Strategy<Value = Field> {
    field(leaf().boxed(), "[a-z.-]{0,12}".prop_map(String::into_bytes).boxed())
}

/// Any field of any type, with keys of any bytes.
pub(crate) fn any_field() -> impl Strategy<Value = Field> {
    let leaf = prop_oneof![20 => leaf(), 1 => any::<i64>().prop_map(Field::I64Upper)].boxed();
    field(leaf, prop::collection::vec(any::<u8>(), 0..12).boxed())
}

/// A table of any entries, keys repeating now and then.
pub(crate) fn any_table() -> impl Strategy<Value = Entries> {
    let key = prop_oneof![Just(b"same".to_vec()), prop::collection::vec(any::<u8>(), 0..20)];
    prop::collection::vec((key, any_field()), 0..8)
}

/// A table as an encoder writes it that sorts keys and knows neither duplicates nor other bytes
/// than text in them.
pub(crate) fn common_table() -> impl Strategy<Value = Entries> {
    prop::collection::vec(("[a-z.-]{0,12}".prop_map(String::into_bytes), common_field()), 0..6)
        .prop_map(sorted)
}

fn leaf() -> impl Strategy<Value = Field> {
    use prop::num::{f32, f64};
    let f32 = f32::NORMAL | f32::ZERO | f32::NEGATIVE | f32::INFINITE;
    let f64 = f64::NORMAL | f64::ZERO | f64::NEGATIVE | f64::INFINITE;
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        any::<bool>().prop_map(Field::Bool),
        any::<i8>().prop_map(Field::I8),
        any::<u8>().prop_map(Field::U8),
        any::<i16>().prop_map(Field::I16),
        any::<u16>().prop_map(Field::U16),
        any::<i32>().prop_map(Field::I32),
        any::<u32>().prop_map(Field::U32),
        any::<i64>().prop_map(Field::I64),
        f32.prop_map(Field::F32),
        f64.prop_map(Field::F64),
        any::<(u8, u32)>().prop_map(|(scale, value)| Field::Decimal(scale, value)),
        bytes().prop_map(Field::LongStr),
        bytes().prop_map(Field::Binary),
        any::<u64>().prop_map(Field::Timestamp),
        Just(Field::Void),
    ]
}

fn field(leaf: BoxedStrategy<Field>, key: BoxedStrategy<Vec<u8>>) -> impl Strategy<Value = Field> {
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Field::Array),
            prop::collection::vec((key.clone(), inner), 0..4).prop_map(Field::Table),
        ]
    })
}

fn sorted(entries: Entries) -> Entries {
    let mut entries: Entries = entries.into_iter().map(|(key, f)| (key, f.sorted())).collect();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    entries.dedup_by(|(a, _), (b, _)| a == b);
    entries
}

impl Field {
    fn sorted(self) -> Self {
        match self {
            Self::Array(fields) => Self::Array(fields.into_iter().map(Self::sorted).collect()),
            Self::Table(entries) => Self::Table(sorted(entries)),
            leaf => leaf,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let (tag, bytes) = match self {
            Self::Bool(v) => (b't', vec![u8::from(*v)]),
            Self::I8(v) => (b'b', v.to_be_bytes().to_vec()),
            Self::U8(v) => (b'B', v.to_be_bytes().to_vec()),
            Self::I16(v) => (b's', v.to_be_bytes().to_vec()),
            Self::U16(v) => (b'u', v.to_be_bytes().to_vec()),
            Self::I32(v) => (b'I', v.to_be_bytes().to_vec()),
            Self::U32(v) => (b'i', v.to_be_bytes().to_vec()),
            Self::I64(v) => (b'l', v.to_be_bytes().to_vec()),
            Self::I64Upper(v) => (b'L', v.to_be_bytes().to_vec()),
            Self::F32(v) => (b'f', v.to_be_bytes().to_vec()),
            Self::F64(v) => (b'd', v.to_be_bytes().to_vec()),
            Self::Decimal(scale, v) => (b'D', [&[*scale][..], &v.to_be_bytes()].concat()),
            Self::LongStr(v) => (b'S', with_len(v.clone())),
            Self::Binary(v) => (b'x', with_len(v.clone())),
            Self::Array(fields) => {
                let mut bytes = Vec::new();
                fields.iter().for_each(|field| field.encode(&mut bytes));
                (b'A', with_len(bytes))
            }
            Self::Table(entries) => (b'F', with_len(encode(entries))),
            Self::Timestamp(v) => (b'T', v.to_be_bytes().to_vec()),
            Self::Void => (b'V', Vec::new()),
        };
        out.push(tag);
        out.extend(bytes);
    }
}

fn with_len(bytes: Vec<u8>) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], &bytes].concat()
}

/// The bytes of a table without its length.
pub(crate) fn encode(entries: &Entries) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, field) in entries {
        out.push(u8::try_from(key.len()).unwrap());
        out.extend_from_slice(key);
        field.encode(&mut out);
    }
    out
}

/// Reads a table the recursive way; `None` if it is malformed.
pub(crate) fn decode(mut input: &[u8]) -> Option<Entries> {
    let mut entries = Vec::new();
    while !input.is_empty() {
        let len = take::<1>(&mut input)?;
        let key = take_slice(&mut input, usize::from(len[0]))?.to_vec();
        entries.push((key, decode_field(&mut input)?));
    }
    Some(entries)
}

fn decode_field(input: &mut &[u8]) -> Option<Field> {
    Some(match take::<1>(input)?[0] {
        b't' => Field::Bool(take::<1>(input)? != [0]),
        b'b' => Field::I8(i8::from_be_bytes(take(input)?)),
        b'B' => Field::U8(u8::from_be_bytes(take(input)?)),
        b's' => Field::I16(i16::from_be_bytes(take(input)?)),
        b'u' => Field::U16(u16::from_be_bytes(take(input)?)),
        b'I' => Field::I32(i32::from_be_bytes(take(input)?)),
        b'i' => Field::U32(u32::from_be_bytes(take(input)?)),
        b'l' => Field::I64(i64::from_be_bytes(take(input)?)),
        b'L' => Field::I64Upper(i64::from_be_bytes(take(input)?)),
        b'f' => Field::F32(f32::from_be_bytes(take(input)?)),
        b'd' => Field::F64(f64::from_be_bytes(take(input)?)),
        b'D' => Field::Decimal(take::<1>(input)?[0], u32::from_be_bytes(take(input)?)),
        b'T' => Field::Timestamp(u64::from_be_bytes(take(input)?)),
        b'V' => Field::Void,
        tag => {
            let len = u32::from_be_bytes(take(input)?);
            let mut inside = take_slice(input, usize::try_from(len).unwrap())?;
            match tag {
                b'S' => Field::LongStr(inside.to_vec()),
                b'x' => Field::Binary(inside.to_vec()),
                b'F' => Field::Table(decode(inside)?),
                b'A' => {
                    let mut fields = Vec::new();
                    while !inside.is_empty() {
                        fields.push(decode_field(&mut inside)?);
                    }
                    Field::Array(fields)
                }
                _ => return None,
            }
        }
    })
}

fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    take_slice(input, N).map(|slice| slice.try_into().unwrap())
}

fn take_slice<'a>(input: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(len)?;
    *input = rest;
    Some(taken)
}

/// What the codec reads from a table.
pub(crate) fn read(table: Table<'_>) -> Entries {
    table.iter().map(|(key, value)| (key.to_vec(), Field::from(value))).collect()
}

impl From<Value<'_>> for Field {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Bool(v) => Self::Bool(v),
            Value::I8(v) => Self::I8(v),
            Value::U8(v) => Self::U8(v),
            Value::I16(v) => Self::I16(v),
            Value::U16(v) => Self::U16(v),
            Value::I32(v) => Self::I32(v),
            Value::U32(v) => Self::U32(v),
            Value::I64(v) => Self::I64(v),
            Value::I64Upper(v) => Self::I64Upper(v),
            Value::F32(v) => Self::F32(v),
            Value::F64(v) => Self::F64(v),
            Value::Decimal { scale, value } => Self::Decimal(scale, value),
            Value::LongStr(v) => Self::LongStr(v.to_vec()),
            Value::Binary(v) => Self::Binary(v.to_vec()),
            Value::Array(array) => Self::Array(array.iter().map(Self::from).collect()),
            Value::Table(table) => Self::Table(read(table)),
            Value::Timestamp(v) => Self::Timestamp(v),
            Value::Void => Self::Void,
        }
    }
}

/// What the codec builds from a table whose keys are text.
pub(crate) fn build(entries: &Entries) -> TableBuf {
    entries
        .iter()
        .fold(TableBuilder::new(), |builder, (key, field)| {
            let key = str::from_utf8(key).unwrap();
            with_value(field, |value| builder.put(key, value))
        })
        .build()
}

fn build_array(fields: &[Field]) -> ArrayBuf {
    fields
        .iter()
        .fold(ArrayBuilder::new(), |builder, field| with_value(field, |value| builder.push(value)))
        .build()
}

fn with_value<R>(field: &Field, put: impl FnOnce(Value<'_>) -> R) -> R {
    match field {
        Field::Bool(v) => put(Value::Bool(*v)),
        Field::I8(v) => put(Value::I8(*v)),
        Field::U8(v) => put(Value::U8(*v)),
        Field::I16(v) => put(Value::I16(*v)),
        Field::U16(v) => put(Value::U16(*v)),
        Field::I32(v) => put(Value::I32(*v)),
        Field::U32(v) => put(Value::U32(*v)),
        Field::I64(v) => put(Value::I64(*v)),
        Field::I64Upper(v) => put(Value::I64Upper(*v)),
        Field::F32(v) => put(Value::F32(*v)),
        Field::F64(v) => put(Value::F64(*v)),
        Field::Decimal(scale, v) => put(Value::Decimal { scale: *scale, value: *v }),
        Field::LongStr(v) => put(Value::LongStr(v)),
        Field::Binary(v) => put(Value::Binary(v)),
        Field::Array(fields) => put(build_array(fields).as_array().into()),
        Field::Table(entries) => put(build(entries).as_table().into()),
        Field::Timestamp(v) => put(Value::Timestamp(*v)),
        Field::Void => put(Value::Void),
    }
}
