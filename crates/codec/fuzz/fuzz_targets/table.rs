//! The bytes of a table: what is accepted can be walked, printed, changed and sorted.
#![no_main]

use leveret_codec::{ArrayBuilder, Table, TableBuilder, TableLimits, Value};
use libfuzzer_sys::fuzz_target;

const LIMITS: TableLimits = TableLimits { max_depth: 16, max_fields: 4096 };

/// Bytes of the fields of a table, as reading them found them.
fn walk(table: Table<'_>, depth: usize, fields: &mut usize) -> usize {
    table.iter().map(|(key, value)| 1 + key.len() + walk_value(value, depth, fields)).sum()
}

fn walk_value(value: Value<'_>, depth: usize, fields: &mut usize) -> usize {
    assert!(depth <= LIMITS.max_depth);
    *fields += 1;
    assert!(*fields <= LIMITS.max_fields);
    assert!(!value.type_name().is_empty());
    let rebuilt = ArrayBuilder::new().push(value).build();
    let len = match value {
        Value::Table(table) => 5 + walk(table, depth + 1, fields),
        Value::Array(array) => {
            5 + array.iter().map(|value| walk_value(value, depth + 1, fields)).sum::<usize>()
        }
        _ => rebuilt.as_array().as_bytes().len(),
    };
    assert_eq!(len, rebuilt.as_array().as_bytes().len());
    len
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(table) = Table::parse(bytes, &LIMITS) else { return };
    let mut fields = 0;
    assert_eq!(walk(table, 1, &mut fields), bytes.len(), "every byte belongs to a field");
    let _ = table.to_string();

    let limits = TableLimits { max_fields: usize::MAX, ..LIMITS };
    let sorted = TableBuilder::from_table(table).build_sorted();
    assert_eq!(sorted.as_bytes().len(), bytes.len());
    assert!(Table::parse(sorted.as_bytes(), &limits).is_ok());
    assert!(sorted.as_table().iter().is_sorted_by_key(|(key, _)| key));

    let set = TableBuilder::from_table(table).set("x-death", Value::Void).build();
    assert!(Table::parse(set.as_bytes(), &limits).is_ok());
    assert_eq!(set.as_table().get("x-death"), Some(Value::Void));
    let removed = TableBuilder::from_table(set.as_table()).remove("x-death").build();
    assert_eq!(removed.as_table().get("x-death"), None);
    if table.get("x-death").is_none() {
        assert_eq!(&removed.as_bytes()[..], bytes);
    }
});
