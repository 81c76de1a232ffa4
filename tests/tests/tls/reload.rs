//! Files that change under a broker that runs.

use leveret_tests::codec::queue;
use leveret_tests::tls::{Authority, shown};
use leveret_tests::{declare, get, tls};

use crate::{CLIENT, LISTENERS, LOCALHOST, Served};

/// At each listener.
fn is_shown(served: &Served, certificate: &str) -> bool {
    LISTENERS.iter().all(|listener| {
        let stream = served.connect_to(listener, None).unwrap();
        shown(&stream) == tls::der(certificate)
    })
}

fn await_lines(served: &Served, end: &str) {
    for listener in LISTENERS {
        served.broker.await_line(&format!("certificates for {listener} {end}"));
    }
}

#[test]
fn a_new_certificate_is_served_without_a_restart_and_drops_nobody() {
    let Some(served) = Served::with("reload_interval = \"100ms\"\n") else { return };
    let before = served.open(None).unwrap().channel(1);
    before.call(&queue::Declare { exclusive: true, ..declare("q") });
    let new = served.authority.sign(&LOCALHOST);
    // Between the two writes they don't belong together, which changes nothing.
    let _ = new.write(served.home.path(), "server");
    await_lines(&served, "are new and were read");
    assert!(is_shown(&served, &new.certificate));
    before.publish("", "q", b"still here");
    assert_eq!(before.call(&get("q")).body(), b"still here");
}

#[test]
fn a_hang_up_has_certificates_read_again() {
    let Some(served) = Served::with("reload_interval = \"24h\"\n") else { return };
    let new = served.authority.sign(&LOCALHOST);
    let _ = new.write(served.home.path(), "server");
    assert!(is_shown(&served, &served.identity.certificate));
    served.broker.hang_up();
    await_lines(&served, "were read again");
    assert!(is_shown(&served, &new.certificate));
}

#[test]
fn a_bad_file_changes_nothing_and_is_told() {
    let Some(served) = Served::with("reload_interval = \"24h\"\n") else { return };
    std::fs::write(served.home.path().join("server.key"), "").unwrap();
    served.broker.hang_up();
    for listener in LISTENERS {
        let line = served.broker.await_line(&format!("TLS for {listener} stays as it was: "));
        assert!(line.contains("server.key: there is no key in it"), "{line}");
    }
    assert!(is_shown(&served, &served.identity.certificate));
}

/// Who is open goes on; who connects from then on is asked for what the new authority has signed.
#[test]
fn another_authority_for_clients_replaces_the_first() {
    let settings = "ca_file = \"{home}/ca.pem\"\nverify = \"peer\"\n\
                    require_certificate = true\nreload_interval = \"24h\"\n";
    let Some(served) = Served::with(settings) else { return };
    let other = Authority::new("another root");
    let clients = [&served.authority, &other].map(|authority| authority.sign(&CLIENT));
    let served_of = |listener: &str| {
        [&clients[0], &clients[1]].map(|client| served.answers(listener, Some(client)).is_ok())
    };
    let before = served.open(Some(&clients[0])).unwrap().channel(1);
    assert_eq!(LISTENERS.map(served_of), [[true, false]; 3]);
    std::fs::write(served.home.path().join("ca.pem"), other.pem()).unwrap();
    served.broker.hang_up();
    await_lines(&served, "were read again");
    assert_eq!(LISTENERS.map(served_of), [[false, true]; 3]);
    assert!(before.call(&declare("q")).starts_with("queue.declare-ok"));
}
