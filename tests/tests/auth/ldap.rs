//! Logins and permissions that an LDAP server decides.

use leveret_tests::codec::queue;
use leveret_tests::{Api, Broker, Channel, bind, declare, eventually};
use serde_json::{Value, json};

use crate::directory::Directory;
use crate::{REFUSED, WHY, log_in};

/// Looked up by a user of the directory's, as everything else is.
const BY_UID: &str = "\
dn_lookup_attribute = \"uid\"
dn_lookup_base = \"ou=people,dc=example,dc=com\"
dn_lookup_bind_user_dn = \"cn=reader,dc=example,dc=com\"
dn_lookup_bind_password = \"reader\"
";

fn broker(directory: &Directory, more: &str) -> Option<Broker> {
    broker_with(directory, more, "ldap")
}

fn broker_with(directory: &Directory, more: &str, backends: &str) -> Option<Broker> {
    let settings = directory.settings(more);
    let listeners = "management = \"127.0.0.1:0\"\n";
    Broker::configured(&format!("{listeners}{settings}[auth]\nbackends = {backends:?}\n"), WHY)
}

fn enter(broker: &Broker, user: &str) -> Channel {
    log_in(broker, user, user).unwrap_or_else(|refused| panic!("{user}: {refused}")).channel(1)
}

fn assert_refused(broker: &Broker, user: &str, password: &str) {
    assert_eq!(log_in(broker, user, password).err().unwrap(), REFUSED, "{user}");
}

#[test]
fn a_bind_lets_in_and_keeps_out() {
    let Some(directory) = Directory::start() else { return };
    let pattern = "user_dn_pattern = \"cn=${username},ou=people,dc=example,dc=com\"\n";
    let Some(broker) = broker(&directory, pattern) else { return };
    enter(&broker, "bert");
    assert_refused(&broker, "bert", "wrong");
    assert_refused(&broker, "nobody", "nobody");
    // A bind without a password is anonymous, and succeeds.
    assert_refused(&broker, "bert", "");
    // No other place in the directory can be reached by a name.
    assert_refused(&broker, "reader,dc=example,dc=com", "reader");
    broker.await_line("user 'bert': denied by LDAP: invalid credentials");
    broker.await_line("user 'bert': denied by LDAP: unauthenticated bind not allowed");
    assert!(!broker.log().contains("can't be asked"), "{}", broker.log());
}

#[test]
fn users_are_looked_up_as_somebody_or_as_themselves() {
    let Some(directory) = Directory::start() else { return };
    let Some(by_reader) = broker(&directory, BY_UID) else { return };
    enter(&by_reader, "anna");
    assert_refused(&by_reader, "anna", "wrong");
    assert_refused(&by_reader, "*", "anna");
    let as_user = "\
        user_bind_pattern = \"cn=${username},ou=people,dc=example,dc=com\"\n\
        dn_lookup_attribute = \"cn\"\ndn_lookup_base = \"dc=example,dc=com\"\n\
        vhost_access_query = '{equals, \"${user_dn}\", \"cn=Bert,ou=people,dc=example,dc=com\"}'\n";
    let by_themselves = broker(&directory, as_user).unwrap();
    enter(&by_themselves, "bert");
}

#[test]
fn groups_give_tags() {
    let Some(directory) = Directory::start() else { return };
    let tags = "tag_queries = '''[\n\
        {administrator, {in_group, \"cn=admins,ou=groups,dc=example,dc=com\"}},\n\
        {monitoring, {constant, true}}]'''\n";
    let Some(broker) = broker(&directory, &format!("{BY_UID}{tags}")) else { return };
    let api = Api::new(broker.management_address());
    let tags = |login| {
        let reply = api.with_login(Some(login)).call("GET", "/whoami", &Value::Null);
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json()["tags"].clone()
    };
    assert_eq!(tags("anna:anna"), json!(["administrator", "monitoring"]));
    assert_eq!(tags("bert:bert"), json!(["monitoring"]));
}

