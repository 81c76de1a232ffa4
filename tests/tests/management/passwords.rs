//! How passwords are hashed, and that whoever has one gets in.

use leveret_tests::{Api, Broker, Login};
use serde_json::{Value, json};

const ARGON2ID: &str = "leveret_password_hashing_argon2id";
const SHA256: &str = "rabbit_password_hashing_sha256";
/// Of the password `guest`, made by RabbitMQ.
const OF_RABBITMQ: &str = "uJe+3Gd/w2c9/W8HHNmfRUWk0ctjF6Up+gIOIrkNAPZ+USOG";
/// Of the password `guest`, with the salt `salt`, as RabbitMQ before 3.6 made them.
const OF_OLD_RABBITMQ: &str = "c2FsdF+QGvKX6cwMP3DZldzzhp4=";
/// Of the password that is empty, with the salt `salt`.
const OF_NOTHING: &str = "c2FsdGNHmtaaCQslgnfsj7pvmUGaL/skiYFRBlfJRMzRFI6X";

fn start(settings: &str) -> Option<(Broker, Api)> {
    let config = format!("management = \"127.0.0.1:0\"\n[auth]\n{settings}\n");
    let broker = Broker::configured(&config, "needs its own hashing of passwords")?;
    let api = Api::new(broker.management_address());
    Some((broker, api))
}

fn put(api: &Api, user: &str, body: &Value) {
    assert!(matches!(api.call("PUT", &format!("/users/{user}"), body).status, 201 | 204));
    let everything = json!({ "configure": ".*", "write": ".*", "read": ".*" });
    assert!(api.call("PUT", &format!("/permissions/%2F/{user}"), &everything).status < 300);
}

fn gets_in(broker: &Broker, user: &str, password: &str) -> bool {
    let response = format!("\0{user}\0{password}");
    let login = Login { response: response.as_bytes(), ..Login::default() };
    match broker.connect_as(&login) {
        Ok(connection) => {
            connection.close();
            true
        }
        Err(refused) => {
            assert!(refused.starts_with("connection.close 403 0.0 ACCESS_REFUSED"), "{refused}");
            false
        }
    }
}

fn algorithm_of(api: &Api, user: &str) -> Value {
    api.get(&format!("/users/{user}"))["hashing_algorithm"].clone()
}

#[test]
fn new_passwords_are_hashed_with_argon2id() {
    let Some((broker, api)) = start("") else { return };
    put(&api, "anna", &json!({ "password": "first", "tags": "management" }));
    let anna = api.get("/users/anna");
    assert_eq!(anna["hashing_algorithm"], ARGON2ID);
    let hash = anna["password_hash"].as_str().unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    for _ in 0..3 {
        assert!(gets_in(&broker, "anna", "first"));
    }
    assert!(!gets_in(&broker, "anna", "second"));
    assert!(!gets_in(&broker, "nobody", "first"));
    assert_eq!(api.with_login(Some("anna:first")).get("/whoami")["name"], "anna");
    // What is exported can be imported again.
    let users = api.get("/definitions")["users"].clone();
    let exported = users.as_array().unwrap().iter().find(|user| user["name"] == "anna").unwrap();
    assert_eq!(
        (&exported["password_hash"], &exported["hashing_algorithm"]),
        (&json!(hash), &json!(ARGON2ID))
    );
    put(&api, "bert", exported);
    assert!(gets_in(&broker, "bert", "first"));
    // What was remembered of the old password is worth nothing.
    put(&api, "anna", &json!({ "password": "second", "tags": "" }));
    assert!(gets_in(&broker, "anna", "second"));
    assert!(!gets_in(&broker, "anna", "first"));
    let costly = hash.replace("m=19456", "m=4194304");
    let refused = api.call(
        "PUT",
        "/users/costly",
        &json!({ "password_hash": costly, "hashing_algorithm": ARGON2ID, "tags": "" }),
    );
    assert_eq!(refused.status, 400);
    // This is what definitions for RabbitMQ are made with.
    let made = api.get("/auth/hash_password/first")["ok"].clone();
    put(&api, "carl", &json!({ "password_hash": made, "tags": "" }));
    assert_eq!(api.get("/users/carl")["hashing_algorithm"], SHA256);
    assert!(gets_in(&broker, "carl", "first"));
    assert_eq!(api.get("/users/carl")["hashing_algorithm"], SHA256);
}

