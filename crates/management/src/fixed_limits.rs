//! Limits of the HTTP API, and of what the broker tells of by itself, that no setting changes.

use std::fs;
use std::path::Path;

use leveret_broker::{Figure, FixedLimit};
use leveret_server::config::reference;

use crate::dispatch::AT_ONCE;
use crate::list::PAGE_SIZE_MAX;
use crate::node::TAILS_MAX;
use crate::{alerts, traces};

/// For the page of the settings.
const FIXED_LIMITS: &[FixedLimit] = &[
    FixedLimit {
        limit: "requests over HTTP worked on at a time",
        value: "{}",
        figures: &[Figure::Count(AT_ONCE)],
        why: "more wait, so that clients of AMQP don't",
    },
    FixedLimit {
        limit: "pages of a list",
        value: "{} items",
        figures: &[Figure::Count(PAGE_SIZE_MAX)],
        why: "RabbitMQ's; more gets 400",
    },
    FixedLimit {
        limit: "watchers of passing messages",
        value: "{} at a time",
        figures: &[Figure::Count(TAILS_MAX)],
        why: "each has copies made; more get 400",
    },
    FixedLimit {
        limit: "a try to tell of an alert, to send spans",
        value: "{}, {}",
        figures: &[Figure::Time(alerts::TRY_TIMEOUT), Figure::Time(traces::TRY_TIMEOUT)],
        why: "it is tried again",
    },
];

/// The page is made anew when it is out of date, and the test fails for it to be looked at.
#[test]
fn the_reference_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = reference(FIXED_LIMITS);
    if fs::read_to_string(&path).ok().as_ref() != Some(&page) {
        fs::write(&path, page).unwrap();
        panic!("docs/configuration.md was out of date and is made anew: commit it");
    }
}