/// Each question with its own variables, asked as the reader and as the user.
#[test]
fn queries_say_what_may_be_done() {
    let Some(directory) = Directory::start() else { return };
    let queries = "\
        group_lookup_base = \"ou=groups,dc=example,dc=com\"\n\
        vhost_access_query = '{exists, \"${user_dn}\"}'\n\
        resource_access_query = '''\n\
        {for, [{permission, configure,\n\
                {'or', [{in_group_nested, \"cn=staff,ou=groups,dc=example,dc=com\"},\n\
                        {'and', [{equals, \"${username}\", \"bert\"}, {match, \"${name}\", \"^b\"}]}]}},\n\
               {permission, write, {for, [{resource, exchange, {constant, true}},\n\
                                          {resource, queue, {constant, true}}]}},\n\
               {permission, read, {match, \"${name}\", {attribute, \"${user_dn}\", \"description\"}}}]}\n\
        '''\n\
        topic_access_query = '{match, \"${routing_key}\", \"^${vhost}?eu[.]\"}'\n";
    let as_reader = "other_bind_user_dn = \"cn=reader,dc=example,dc=com\"\n\
                     other_bind_password = \"reader\"\n";
    for more in ["", as_reader] {
        let Some(broker) = broker(&directory, &format!("{BY_UID}{queries}{more}")) else { return };
        let anna = enter(&broker, "anna");
        let exclusive = |name| queue::Declare { exclusive: true, ..declare(name) };
        assert_eq!(anna.call(&exclusive("orders")), "queue.declare-ok orders 0 0");
        assert_eq!(anna.call(&bind("orders", "amq.topic", "eu.x")), "queue.bind-ok");
        let refused = anna.call(&bind("orders", "amq.topic", "us.x"));
        assert!(refused.starts_with("channel.close 403 queue.bind ACCESS_REFUSED"), "{refused}");
        anna.reopen();
        assert_eq!(anna.call(&exclusive("private")), "queue.declare-ok private 0 0");
        let refused = anna.call(&leveret_tests::get("private"));
        assert!(refused.starts_with("channel.close 403 basic.get ACCESS_REFUSED"), "{refused}");
        let bert = enter(&broker, "bert");
        assert_eq!(bert.call(&exclusive("b")), "queue.declare-ok b 0 0");
        let refused = bert.call(&exclusive("c"));
        assert!(refused.starts_with("channel.close 403 queue.declare ACCESS_REFUSED"), "{refused}");
    }
}

#[test]
fn a_vhost_may_be_closed_to_some() {
    let Some(directory) = Directory::start() else { return };
    let query = "vhost_access_query = '{in_group, \"cn=admins,ou=groups,dc=example,dc=com\"}'\n";
    let Some(broker) = broker(&directory, &format!("{BY_UID}{query}")) else { return };
    enter(&broker, "anna");
    let refused = log_in(&broker, "bert", "bert").err().unwrap();
    assert_eq!(
        refused,
        "connection.close 530 connection.open NOT_ALLOWED - access to vhost '/' refused for user 'bert'"
    );
}

/// It lets nobody in meanwhile, others of the chain do, and it is told of once.
#[test]
fn a_slow_server_and_a_dead_one_let_nobody_in() {
    let Some(mut directory) = Directory::start() else { return };
    let query = "timeout = \"1s\"\nvhost_access_query = '{exists, \"${user_dn}\"}'\n";
    let more = format!("{BY_UID}{query}");
    let Some(broker) = broker_with(&directory, &more, "ldap,internal") else { return };
    enter(&broker, "anna");
    directory.pause();
    assert_refused(&broker, "anna", "anna");
    broker.await_line("the authentication backend 'ldap' can't be asked: no answer within 1000 ms");
    let _guest = broker.connect();
    directory.go_on();
    eventually(|| log_in(&broker, "anna", "anna").is_ok());
    broker.await_line("the authentication backend 'ldap' answers again");
    directory.kill();
    for _ in 0..3 {
        assert_refused(&broker, "anna", "anna");
    }
    let _guest = broker.connect();
    directory.restart();
    eventually(|| log_in(&broker, "anna", "anna").is_ok());
    let log = broker.log();
    let told = log.matches("[error] the authentication backend 'ldap' can't be asked");
    assert!(told.count() <= 3, "{log}");
}

/// What can't be decided is refused, and said to be nobody's decision.
#[test]
fn a_question_nobody_answers_is_refused() {
    let Some(mut directory) = Directory::start() else { return };
    let query = "resource_access_query = '{exists, \"${user_dn}\"}'\n";
    let Some(broker) = broker(&directory, &format!("{BY_UID}{query}")) else { return };
    let anna = enter(&broker, "anna");
    directory.kill();
    assert_eq!(
        anna.call(&declare("q")),
        "channel.close 403 queue.declare ACCESS_REFUSED - configure access to queue 'q' in vhost '/' \
         refused for user 'anna', backend rabbit_auth_backend_ldap returned an error: \
         ldap_connect_error"
    );
}

#[test]
fn servers_are_asked_within_tls_and_checked() {
    let Some(directory) = Directory::start() else { return };
    directory.write_other_authority();
    let port = format!("port = {}\n", directory.tls.port());
    let broker = |tls: &str| {
        let settings = directory.settings(&format!("{BY_UID}{tls}"));
        // The port of TLS from the beginning is another.
        let plain = format!("port = {}\n", directory.plain.port());
        let settings =
            if tls.contains("use_ssl") { settings.replace(&plain, &port) } else { settings };
        Broker::configured(&format!("{settings}[auth]\nbackends = \"ldap\"\n"), WHY)
    };
    for tls in ["use_ssl", "use_starttls"] {
        let Some(trusting) = broker(&format!("{tls} = true\nca_file = \"{{home}}/ca.pem\"\n"))
        else {
            return;
        };
        enter(&trusting, "anna");
        let wary = broker(&format!("{tls} = true\nca_file = \"{{home}}/other.pem\"\n")).unwrap();
        assert_refused(&wary, "anna", "anna");
        wary.await_line("the authentication backend 'ldap' can't be asked");
    }
}