#[test]
fn rabbitmqs_hashes_are_replaced_when_their_users_log_in() {
    let Some((mut broker, api)) = start("password_upgrade_on_login = true") else { return };
    let md5 = "rabbit_password_hashing_md5";
    for (user, hash, algorithm) in [("new", OF_RABBITMQ, SHA256), ("old", OF_OLD_RABBITMQ, md5)] {
        let body = json!({ "password_hash": hash, "hashing_algorithm": algorithm, "tags": "" });
        put(&api, user, &body);
        assert!(!gets_in(&broker, user, "Guest"));
        assert_eq!(api.get(&format!("/users/{user}"))["hashing_algorithm"], algorithm);
        assert!(gets_in(&broker, user, "guest"));
        assert_eq!(api.get(&format!("/users/{user}"))["hashing_algorithm"], ARGON2ID);
        assert!(gets_in(&broker, user, "guest"));
        assert!(!gets_in(&broker, user, "Guest"));
    }
    broker.terminate();
    broker.restart();
    assert!(gets_in(&broker, "old", "guest"));
}

/// RabbitMQ's name for the hashing does as well.
#[test]
fn rabbitmq_can_read_hashes_if_that_is_asked_for() {
    for name in ["sha256", SHA256] {
        let Some((broker, api)) = start(&format!("password_hashing = \"{name}\"")) else { return };
        put(&api, "anna", &json!({ "password": "first", "tags": "" }));
        let anna = api.get("/users/anna");
        assert_eq!(anna["hashing_algorithm"], SHA256);
        assert_eq!(anna["password_hash"].as_str().unwrap().len(), 48);
        assert!(gets_in(&broker, "anna", "first"));
    }
}

/// What everybody knows needs no costly hash.
#[test]
fn the_first_user_is_hashed_as_others_unless_its_password_is_well_known() {
    let Some((broker, api)) = start("") else { return };
    assert_eq!(algorithm_of(&api, "guest"), SHA256);
    assert!(gets_in(&broker, "guest", "guest"));
    assert!(!gets_in(&broker, "guest", "Guest"));
    let settings = "default_user = \"anna\"\ndefault_pass = \"s3cret\"";
    let Some((broker, api)) = start(settings) else { return };
    let api = api.with_login(Some("anna:s3cret"));
    assert_eq!(algorithm_of(&api, "anna"), ARGON2ID);
    assert!(gets_in(&broker, "anna", "s3cret"));
    assert!(!gets_in(&broker, "anna", "guest"));
}

/// As long as nobody asks for an upgrade.
#[test]
fn hashes_of_rabbitmqs_stay_as_they_are() {
    let Some((broker, api)) = start("") else { return };
    let user = json!({ "name": "anna", "password_hash": OF_RABBITMQ, "hashing_algorithm": SHA256,
                       "tags": "administrator" });
    assert_eq!(api.call("POST", "/definitions", &json!({ "users": [user] })).status, 204);
    put(&api, "bert", &json!({ "password_hash": OF_RABBITMQ, "tags": "" }));
    for name in ["anna", "bert"] {
        put(&api, name, &api.get(&format!("/users/{name}")));
        assert!(gets_in(&broker, name, "guest"));
        assert!(!gets_in(&broker, name, "Guest"));
        let user = api.get(&format!("/users/{name}"));
        assert_eq!(
            (&user["password_hash"], &user["hashing_algorithm"]),
            (&json!(OF_RABBITMQ), &json!(SHA256))
        );
    }
}

#[test]
fn hashes_of_old_rabbitmqs_let_their_users_in() {
    let Some((broker, api)) = start("") else { return };
    let body = json!({ "password_hash": OF_OLD_RABBITMQ, "tags": "",
                       "hashing_algorithm": "rabbit_password_hashing_md5" });
    put(&api, "old", &body);
    assert!(gets_in(&broker, "old", "guest"));
    assert!(!gets_in(&broker, "old", "Guest"));
}

/// RabbitMQ makes such users, by `rabbitmqctl add_user`, and lets none of them in.
#[test]
fn a_blank_password_lets_nobody_in_whatever_the_hash() {
    let Some((broker, api)) = start("") else { return };
    let user = json!({ "name": "blank", "password_hash": OF_NOTHING, "hashing_algorithm": SHA256,
                       "tags": "administrator" });
    assert_eq!(api.call("POST", "/definitions", &json!({ "users": [user] })).status, 204);
    put(&api, "blank", &api.get("/users/blank"));
    assert!(!gets_in(&broker, "blank", ""));
    assert_eq!(api.with_login(Some("blank:")).call("GET", "/whoami", &Value::Null).status, 401);
    assert_eq!(api.get("/users/blank")["password_hash"], OF_NOTHING);
}
