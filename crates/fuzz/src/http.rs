//! The HTTP API, asked by an administrator.

use leveret_management::fuzz::Bench;

/// Requests, with a zero between them: a line with the method and the target, and the body. Whatever
/// they are, the answers are no faults of the broker's.
pub fn http(input: &[u8]) {
    let bench = Bench::new().expect("a broker");
    for request in input.split(|byte| *byte == 0) {
        let end = request.iter().position(|byte| *byte == b'\n').unwrap_or(request.len());
        let (line, body) = request.split_at(end);
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let (method, target) = line.split_once(' ').unwrap_or(("GET", line));
        let (status, _) = bench.ask(method, target, body.get(1..).unwrap_or_default());
        assert!(status < 500 || status == 503, "{status} to {line}");
    }
    bench.end();
}

/// A file of definitions: what is accepted is exported in a form that is accepted.
pub fn definitions(input: &[u8]) {
    let bench = Bench::new().expect("a broker");
    let status = bench.import(input);
    assert!(status < 500, "{status}");
    if status < 300 {
        let exported = bench.export();
        let again = Bench::new().expect("a broker");
        assert_eq!(again.import(&exported), 204, "{}", String::from_utf8_lossy(&exported));
        assert_eq!(again.export().len(), exported.len(), "{}", String::from_utf8_lossy(&exported));
        again.end();
    }
    bench.end();
}
