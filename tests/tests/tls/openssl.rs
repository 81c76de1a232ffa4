//! What OpenSSL's client makes of the broker: another implementation than the broker's own.

use std::process::{Command, Stdio};

use leveret_tests::tls::{self, shown};

use crate::{LISTENERS, LOCALHOST, Served};

/// Whether a handshake with these options works, and what OpenSSL says; `None`, and a note,
/// without OpenSSL.
fn handshake(served: &Served, options: &[&str]) -> Option<(bool, String)> {
    let address = served.broker.address_of("AMQP over TLS").to_string();
    let ca = served.home.path().join("ca.pem");
    let output = Command::new("openssl")
        .args(["s_client", "-brief", "-verify_return_error", "-servername", "localhost"])
        .args(["-connect", &address, "-CAfile"])
        .arg(ca)
        .args(options)
        .stdin(Stdio::null())
        .output();
    let Ok(output) = output else {
        let is_required = std::env::var_os("LEVERET_REQUIRE_OPENSSL").is_some();
        assert!(!is_required, "openssl is not installed, and LEVERET_REQUIRE_OPENSSL is set");
        println!("skipped: openssl is not installed");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Some((output.status.success(), text))
}

#[test]
fn current_versions_are_spoken_and_old_ones_are_not() {
    let Some(served) = Served::with("") else { return };
    for (option, version) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
        let Some((works, said)) = handshake(&served, &[option]) else { return };
        assert!(works && said.contains(&format!("Protocol version: {version}")), "{said}");
        assert!(said.contains("Verification: OK"), "{said}");
    }
    for old in ["-tls1_1", "-tls1"] {
        let (works, said) =
            handshake(&served, &[old, "-cipher", "ALL:@SECLEVEL=0"]).expect("as before");
        assert!(!works && !said.contains("Protocol version"), "{old}: {said}");
    }
}

#[test]
fn one_version_is_enough() {
    let Some(served) = Served::with("versions = [\"1.3\"]\n") else { return };
    let Some((works, said)) = handshake(&served, &["-tls1_2"]) else { return };
    assert!(!works, "{said}");
    assert!(handshake(&served, &[]).expect("as before").0);
}

#[test]
fn weak_ciphers_are_not_spoken() {
    let Some(served) = Served::with("") else { return };
    for weak in ["AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "DHE-RSA-AES128-SHA", "NULL", "aNULL"] {
        let cipher = format!("{weak}:@SECLEVEL=0");
        let Some((works, said)) = handshake(&served, &["-tls1_2", "-cipher", &cipher]) else {
            return;
        };
        assert!(!works, "{weak}: {said}");
    }
    let strong = ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"];
    assert!(handshake(&served, &strong).expect("as before").0);
}

/// Most certificates that are bought have one.
#[test]
fn rsa_keys_are_served_at_each_listener() {
    let Some(served) = Served::with("reload_interval = \"24h\"\n") else { return };
    let made = Command::new("openssl")
        .args(["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
        .output();
    let Ok(made) = made else { return println!("skipped: openssl is not installed") };
    let identity = served.authority.sign_key(&LOCALHOST, &String::from_utf8_lossy(&made.stdout));
    let _ = identity.write(served.home.path(), "server");
    served.broker.hang_up();
    for listener in LISTENERS {
        served.broker.await_line(&format!("certificates for {listener} were read again"));
        let stream = served.connect_to(listener, None).unwrap();
        assert_eq!(shown(&stream), tls::der(&identity.certificate), "{listener}");
    }
    let (works, said) = handshake(&served, &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"])
        .expect("OpenSSL made the key");
    assert!(works && said.contains("Verification: OK"), "{said}");
}
