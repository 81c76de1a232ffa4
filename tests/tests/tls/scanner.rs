//! What a scanner for weak TLS, nmap's, finds at the broker's listeners.

use std::process::Command;

use crate::{LISTENERS, Served};

/// The lines of the report on a port; `None`, and a note, without nmap.
fn scan(port: u16) -> Option<Vec<String>> {
    let output = Command::new("nmap")
        // With a `+` also at ports that are not known for TLS.
        .args(["-Pn", "-n", "--script", "+ssl-enum-ciphers", "-p", &port.to_string(), "127.0.0.1"])
        .output();
    let Ok(output) = output else {
        let is_required = std::env::var_os("LEVERET_REQUIRE_NMAP").is_some();
        assert!(!is_required, "nmap is not installed, and LEVERET_REQUIRE_NMAP is set");
        println!("skipped: nmap is not installed");
        return None;
    };
    let report = String::from_utf8_lossy(&output.stdout);
    let lines = report.lines().map(|line| line.trim_start_matches(['|', '_']).trim().to_owned());
    Some(lines.collect())
}

#[test]
fn nothing_weak_is_found() {
    let Some(served) = Served::with("") else { return };
    for listener in LISTENERS {
        let address = served.broker.address_of(&format!("{listener} over TLS"));
        let Some(report) = scan(address.port()) else { return };
        let lines = |is_one: fn(&str) -> bool| {
            let lines = report.iter().map(String::as_str).filter(|line| is_one(line));
            lines.collect::<Vec<_>>()
        };
        let versions = lines(|line| line.starts_with("TLSv") || line.starts_with("SSL"));
        assert_eq!(versions, ["TLSv1.2:", "TLSv1.3:"], "{listener}: {report:#?}");
        let ciphers = lines(|line| line.starts_with("TLS_"));
        let is_strong = |line: &&str| {
            let is_authenticated = line.contains("_GCM_") || line.contains("_CHACHA20_");
            let is_forward_secret =
                ["TLS_ECDHE_", "TLS_AKE_"].iter().any(|key| line.starts_with(key));
            is_authenticated && is_forward_secret && line.ends_with("- A")
        };
        let is_fine = !ciphers.is_empty() && ciphers.iter().all(is_strong);
        assert!(is_fine, "{listener}: {report:#?}");
        assert!(lines(|line| line == "warnings:").is_empty(), "{listener}: {report:#?}");
        assert_eq!(lines(|line| line.starts_with("least")), ["least strength: A"], "{listener}");
    }
}
