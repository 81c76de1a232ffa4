//! What this machine can't do.

/// Notes that a test is skipped, and why. That is a failure where the variable `required` is set.
pub(crate) fn skip(why: &str, required: &str) {
    let is_required = std::env::var_os(required).is_some();
    assert!(!is_required, "{why}, and {required} is set");
    println!("skipped: {why}");
}
