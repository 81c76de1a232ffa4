//! What is read of a client nobody knows yet.

use leveret_server::fuzz;

/// A login: the name of a mechanism, a zero, and the response to it.
pub fn sasl(input: &[u8]) {
    let split = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let (mechanism, response) = input.split_at(split);
    let Ok(mechanism) = std::str::from_utf8(mechanism) else { return };
    let response = response.get(1..).unwrap_or_default();
    if let Some(user) = fuzz::login(mechanism, response) {
        assert!(user.len() <= response.len().max("guest".len()), "a name out of nothing");
    }
}

/// The start of a connection that comes from a proxy. No more may be read than the header is long.
pub fn proxy(input: &[u8]) {
    let mut rest = input;
    let is_header = fuzz::proxy_header(&mut rest).expect("a runtime");
    let read = &input[..input.len() - rest.len()];
    if is_header && read.starts_with(b"PROXY") {
        assert!(read.ends_with(b"\n"), "a line, and nothing behind it");
        assert_eq!(read.iter().filter(|byte| **byte == b'\n').count(), 1);
    }
    assert!(read.len() <= 4096, "no header is longer");
}
