//! Files that change under a broker that runs.

use leveret_tests::codec::queue;
use leveret_tests::tls::{Stream, shown};
use leveret_tests::{declare, get, tls};

use crate::{LOCALHOST, Served};

fn is_shown(served: &Served, certificate: &str) -> bool {
    let stream: Stream = served.connect(None).unwrap();
    shown(&stream) == tls::der(certificate)
}

#[test]
fn a_new_certificate_is_served_without_a_restart_and_drops_nobody() {
    let Some(served) = Served::with("reload_interval = \"100ms\"\n") else { return };
    let before = served.open(None).unwrap().channel(1);
    before.call(&queue::Declare { exclusive: true, ..declare("q") });
    let new = served.authority.sign(&LOCALHOST);
    // Between the two writes they don't belong together, which changes nothing.
    let _ = new.write(served.home.path(), "server");
    served.broker.await_line("certificates for AMQP are new and were read");
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
    served.broker.await_line("certificates for AMQP were read again");
    assert!(is_shown(&served, &new.certificate));
}

#[test]
fn a_bad_file_changes_nothing_and_is_told() {
    let Some(served) = Served::with("reload_interval = \"24h\"\n") else { return };
    std::fs::write(served.home.path().join("server.key"), "").unwrap();
    served.broker.hang_up();
    let line = served.broker.await_line("TLS for AMQP stays as it was: ");
    assert!(line.contains("server.key: there is no key in it"), "{line}");
    assert!(is_shown(&served, &served.identity.certificate));
}
