//! Clients that log in by their certificate: the mechanism EXTERNAL.

use std::process::Command;

use leveret_tests::Login;
use leveret_tests::tls::{Identity, Wanted};
use rcgen::{CertificateParams, DistinguishedName, DnType, SanType};
use serde_json::json;

use crate::Served;

const CLIENT: Wanted<'static> =
    Wanted { name: "client", hosts: &["a.example", "b.example"], days: 100 };
const EXTERNAL: Login<'static> =
    Login { mechanism: "EXTERNAL", response: b"", capabilities: true, tune: None, vhost: "/" };
const REFUSED: &str = "connection.close 403 0.0 ACCESS_REFUSED - Login was refused using \
                       authentication mechanism EXTERNAL. For details see the broker logfile.";

/// A broker with EXTERNAL that asks for certificates, and more settings of `[auth]`.
fn serve(settings: &str) -> Option<Served> {
    Served::with(&format!(
        "ca_file = \"{{home}}/ca.pem\"\nverify = \"peer\"\n\
         [auth]\nmechanisms = [\"EXTERNAL\", \"PLAIN\"]\n{settings}"
    ))
}

impl Served {
    /// Adds a user without a password, who may do anything.
    fn add_user(&self, name: &str) {
        let body = json!({"password_hash": "", "tags": ""}).to_string();
        let name: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        assert_eq!(self.put(&format!("/api/users/{name}"), &body), 201);
        let body = json!({"configure": ".*", "write": ".*", "read": ".*"}).to_string();
        assert_eq!(self.put(&format!("/api/permissions/%2F/{name}"), &body), 201);
    }
}

/// Whose name is the whole subject, and who need not have a password.
#[test]
fn a_certificate_is_a_login() {
    let Some(served) = serve("") else { return };
    let identity = served.authority.sign(&CLIENT);
    let refused = served.log_in(Some(&identity), &EXTERNAL).err().unwrap();
    assert_eq!(refused, REFUSED);
    served.broker.await_line("EXTERNAL login refused: user 'CN=client'");
    served.add_user("CN=client");
    // What the client sends as its response means nothing.
    let login = Login { response: b"somebody", ..EXTERNAL };
    let _open = served.log_in(Some(&identity), &login).unwrap();
    let (_, connections) = served.get("/api/connections");
    assert_eq!(connections[0]["user"], json!("CN=client"));
    assert_eq!(connections[0]["auth_mechanism"], json!("EXTERNAL"));
}

/// A certificate's request whose subject begins with these parts.
fn subject(parts: &[(DnType, &str)]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, text) in parts {
        params.distinguished_name.push(kind.clone(), *text);
    }
    params
}

/// As RFC 4514 has it, and RabbitMQ: also with a part of a kind that has no name, by its number.
#[test]
fn a_subject_of_several_parts_is_written_with_the_last_one_first() {
    let Some(served) = serve("") else { return };
    let params = subject(&[
        (DnType::CountryName, "SE"),
        (DnType::OrganizationName, "acme, inc"),
        (DnType::OrganizationalUnitName, "shop"),
        (DnType::CustomDnType(vec![2, 5, 4, 13]), "a+b"),
    ]);
    served.add_user("CN=client,2.5.4.13=a\\+b,OU=shop,O=acme\\, inc,C=SE");
    let identity = served.authority.sign_params(params, &CLIENT);
    served.log_in(Some(&identity), &EXTERNAL).unwrap();
}

/// Some authorities make such names. What is of one part stays in the order of the certificate (a set's,
/// by its encoding: here the shorter one comes first), while the parts are turned round.
#[test]
fn what_is_of_one_part_is_joined_by_plus() {
    for (settings, name) in [
        ("", "OU=a\\+b+CN=client,O=acme+UID=7,C=SE"),
        ("certificate_user = \"common_name\"", "client"),
    ] {
        let Some(served) = serve(settings) else { return };
        let subject = "/C=SE/O=acme+UID=7/CN=client+OU=a\\+b";
        let Some(identity) = signed_by_openssl(&served, subject) else { return };
        served.add_user(name);
        let _open = served.log_in(Some(&identity), &EXTERNAL).unwrap();
        let (_, connections) = served.get("/api/connections");
        assert_eq!(connections[0]["user"], json!(name));
    }
}

