//! Every target with what is in its corpus, and with that changed, the same way each time.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use leveret_fuzz::TARGETS;
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

/// Inputs made of each that a corpus has.
const CHANGED: usize = 24;

#[test]
fn what_is_known_and_what_is_like_it_breaks_nothing() {
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut seeds: Vec<_> = fs::read_dir(&folder).expect("a corpus").flatten().collect();
        seeds.sort_unstable_by_key(fs::DirEntry::path);
        let seeds: Vec<Vec<u8>> =
            seeds.iter().map(|seed| fs::read(seed.path()).expect("a seed")).collect();
        assert!(seeds.len() > 1, "{name} has seeds");
        let mut random = SmallRng::seed_from_u64(1);
        for seed in &seeds {
            check(name, target, seed);
            for _ in 0..CHANGED {
                check(name, target, &changed(seed, &seeds, &mut random));
            }
        }
    }
}

fn check(name: &str, target: fn(&[u8]), input: &[u8]) {
    if catch_unwind(|| target(input)).is_err() {
        panic!("{name} fails with {input:02x?}");
    }
}

/// A few changes such as a fuzzer makes.
fn changed(seed: &[u8], seeds: &[Vec<u8>], random: &mut impl Rng) -> Vec<u8> {
    let mut input = seed.to_vec();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=input.len());
        let end = random.random_range(at..=input.len());
        match random.random_range(0..6) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end.min(at + 16))),
            2 => {
                let piece = input.get(at..end.min(at + 64)).unwrap_or_default().to_vec();
                input.splice(at..at, piece);
            }
            3 => {
                let other = seeds.get(random.random_range(0..seeds.len())).expect("a seed");
                let from = random.random_range(0..=other.len());
                input.splice(at.., other.iter().skip(from).copied());
            }
            4 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << random.random_range(0..8);
                }
            }
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = *[0, 1, 0x7f, 0x80, 0xff, b'"', b'{', b'\n']
                        .get(random.random_range(0..8))
                        .expect("one");
                }
            }
        }
    }
    input
}
