use super::*;
use crate::ReplyCode;

fn parse(bytes: &[u8]) -> Result<Table<'_>, TableError> {
    Table::parse(bytes, &TableLimits::default())
}

/// `{"k": {"k": ... {}}}`, `depth` tables in all.
fn nested_tables(depth: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 1..depth {
        let mut outer = b"\x01kF".to_vec();
        outer.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
        outer.append(&mut bytes);
        bytes = outer;
    }
    bytes
}

/// A value of each type, in the order of section 2 of the compatibility reference.
const EVERY_TYPE: [(&str, Value<'_>); 18] = [
    ("bool", Value::Bool(true)),
    ("byte", Value::I8(-8)),
    ("unsignedbyte", Value::U8(200)),
    ("short", Value::I16(-300)),
    ("unsignedshort", Value::U16(60_000)),
    ("signedint", Value::I32(-70_000)),
    ("unsignedint", Value::U32(4_000_000_000)),
    ("long", Value::I64(i64::MIN)),
    ("long", Value::I64Upper(i64::MAX)),
    ("float", Value::F32(1.5)),
    ("double", Value::F64(-0.25)),
    ("decimal", Value::Decimal { scale: 2, value: 314 }),
    ("longstr", Value::LongStr(b"text\xff")),
    ("binary", Value::Binary(&[0, 1])),
    ("array", Value::Array(Array::EMPTY)),
    ("table", Value::Table(Table::EMPTY)),
    ("timestamp", Value::Timestamp(1_700_000_000)),
    ("void", Value::Void),
];

#[test]
fn every_type_survives_and_is_named() {
    let built = EVERY_TYPE.iter().fold(TableBuilder::new(), |b, (k, v)| b.put(k, *v)).build();
    let table = parse(built.as_bytes()).unwrap();
    let read: Vec<_> = table.iter().collect();
    let put: Vec<_> = EVERY_TYPE.iter().map(|(key, value)| (key.as_bytes(), *value)).collect();
    assert_eq!(read, put);
    for (name, value) in EVERY_TYPE {
        assert_eq!(value.type_name(), name);
    }
}

#[test]
fn wire_bytes_of_each_type() {
    let table = TableBuilder::new().put("a", Value::I16(-2)).put("b", "hi").put("c", true).build();
    assert_eq!(&table.as_bytes()[..], b"\x01as\xff\xfe\x01bS\0\0\0\x02hi\x01ct\x01");
    assert_eq!(parse(b"\x01ct\x07").unwrap().get("c"), Some(Value::Bool(true)));
}

#[test]
fn keys_may_repeat_and_be_any_bytes() {
    let table = parse(b"\x01at\x01\x01\xffV\x01at\x00").unwrap();
    assert_eq!(table.get("a"), Some(Value::Bool(true)));
    assert_eq!(table.get("b"), None);
    let keys: Vec<_> = table.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [&b"a"[..], b"\xff", b"a"]);
    assert_eq!(parse(b"\0V").unwrap().get(""), Some(Value::Void));
}

#[test]
fn entries_are_where_their_offsets_say() {
    let nested = TableBuilder::new().put("in", 1).build();
    let table = TableBuilder::new().put("a", "text").put("", Value::Void);
    let table = table.put("t", nested.as_table()).put("a", 7).build();
    let table = table.as_table();
    let offsets: Vec<u32> = table.offsets().collect();
    assert_eq!((offsets.len(), offsets[0]), (4, 0));
    assert!(offsets.iter().map(|&offset| table.entry(offset).unwrap()).eq(table.iter()));
    assert!(offsets.iter().map(|&offset| table.key(offset).unwrap()).eq(table.iter().map(|e| e.0)));
    let end = u32::try_from(table.as_bytes().len()).unwrap();
    assert!(table.entry(end).is_none() && table.key(end + 1).is_none());
    assert_eq!(Table::EMPTY.offsets().count(), 0);
}

#[test]
fn a_field_may_not_leave_its_container() {
    for cut_short in [
        &b"\x05a"[..],
        b"\x01a",
        b"\x01at",
        b"\x01aI\0\0\0",
        b"\x01aS\0\0\0",
        b"\x01aS\0\0\0\x02x",
        b"\x01aS\xff\xff\xff\xffx",
        b"\x01aF\0\0\0\x01",
        b"\x01aF\0\0\0\x02\x01b\x01ct\x01",
        b"\x01aA\0\0\0\x02I\0\0\0\0\0",
    ] {
        assert_eq!(parse(cut_short), Err(TableError::Truncated), "{cut_short:?}");
    }
}

