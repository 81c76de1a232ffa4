//! Files and settings that don't do, each told in one line.

use std::path::Path;

use leveret_tests::Broker;
use leveret_tests::tls::{Authority, Wanted};
use tempfile::TempDir;

use crate::LOCALHOST;

/// What a start with these settings of `[tls]` says on its way out.
fn refused(home: &Path, settings: &str) -> String {
    let file = home.join("leveret.toml");
    let text = format!(
        "listen = \"none\"\nmanagement = \"none\"\nmetrics = \"none\"\n\
         listen_tls = \"127.0.0.1:0\"\n[tls]\n{settings}"
    );
    std::fs::write(&file, text.replace("{home}", &home.display().to_string())).unwrap();
    let data = home.join("data");
    let arguments = ["--config", file.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
    let (status, printed) = Broker::run(&arguments);
    assert_eq!(status.code(), Some(1), "{printed}");
    let last = printed.lines().find(|line| line.starts_with("leveret: ")).unwrap();
    last.replace(&format!("{}/", home.display()), "")
}

#[test]
fn a_file_that_does_not_do_is_named_with_what_is_wrong_with_it() {
    let home = TempDir::with_prefix("leveret-tls-").unwrap();
    let authority = Authority::new("root");
    let _ = authority.sign(&LOCALHOST).write(home.path(), "server");
    let _ = authority.sign(&Wanted { name: "other", ..LOCALHOST }).write(home.path(), "other");
    let put = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    put("empty.pem", "");
    put("cut.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n");
    put("junk.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
    put(
        "locked.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let pair = |certificate: &str, key: &str| {
        let settings =
            format!("cert_file = \"{{home}}/{certificate}\"\nkey_file = \"{{home}}/{key}\"\n");
        refused(home.path(), &settings)
    };
    assert_eq!(
        pair("missing.pem", "server.key"),
        "leveret: cannot use missing.pem: No such file or directory (os error 2)"
    );
    assert_eq!(
        pair("empty.pem", "server.key"),
        "leveret: cannot use empty.pem: there is no certificate in it; PEM files have \
         '-----BEGIN CERTIFICATE-----'"
    );
    assert_eq!(
        pair("cut.pem", "server.key"),
        "leveret: cannot use cut.pem: it is damaged: a section has no end"
    );
    assert_eq!(
        pair("junk.pem", "server.key"),
        "leveret: cannot use junk.pem: certificate 1 in it can't be read"
    );
    assert_eq!(
        pair("server.pem", "server.pem"),
        "leveret: cannot use server.pem: there is no key in it; PEM files have \
         '-----BEGIN PRIVATE KEY-----'"
    );
    assert_eq!(
        pair("server.pem", "locked.key"),
        "leveret: cannot use locked.key: the key is encrypted: decrypt it with 'openssl pkey', \
         and let only the broker's user read it"
    );
    assert_eq!(
        pair("server.pem", "other.key"),
        "leveret: cannot use other.key: the key does not belong to the certificate in server.pem"
    );
}

#[test]
fn settings_that_do_not_go_together_stop_the_start() {
    let home = TempDir::with_prefix("leveret-tls-").unwrap();
    let _ = Authority::new("root").sign(&LOCALHOST).write(home.path(), "server");
    let files = "cert_file = \"{home}/server.pem\"\nkey_file = \"{home}/server.key\"\n";
    let refused = |settings: &str| refused(home.path(), settings);
    assert_eq!(
        refused(""),
        "leveret: cannot serve TLS: no certificate is given: set tls.cert_file"
    );
    assert_eq!(
        refused("cert_file = \"{home}/server.pem\"\n"),
        "leveret: cannot serve TLS: there are 1 certificates (cert_file) and 0 keys (key_file)"
    );
    assert_eq!(
        refused(&format!("{files}verify = \"peer\"\n")),
        "leveret: cannot serve TLS: verify = \"peer\" needs ca_file: whose signatures count"
    );
    let unchecked = refused(&format!("{files}require_certificate = true\n"));
    assert!(unchecked.contains("require_certificate goes with verify"), "{unchecked}");
    let old = refused(&format!("{files}versions = [\"1.1\"]\n"));
    assert!(old.contains("older versions are not safe"), "{old}");
    let half = refused(&format!("{files}[tls.metrics]\nverify = \"peer\"\n"));
    assert_eq!(
        half,
        "leveret: cannot serve TLS: [tls.metrics] counts as a whole, and names no certificate \
         (cert_file)"
    );
}

#[test]
fn one_command_makes_certificates_that_work() {
    let home = TempDir::with_prefix("leveret-tls-").unwrap();
    let made = home.path().join("made");
    let made = made.to_str().unwrap();
    let (status, printed) = Broker::run(&["tls", "self-signed", made, "--client", "anna"]);
    assert!(status.success(), "{printed}");
    let (_, settings) = printed.split_once("[tls]\n").unwrap();
    let (settings, _) = settings.split_once("\n\n").unwrap();
    let listeners = "listen = \"127.0.0.1:0\"\nlisten_tls = \"127.0.0.1:0\"\n\
                     management = \"none\"\nmetrics = \"none\"\n";
    let Some(broker) = Broker::configured(&format!("{listeners}[tls]\n{settings}"), crate::WHY)
    else {
        return;
    };
    let read = |name: &str| std::fs::read_to_string(format!("{made}/{name}")).unwrap();
    let identity =
        leveret_tests::tls::Identity { certificate: read("client.pem"), key: read("client.key") };
    let client = leveret_tests::tls::client(&read("ca.pem"), Some(&identity));
    for host in ["localhost", "127.0.0.1"] {
        let address = broker.address_of("AMQP over TLS");
        let stream = leveret_tests::tls::connect(address, &client, host).unwrap();
        let connection = leveret_tests::Connection::within(stream);
        connection.open(&leveret_tests::Login::default()).unwrap();
    }
    let (status, printed) = Broker::run(&["tls", "self-signed", made]);
    assert!(!status.success() && printed.contains("is there already"), "{printed}");
}
