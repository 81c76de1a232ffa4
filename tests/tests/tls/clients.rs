//! Clients that show certificates, and those that don't.

use leveret_tests::tls::{Authority, Identity, Wanted};
use serde_json::json;

use crate::{CLIENT, LISTENERS, Served};

const REQUIRED: &str =
    "ca_file = \"{home}/ca.pem\"\nverify = \"peer\"\nrequire_certificate = true\n";

#[test]
fn a_client_that_must_show_a_certificate_is_served_only_with_one() {
    let Some(served) = Served::with(&format!("{REQUIRED}[tls.management]\n{FILES}")) else {
        return;
    };
    let error = served.open(None).err().unwrap();
    assert!(error.contains("CertificateRequired"), "{error}");
    served.broker.await_line("TLS handshake: peer sent no certificates");
    let _open = served.open(Some(&served.authority.sign(&CLIENT))).unwrap();
    let (_, connections) = served.get("/api/connections");
    assert_eq!(connections[0]["peer_cert_subject"], json!("CN=client"));
    assert_eq!(connections[0]["peer_cert_issuer"], json!("CN=root"));
    let validity = connections[0]["peer_cert_validity"].as_str().unwrap();
    assert!(validity.starts_with("20") && validity.contains("Z - 20"), "{validity}");
}

/// Over HTTP as over AMQP: what is in `[tls]` counts for all listeners.
#[test]
fn each_listener_serves_only_those_who_show_a_certificate() {
    let Some(served) = Served::with(REQUIRED) else { return };
    let known = served.authority.sign(&CLIENT);
    let stranger = Authority::new("root").sign(&CLIENT);
    let expired = served.authority.sign(&Wanted { days: -1, ..CLIENT });
    for listener in LISTENERS {
        let error = served.answers(listener, None).unwrap_err();
        assert!(error.contains("CertificateRequired"), "{listener}: {error}");
        assert!(served.answers(listener, Some(&stranger)).is_err(), "{listener}");
        let error = served.answers(listener, Some(&expired)).unwrap_err();
        assert!(error.contains("CertificateExpired"), "{listener}: {error}");
        served.answers(listener, Some(&known)).unwrap();
    }
}

#[test]
fn a_listener_has_requirements_of_its_own() {
    let settings = format!(
        "[tls.management]\n{FILES}{REQUIRED}depth = 0\n\
         [tls.metrics]\n{FILES}ca_file = \"{{home}}/ca.pem\"\nverify = \"peer\"\n"
    );
    let Some(served) = Served::with(&settings) else { return };
    let known = served.authority.sign(&CLIENT);
    let stranger = Authority::new("root").sign(&CLIENT);
    let between = served.authority.below("between");
    let below = between.sign(&CLIENT);
    let below = Identity { certificate: below.certificate + &between.pem(), ..below };
    let served_of = [None, Some(&known), Some(&below), Some(&stranger)];
    let served_of = |listener| served_of.map(|identity| served.answers(listener, identity).is_ok());
    // Who is not asked shows nothing.
    assert_eq!(served_of("AMQP"), [true, true, true, true]);
    assert_eq!(served_of("management"), [false, true, false, false]);
    assert_eq!(served_of("metrics"), [true, true, true, false]);
}

const FILES: &str = "cert_file = \"{home}/server.pem\"\nkey_file = \"{home}/server.key\"\n";

#[test]
fn a_certificate_nobody_vouches_for_is_refused() {
    let Some(served) = Served::with(REQUIRED) else { return };
    let stranger = Authority::new("root").sign(&CLIENT);
    assert!(served.open(Some(&stranger)).is_err());
    served.broker.await_line("TLS handshake: invalid peer certificate");
    let expired = served.authority.sign(&Wanted { days: -1, ..CLIENT });
    let error = served.open(Some(&expired)).err().unwrap();
    assert!(error.contains("CertificateExpired"), "{error}");
}

#[test]
fn a_client_that_need_not_show_a_certificate_must_not_show_a_bad_one() {
    let settings = "ca_file = \"{home}/ca.pem\"\nverify = \"peer\"\n";
    let Some(served) = Served::with(settings) else { return };
    served.open(None).unwrap();
    served.open(Some(&served.authority.sign(&CLIENT))).unwrap();
    assert!(served.open(Some(&Authority::new("root").sign(&CLIENT))).is_err());
}

#[test]
fn a_chain_is_no_longer_than_allowed() {
    let Some(served) = Served::with(&format!("{REQUIRED}depth = 1\n")) else { return };
    let first = served.authority.below("first");
    let second = first.below("second");
    let chained = |identity: Identity, chain: &[&Authority]| {
        let chain: String = chain.iter().map(|one| one.pem()).collect();
        Identity { certificate: identity.certificate + &chain, ..identity }
    };
    let near = chained(first.sign(&CLIENT), &[&first]);
    let far = chained(second.sign(&CLIENT), &[&second, &first]);
    // What is shown and not needed makes no chain longer.
    let padded = chained(first.sign(&CLIENT), &[&first, &second]);
    served.open(Some(&near)).unwrap();
    served.open(Some(&padded)).unwrap();
    assert!(served.open(Some(&far)).is_err());
}
