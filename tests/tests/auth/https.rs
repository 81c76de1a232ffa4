//! An HTTP service that decides, asked over TLS: by whom it has to be vouched for, and for which
//! name.

use leveret_tests::tls::{self, Authority, Identity, Wanted};
use leveret_tests::{Broker, Login};
use tempfile::TempDir;

use crate::service::{Asked, Reply, Service};
use crate::{REFUSED, WHY, log_in};

/// Lets everybody in.
fn allow(_: &Asked) -> Reply {
    Reply::Say("allow")
}

/// A certificate for this name.
fn identity(authority: &Authority, host: &str, days: i64) -> Identity {
    authority.sign(&Wanted { name: host, hosts: &[host], days })
}

fn service(identity: &Identity, host: &str) -> Service {
    Service::within(tls::server(identity), host, allow)
}

/// A broker that asks the service, and trusts that authority, or else whom the system trusts.
fn broker(
    home: &TempDir,
    service: &Service,
    trusted: Option<&Authority>,
    more: &str,
) -> Option<Broker> {
    let trusting = trusted.map_or_else(String::new, |authority| {
        let ca_file = home.path().join("ca.pem");
        std::fs::write(&ca_file, authority.pem()).unwrap();
        format!("ca_file = \"{}\"\n", ca_file.display())
    });
    let config = format!("{}{trusting}{more}[auth]\nbackends = \"http\"\n", service.settings());
    Broker::configured(&config, WHY)
}

/// Nobody gets in, the service hears nothing, and the log has the reason once.
fn keeps_out(broker: &Broker, service: &Service, reason: &str) {
    for _ in 0..3 {
        assert_eq!(log_in(broker, "anna", "anna").err().unwrap(), REFUSED);
    }
    let login = Login { response: b"\0guest\0guest", ..Login::default() };
    assert_eq!(broker.connect_as(&login).err().unwrap(), REFUSED);
    assert_eq!(service.take_lines(), <[&str; 0]>::default());
    broker.await_line("the authentication backend 'http' can't be asked");
    let log = broker.log();
    let told: Vec<_> =
        log.lines().filter(|line| line.contains("backend 'http' can't be asked")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("cannot connect: invalid peer certificate"), "{told:?}");
    assert!(told[0].contains(reason), "{told:?}");
    assert!(!log.contains("password="), "{log}");
}

#[test]
fn a_service_whose_authority_is_trusted_decides() {
    let authority = Authority::new("root");
    let service = service(&identity(&authority, "localhost", 10), "localhost");
    let home = tempfile::tempdir().unwrap();
    let Some(broker) = broker(&home, &service, Some(&authority), "") else { return };
    log_in(&broker, "anna", "anna").unwrap();
    assert_eq!(service.take_lines(), ["user anna", "vhost / of anna"]);
    assert!(!broker.log().contains("can't be asked"));
}

#[test]
fn a_service_is_not_asked_if_the_system_trusts_nobody_who_vouches_for_it() {
    let authority = Authority::new("root");
    let service = service(&identity(&authority, "localhost", 10), "localhost");
    let home = tempfile::tempdir().unwrap();
    let Some(broker) = broker(&home, &service, None, "") else { return };
    keeps_out(&broker, &service, "UnknownIssuer");
}

#[test]
fn a_service_is_not_asked_if_another_authority_vouches_for_it() {
    // Even if it has the same name.
    let (authority, other) = (Authority::new("root"), Authority::new("root"));
    let service = service(&identity(&authority, "localhost", 10), "localhost");
    let home = tempfile::tempdir().unwrap();
    let Some(broker) = broker(&home, &service, Some(&other), "") else { return };
    keeps_out(&broker, &service, "BadSignature");
}

#[test]
fn a_service_is_not_asked_if_its_certificate_is_for_another_name() {
    let authority = Authority::new("root");
    let service = service(&identity(&authority, "elsewhere.example", 10), "localhost");
    let home = tempfile::tempdir().unwrap();
    let Some(broker) = broker(&home, &service, Some(&authority), "") else { return };
    keeps_out(&broker, &service, "not valid for name \"localhost\"");
}

#[test]
fn a_service_is_not_asked_if_its_certificate_names_the_host_and_not_the_address() {
    let authority = Authority::new("root");
    let service = service(&identity(&authority, "localhost", 10), "127.0.0.1");
    let home = tempfile::tempdir().unwrap();
    let Some(broker) = broker(&home, &service, Some(&authority), "") else { return };
    keeps_out(&broker, &service, "not valid for name \"127.0.0.1\"");
}

#[test]
fn a_service_is_not_asked_if_its_certificate_has_expired() {
    let authority = Authority::new("root");
    let service = service(&identity(&authority, "localhost", -1), "localhost");
    let home = tempfile::tempdir().unwrap();
    let Some(broker) = broker(&home, &service, Some(&authority), "") else { return };
    keeps_out(&broker, &service, "expired");
}

/// A certificate with a chain of two, of which the configuration allows one, or both.
#[test]
fn a_service_is_not_asked_if_its_chain_is_longer_than_allowed() {
    let authority = Authority::new("root");
    let first = authority.below("first");
    let second = first.below("second");
    let Identity { certificate, key } = identity(&second, "localhost", 10);
    let certificate = [certificate, second.pem(), first.pem()].concat();
    let service = service(&Identity { certificate, key }, "localhost");
    let home = tempfile::tempdir().unwrap();
    let Some(wary) = broker(&home, &service, Some(&authority), "depth = 1\n") else { return };
    keeps_out(&wary, &service, "UnknownIssuer");
    for depth in ["depth = 2\n", ""] {
        let broker = broker(&home, &service, Some(&authority), depth).unwrap();
        log_in(&broker, "anna", "anna").unwrap();
        assert_eq!(service.take_lines(), ["user anna", "vhost / of anna"]);
    }
}

/// And when it can be trusted it decides again, without a restart of the broker.
#[test]
fn a_service_that_gets_a_good_certificate_decides_again() {
    let authority = Authority::new("root");
    let bad = identity(&authority, "elsewhere.example", 10);
    let good = tls::server(&identity(&authority, "localhost", 10));
    let service = Service::within(tls::server(&bad), "localhost", allow);
    let home = tempfile::tempdir().unwrap();
    let Some(broker) = broker(&home, &service, Some(&authority), "") else { return };
    keeps_out(&broker, &service, "not valid for name \"localhost\"");
    service.secure(good);
    log_in(&broker, "anna", "anna").unwrap();
    broker.await_line("the authentication backend 'http' answers again");
}

/// The broker says who it is to a service that wants to know.
#[test]
fn the_service_is_shown_a_certificate_of_the_broker() {
    let authority = Authority::new("root");
    let server = identity(&authority, "localhost", 10);
    let wary = tls::server_for_known_clients(&server, &authority.pem());
    let service = Service::within(wary, "localhost", allow);
    let home = tempfile::tempdir().unwrap();
    let (certificate, key) = identity(&authority, "broker", 10).write(home.path(), "own");
    let own =
        format!("cert_file = \"{}\"\nkey_file = \"{}\"\n", certificate.display(), key.display());
    let Some(known) = broker(&home, &service, Some(&authority), &own) else { return };
    log_in(&known, "anna", "anna").unwrap();
    assert_eq!(service.take_lines(), ["user anna", "vhost / of anna"]);
    let stranger = broker(&home, &service, Some(&authority), "").unwrap();
    assert_eq!(log_in(&stranger, "anna", "anna").err().unwrap(), REFUSED);
    stranger.await_line("the authentication backend 'http' can't be asked");
    assert_eq!(service.take_lines(), <[&str; 0]>::default());
}
