//! How many random histories a test goes through, and how they are made again.

use std::hash::{BuildHasher, Hasher, RandomState};

use proptest::test_runner::{Config, RngSeed};

/// So many cases, which follow from a seed. It is printed where one fails, and `LEVERET_SEED` has
/// the same cases made again.
pub(crate) fn histories(cases: u32) -> Config {
    let given = std::env::var("LEVERET_SEED").ok();
    let random = || RandomState::new().build_hasher().finish();
    let seed = given.map_or_else(random, |seed| seed.parse().expect("a seed is a number"));
    println!("LEVERET_SEED={seed}");
    Config { cases, rng_seed: RngSeed::Fixed(seed), ..Config::default() }
}
