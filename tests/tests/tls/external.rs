//! Clients that log in by their certificate: the mechanism EXTERNAL.

use leveret_tests::Login;
use leveret_tests::tls::Wanted;
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
        let name = name.replace('=', "%3D");
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
