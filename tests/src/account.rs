use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};

use leveret_broker::Actor;
use leveret_broker::access::{Permission, PermissionKey, TopicPermission, User};
use leveret_server::Server;
use leveret_server::config::{Config, Storage};
use tokio::runtime::Runtime;

use crate::PATIENCE;

/// A user in the virtual host `/`, besides `guest`.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// Its name, which is its password too.
    pub name: &'a str,
    /// Its tag, if not empty.
    pub tag: &'a str,
    /// The patterns for configure, write and read; without them it may not enter.
    pub permissions: Option<[&'a str; 3]>,
    /// A topic exchange and the patterns for writing and reading keys there.
    pub topic: Option<[&'a str; 3]>,
}

/// A broker in this process, for what its configuration cannot set up.
pub(crate) struct Embedded {
    runtime: Runtime,
    server: Option<Server>,
    address: SocketAddr,
}

impl Embedded {
    pub(crate) fn start(accounts: &[Account<'_>]) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let config = Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            storage: Storage::Ephemeral,
            ..Config::default()
        };
        let server = runtime.block_on(Server::start(config)).expect("the broker starts");
        accounts.iter().for_each(|account| add(&server, account));
        let address = server.addresses()[0];
        Self { runtime, server: Some(server), address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// # Panics
    /// If it is being dropped.
    pub(crate) fn broker(&self) -> &leveret_broker::Broker {
        self.server.as_ref().expect("a running server").broker()
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.stop());
        }
    }
}

fn add(server: &Server, account: &Account<'_>) {
    let broker = server.broker();
    let key = PermissionKey::new(account.name, "/");
    let tags = Some(account.tag).filter(|tag| !tag.is_empty());
    let user = User::with_password(account.name, account.name.as_bytes(), tags);
    broker.administration(&Actor::program()).put_user(user.expect("a user")).expect("a user");
    if let Some([configure, write, read]) = account.permissions {
        let permission = Permission::new(configure, write, read).expect("sound patterns");
        broker
            .administration(&Actor::program())
            .put_permission(key.clone(), permission)
            .expect("a permission");
    }
    if let Some([exchange, write, read]) = account.topic {
        let permission = TopicPermission::new(exchange, write, read).expect("sound patterns");
        broker
            .administration(&Actor::program())
            .put_topic_permission(key, permission)
            .expect("a topic permission");
    }
}

/// The management API of a given broker, named by `LEVERET_TEST_MANAGEMENT`; its accounts are
/// removed in the end.
pub(crate) struct Management {
    address: SocketAddr,
    names: Vec<String>,
}

impl Management {
    pub(crate) fn of_given() -> Option<Self> {
        let url = std::env::var("LEVERET_TEST_MANAGEMENT").ok()?;
        let address = url.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
        let address = address.unwrap_or_else(|| panic!("{url} is no host:port"));
        Some(Self { address, names: Vec::new() })
    }

    pub(crate) fn add(&mut self, account: &Account<'_>) {
        let Account { name, tag, permissions, topic } = *account;
        self.names.push(name.to_owned());
        let user = format!(r#"{{"password":"{name}","tags":"{tag}"}}"#);
        self.request("PUT", &format!("/api/users/{name}"), &user);
        if let Some([configure, write, read]) = permissions.map(|all| all.map(escape)) {
            let body =
                format!(r#"{{"configure":"{configure}","write":"{write}","read":"{read}"}}"#);
            self.request("PUT", &format!("/api/permissions/%2F/{name}"), &body);
        }
        if let Some([exchange, write, read]) = topic.map(|all| all.map(escape)) {
            let body = format!(r#"{{"exchange":"{exchange}","write":"{write}","read":"{read}"}}"#);
            self.request("PUT", &format!("/api/topic-permissions/%2F/{name}"), &body);
        }
    }

    fn request(&self, method: &str, path: &str, body: &str) {
        let mut stream = TcpStream::connect(self.address).expect("the management API listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.0\r\nAuthorization: Basic {GUEST}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).expect("a socket");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("an answer");
        let status = response.split(' ').nth(1).unwrap_or_default();
        assert!(status.starts_with('2'), "{method} {path}: {response}");
    }
}

impl Drop for Management {
    fn drop(&mut self) {
        for name in &self.names {
            self.request("DELETE", &format!("/api/users/{name}"), "");
        }
    }
}

/// `guest:guest` for HTTP.
const GUEST: &str = "Z3Vlc3Q6Z3Vlc3Q=";

fn escape(pattern: &str) -> String {
    pattern.replace('\\', "\\\\")
}