#[test]
fn unknown_types_are_refused() {
    for tag in (0..=255_u8).filter(|tag| !b"tbBsuIilLfdDSxAFTV".contains(tag)) {
        let bytes = [1, b'a', tag, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(parse(&bytes), Err(TableError::UnknownType(tag)));
    }
    assert_eq!(parse(b"\x01aA\0\0\0\x01Z"), Err(TableError::UnknownType(b'Z')));
    let error = AmqpError::from(TableError::UnknownType(b'Z'));
    assert_eq!(error.code(), ReplyCode::SYNTAX_ERROR);
}

#[test]
fn nesting_is_limited() {
    assert!(parse(&nested_tables(16)).is_ok());
    assert_eq!(parse(&nested_tables(17)), Err(TableError::TooDeep(16)));
    assert_eq!(parse(&nested_tables(10_000)), Err(TableError::TooDeep(16)));

    let limits = |max_depth| TableLimits { max_depth, ..TableLimits::default() };
    assert_eq!(Table::parse(&nested_tables(1), &limits(0)), Ok(Table::EMPTY));
    assert_eq!(Table::parse(b"\x01aV", &limits(0)), Err(TableError::TooDeep(0)));
    assert!(Table::parse(b"\x01aV", &limits(1)).is_ok());
    assert_eq!(Table::parse(&nested_tables(2), &limits(1)), Err(TableError::TooDeep(1)));
    let deepest = nested_tables(TableLimits::DEEPEST);
    assert!(Table::parse(&deepest, &limits(usize::MAX)).is_ok());
    let deeper = nested_tables(TableLimits::DEEPEST + 1);
    assert_eq!(Table::parse(&deeper, &limits(usize::MAX)), Err(TableError::TooDeep(32)));
}

#[test]
fn fields_are_limited_over_all_levels() {
    let flat = b"\x01aV".repeat(4096);
    assert!(parse(&flat).is_ok());
    assert_eq!(parse(&b"\x01aV".repeat(4097)), Err(TableError::TooManyFields(4096)));
    assert_eq!(parse(&b"\x01aV".repeat(100_000)), Err(TableError::TooManyFields(4096)));

    let array = ArrayBuilder::new().push(true).push(false).build();
    let table = TableBuilder::new().put("a", array.as_array()).put("b", true).build();
    let limits = |max_fields| TableLimits { max_fields, ..TableLimits::default() };
    assert!(Table::parse(table.as_bytes(), &limits(4)).is_ok());
    let refused = Table::parse(table.as_bytes(), &limits(3));
    assert_eq!(refused, Err(TableError::TooManyFields(3)));
}

#[test]
fn after_a_nested_table_its_container_goes_on() {
    let bytes = b"\x01aF\0\0\0\x06\x01bA\0\0\0\0\x01ct\x01\x01dF\0\0\0\0\x01et\x00";
    assert_eq!(parse(bytes), Err(TableError::Truncated), "b's length lies outside of a");
    let inner = TableBuilder::new().put("b", Array::EMPTY).build();
    let table = TableBuilder::new()
        .put("a", inner.as_table())
        .put("c", true)
        .put("d", Table::EMPTY)
        .put("e", false)
        .build();
    let table = parse(table.as_bytes()).unwrap();
    assert_eq!(table.get("e"), Some(Value::Bool(false)));
    assert_eq!(table.get("a").unwrap().as_table(), Some(inner.as_table()));
}

#[test]
fn values_are_told_apart_by_type() {
    assert_eq!(Value::U32(7).as_integer(), Some(7));
    assert_eq!(Value::I8(-7).as_integer(), Some(-7));
    assert_eq!(Value::Timestamp(7).as_integer(), None);
    assert_eq!(Value::text("7").as_integer(), None);
    assert_eq!(Value::text("x").as_str(), Some("x"));
    assert_eq!(Value::LongStr(b"\xff").as_str(), None);
    assert_eq!(Value::LongStr(b"\xff").as_bytes(), Some(&b"\xff"[..]));
    assert_eq!(Value::Binary(b"x").as_bytes(), None);
    assert_eq!(Value::Bool(true).as_bool(), Some(true));
    assert_eq!(Value::U8(1).as_bool(), None);
    assert_eq!(Value::Array(Array::EMPTY).as_array(), Some(Array::EMPTY));
    assert_eq!(Value::Void.as_table(), None);
}

#[test]
fn loose_equality_ignores_the_width_of_numbers() {
    let equal = |a: Value<'_>, b: Value<'_>| {
        assert_eq!(a.loosely_equals(&b), b.loosely_equals(&a));
        a.loosely_equals(&b)
    };
    assert!(equal(Value::I32(5), Value::I64Upper(5)));
    assert!(equal(Value::U8(5), Value::I8(5)));
    assert!(!equal(Value::I32(5), Value::I32(6)));
    assert!(!equal(Value::I32(1), Value::text("1")));
    assert!(!equal(Value::I32(1), Value::Bool(true)));
    assert!(!equal(Value::I32(1), Value::F64(1.0)));
    assert!(equal(Value::F32(1.5), Value::F64(1.5)));
    assert!(!equal(Value::text("a"), Value::Binary(b"a")));
    assert!(!equal(Value::I64(1), Value::Timestamp(1)));
    assert!(equal(Value::Void, Value::Void));

    let array = |value: Value<'static>| ArrayBuilder::new().push(value).build();
    let (narrow, wide, other) = (array(Value::U8(1)), array(Value::I64(1)), array(Value::U8(2)));
    assert!(equal(narrow.as_array().into(), wide.as_array().into()));
    assert!(!equal(narrow.as_array().into(), other.as_array().into()));
    assert!(!equal(narrow.as_array().into(), Array::EMPTY.into()));

    let table = |array: &ArrayBuf| TableBuilder::new().put("a", array.as_array()).build();
    assert!(equal(table(&narrow).as_table().into(), table(&wide).as_table().into()));
    assert!(!equal(table(&narrow).as_table().into(), table(&other).as_table().into()));
}

#[test]
fn values_print_as_in_rabbitmq_texts() {
    let array = ArrayBuilder::new().push("a").push(Value::U8(1)).push(Value::Void).build();
    let table = TableBuilder::new().put("k", array.as_array()).put("d", Value::F64(1.0)).build();
    for (shown, value) in [
        ("1000", Value::I32(1000)),
        ("classic", Value::text("classic")),
        ("true", Value::Bool(true)),
        ("1.5", Value::F32(1.5)),
        ("{2,314}", Value::Decimal { scale: 2, value: 314 }),
        ("1700000000", Value::Timestamp(1_700_000_000)),
        ("undefined", Value::Void),
        ("[{longstr,<<\"a\">>},{unsignedbyte,1},{void,undefined}]", array.as_array().into()),
        (
            "[{<<\"k\">>,array,[{longstr,<<\"a\">>},{unsignedbyte,1},{void,undefined}]},\
             {<<\"d\">>,double,1.0}]",
            table.as_table().into(),
        ),
    ] {
        assert_eq!(value.to_string(), shown);
    }
    assert_eq!(format!("{:?}", table.as_table().get("d")), "Some(F64(1.0))");
    assert_eq!(format!("{table:?}"), table.as_table().to_string());
}

#[test]
fn a_builder_changes_one_entry_and_keeps_the_bytes_of_the_others() {
    let raw = b"\x01bL\0\0\0\0\0\0\0\x01\x01at\x07\x01bt\x00";
    let table = parse(raw).unwrap();
    let set = TableBuilder::from_table(table).set("b", "new").build();
    assert_eq!(&set.as_bytes()[..], b"\x01bS\0\0\0\x03new\x01at\x07");
    let added = TableBuilder::from_table(table).set("c", Value::Void).build();
    assert_eq!(&added.as_bytes()[..], [&raw[..], b"\x01cV"].concat());
    let removed = TableBuilder::from_table(table).remove("b").build();
    assert_eq!(&removed.as_bytes()[..], b"\x01at\x07");
    let sorted = TableBuilder::from_table(table).build_sorted();
    assert_eq!(&sorted.as_bytes()[..], b"\x01at\x07\x01bL\0\0\0\0\0\0\0\x01\x01bt\x00");
}

#[test]
fn a_builder_cuts_keys() {
    let table = TableBuilder::new().put(&"\u{fc}".repeat(128), Value::Void).build();
    let (key, value) = table.as_table().iter().next().unwrap();
    assert_eq!((key.len(), value), (254, Value::Void));
}

#[test]
fn owned_tables_are_equal_bytewise() {
    let table = TableBuilder::new().put("a", 1).build();
    assert_eq!(TableBuf::from(table.as_table()), table);
    assert_ne!(TableBuilder::new().put("a", 1_i64).build(), table);
    assert_eq!(TableBuf::default(), TableBuf::from(Table::EMPTY));
    assert_eq!(TableBuf::parse(table.as_bytes().clone(), &TableLimits::default()), Ok(table));
}
