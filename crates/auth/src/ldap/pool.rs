//! Connections to LDAP servers. Each is bound anew before it is used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings};
use leveret_outbound::Trust;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Unanswered;
use crate::settings::LdapSettings;

/// Whom a connection is bound as.
#[derive(Clone, Copy)]
pub(super) enum BindAs<'a> {
    Anonymous,
    User { dn: &'a str, password: &'a str },
}

/// Result codes of a bind (RFC 4511, 4.1.9).
const SUCCESS: u32 = 0;
const INVALID_DN_SYNTAX: u32 = 34;
const INVALID_CREDENTIALS: u32 = 49;

pub(super) struct Pool {
    settings: LdapSettings,
    trust: Arc<Trust>,
    idle: Arc<Idle>,
    /// One for each connection there may be.
    places: Semaphore,
}

/// Connections nobody uses.
#[derive(Default)]
struct Idle {
    connections: Mutex<Vec<IdleConnection>>,
    /// Whether a task waits to close those that have idled long enough.
    is_watched: AtomicBool,
}

struct IdleConnection {
    ldap: Ldap,
    /// Nobody was bound on it. Others are not used anonymously again.
    is_anonymous: bool,
    since: Instant,
}

/// A connection, bound; to be given back once it has answered.
pub(super) struct Lease<'a> {
    pub(super) ldap: Ldap,
    is_anonymous: bool,
    pool: &'a Pool,
    _place: SemaphorePermit<'a>,
}

impl Pool {
    pub(super) fn new(settings: &LdapSettings) -> Self {
        let tls = settings.tls.clone();
        let trust = Trust::new(tls.ca_file, tls.cert_file.zip(tls.key_file)).up_to(tls.depth);
        Self {
            trust: Arc::new(trust),
            idle: Arc::default(),
            places: Semaphore::new(settings.pool_size),
            settings: settings.clone(),
        }
    }

    /// A connection bound as somebody; `None` if the server says that these credentials are wrong.
    pub(super) async fn bind(&self, whom: BindAs<'_>) -> Result<Option<Lease<'_>>, Unanswered> {
        let place = self.places.acquire().await.map_err(|_| Unanswered::NoServer)?;
        let is_anonymous = matches!(whom, BindAs::Anonymous);
        // The server may have closed what has idled.
        if let Some(mut ldap) = self.idle.take(is_anonymous, self.settings.idle_timeout)
            && let Ok(is_bound) = bind(&mut ldap, whom).await
        {
            return Ok(is_bound.then_some(Lease { ldap, is_anonymous, pool: self, _place: place }));
        }
        let mut ldap = self.connect().await?;
        let is_bound = bind(&mut ldap, whom).await?;
        Ok(is_bound.then_some(Lease { ldap, is_anonymous, pool: self, _place: place }))
    }

    /// A new connection to the first server that there is one to.
    async fn connect(&self) -> Result<Ldap, Unanswered> {
        let mut failed = Unanswered::NoServer;
        let LdapSettings { servers, timeout, .. } = &self.settings;
        let each = *timeout / u32::try_from(servers.len().max(1)).unwrap_or(u32::MAX);
        for server in servers {
            match self.connect_to(server, each).await {
                Ok(ldap) => return Ok(ldap),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn connect_to(&self, server: &str, limit: Duration) -> Result<Ldap, Unanswered> {
        let LdapSettings { port, use_ssl, use_starttls, .. } = self.settings;
        let host = if server.contains(':') { format!("[{server}]") } else { server.to_owned() };
        let url = format!("{}://{host}:{port}", if use_ssl { "ldaps" } else { "ldap" });
        let mut settings = LdapConnSettings::new().set_conn_timeout(limit);
        if use_ssl || use_starttls {
            let trust = Arc::clone(&self.trust);
            let config = tokio::task::spawn_blocking(move || trust.client_config());
            let config = config.await.map_err(|_| Unanswered::NoServer)??;
            settings = settings.set_config(config).set_starttls(use_starttls);
        }
        let connected = LdapConnAsync::with_settings(settings, &url).await;
        let (connection, ldap) = connected
            .map_err(|error| Unanswered::Connect { server: url, error: error.to_string() })?;
        // It ends when nobody holds on to `ldap`; whoever does learns that it has ended otherwise.
        tokio::spawn(async move {
            let _ = connection.drive().await;
        });
        Ok(ldap)
    }
}

/// Whether the server accepts these credentials.
async fn bind(ldap: &mut Ldap, whom: BindAs<'_>) -> Result<bool, Unanswered> {
    let BindAs::User { dn, password } = whom else {
        return if ldap.is_closed() { Err(Unanswered::Closed) } else { Ok(true) };
    };
    let answer = ldap.simple_bind(dn, password).await.map_err(|_| Unanswered::Closed)?;
    match answer.rc {
        SUCCESS => Ok(true),
        // A name nobody can have is nobody's.
        INVALID_CREDENTIALS | INVALID_DN_SYNTAX => Ok(false),
        code => Err(Unanswered::Bind { code, text: answer.text }),
    }
}

impl Lease<'_> {
    /// Keeps the connection for others, for a while.
    pub(super) fn give_back(self) {
        let Self { ldap, is_anonymous, pool, .. } = self;
        let idle_timeout = pool.settings.idle_timeout;
        if idle_timeout.is_zero() {
            return;
        }
        let since = Instant::now();
        pool.idle.connections.lock().push(IdleConnection { ldap, is_anonymous, since });
        if !pool.idle.is_watched.swap(true, Ordering::Relaxed) {
            let idle = Arc::clone(&pool.idle);
            tokio::spawn(async move { idle.close_in_time(idle_timeout).await });
        }
    }
}

impl Idle {
    /// The one that was used last.
    fn take(&self, is_anonymous: bool, idle_timeout: Duration) -> Option<Ldap> {
        let mut connections = self.connections.lock();
        let fits = |one: &IdleConnection| {
            one.is_anonymous == is_anonymous && one.since.elapsed() < idle_timeout
        };
        let at = connections.iter().rposition(fits)?;
        Some(connections.remove(at).ldap)
    }

    async fn close_in_time(&self, idle_timeout: Duration) {
        loop {
            tokio::time::sleep(idle_timeout).await;
            let mut connections = self.connections.lock();
            connections.retain(|one| one.since.elapsed() < idle_timeout);
            if connections.is_empty() {
                self.is_watched.store(false, Ordering::Relaxed);
                return;
            }
        }
    }
}