/// A certificate of the authority with such a subject, as OpenSSL reads it: unlike rcgen it makes
/// parts of several. `None`, and a note, without OpenSSL.
fn signed_by_openssl(served: &Served, subject: &str) -> Option<Identity> {
    let home = served.home.path();
    std::fs::write(home.join("ca.key"), served.authority.key()).unwrap();
    let arguments = "req -x509 -CA ca.pem -CAkey ca.key -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
                     -nodes -days 1 -keyout client.key -out client.pem -utf8 -subj";
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .arg(subject)
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .current_dir(home)
        .output();
    let Ok(output) = output else {
        let is_required = std::env::var_os("LEVERET_REQUIRE_OPENSSL").is_some();
        assert!(!is_required, "openssl is not installed, and LEVERET_REQUIRE_OPENSSL is set");
        println!("skipped: openssl is not installed");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| std::fs::read_to_string(home.join(name)).unwrap();
    Some(Identity { certificate: read("client.pem"), key: read("client.key") })
}

/// In the order of the certificate, unlike the parts of a subject.
#[test]
fn several_common_names_are_one_user_joined_by_commas() {
    let Some(served) = serve("certificate_user = \"common_name\"") else { return };
    // Another way to say "common name", of which rcgen would keep one.
    let common_name = || DnType::CustomDnType(vec![2, 5, 4, 3]);
    let params = subject(&[(common_name(), "fir=st"), (DnType::OrganizationName, "acme")]);
    served.add_user("fir=st,client");
    let identity = served.authority.sign_params(params, &CLIENT);
    served.log_in(Some(&identity), &EXTERNAL).unwrap();
    served.add_user("client");
    let nameless = subject(&[(DnType::OrganizationName, "acme")]);
    let identity = served.authority.sign_params(nameless, &CLIENT);
    served.log_in(Some(&identity), &EXTERNAL).unwrap();
}

/// Only names of the configured kind count. An address is written as text, where RabbitMQ takes its
/// bytes for the name.
#[test]
fn an_alternative_name_is_of_the_configured_kind() {
    let address = |text: &str| SanType::IpAddress(text.parse().unwrap());
    let email = |text: &str| SanType::Rfc822Name(text.try_into().unwrap());
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let names = vec![
        SanType::DnsName("a.example".try_into().unwrap()),
        uri("spiffe://acme/shop"),
        address("192.0.2.7"),
        email("first@acme.example"),
        address("2001:db8::7"),
        email("second@acme.example"),
    ];
    for (kind, index, name) in [
        ("uri", 0, "spiffe://acme/shop"),
        ("ip", 0, "192.0.2.7"),
        ("ip", 1, "2001:db8::7"),
        ("email", 1, "second@acme.example"),
    ] {
        let Some(served) = serve(&format!(
            "certificate_user = \"subject_alternative_name\"\ncertificate_name_type = \"{kind}\"\n\
             certificate_name_index = {index}"
        )) else {
            return;
        };
        served.add_user(name);
        let mut params = CertificateParams::default();
        params.subject_alt_names.clone_from(&names);
        let identity = served.authority.sign_params(params, &CLIENT);
        let _open = served.log_in(Some(&identity), &EXTERNAL).unwrap();
        let (_, connections) = served.get("/api/connections");
        assert_eq!(connections[0]["user"], json!(name));
        // A host is no such name.
        let other = served.authority.sign(&CLIENT);
        assert_eq!(served.log_in(Some(&other), &EXTERNAL).err().unwrap(), REFUSED, "{kind}");
        served.broker.await_line("EXTERNAL login refused: no name found");
    }
}

#[test]
fn the_user_may_be_the_common_name() {
    let Some(served) = serve("certificate_user = \"common_name\"") else { return };
    served.add_user("client");
    served.log_in(Some(&served.authority.sign(&CLIENT)), &EXTERNAL).unwrap();
}

#[test]
fn the_user_may_be_an_alternative_name() {
    let settings = "certificate_user = \"subject_alternative_name\"\ncertificate_name_index = 1";
    let Some(served) = serve(settings) else { return };
    served.add_user("b.example");
    served.log_in(Some(&served.authority.sign(&CLIENT)), &EXTERNAL).unwrap();
    let nameless = served.authority.sign(&Wanted { hosts: &["a.example"], ..CLIENT });
    assert_eq!(served.log_in(Some(&nameless), &EXTERNAL).err().unwrap(), REFUSED);
    served.broker.await_line("EXTERNAL login refused: no name found");
}

/// It is offered within TLS to all, as in RabbitMQ, and outside to nobody.
#[test]
fn without_a_certificate_it_is_refused() {
    let Some(served) = serve("") else { return };
    assert_eq!(served.log_in(None, &EXTERNAL).err().unwrap(), REFUSED);
    let why = "EXTERNAL login refused: connection peer presented no TLS (x.509) certificate";
    served.broker.await_line(why);
    served.log_in(None, &Login::default()).unwrap();
    assert_eq!(served.broker.dial().greet(), "connection.start 0 9 PLAIN en_US");
    let answer = served.broker.connect_as(&EXTERNAL).err().unwrap();
    assert!(answer == "eof" || answer == "reset", "{answer}");
}

#[test]
fn it_is_not_offered_unless_asked_for() {
    let Some(served) = Served::with("ca_file = \"{home}/ca.pem\"\nverify = \"peer\"\n") else {
        return;
    };
    let identity = served.authority.sign(&CLIENT);
    let answer = served.log_in(Some(&identity), &EXTERNAL).err().unwrap();
    assert!(answer == "eof" || answer == "reset", "{answer}");
}
