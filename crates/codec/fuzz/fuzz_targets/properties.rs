//! Flags and values of a content header: what is accepted survives encoding and decoding.
#![no_main]

use leveret_codec::{Properties, TableLimits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    let limits = TableLimits::default();
    let Ok(properties) = Properties::parse(raw, &limits) else { return };
    let mut out = Vec::new();
    properties.encode(&mut out);
    assert!(out.len() <= raw.len());
    assert_eq!(Properties::parse(&out, &limits), Ok(properties));
    if raw[1] & 3 == 0 {
        assert_eq!(out, raw);
    }
});
