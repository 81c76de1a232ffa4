//! LDAP servers, asked as RabbitMQ's `rabbitmq_auth_backend_ldap` asks them.
//!
//! Somebody logs in by a bind with their name and password. What they may do is asked by queries, on a
//! connection that is bound as them or as somebody else.

mod at_hand;
mod evaluate;
mod pool;
mod query;
mod term;
mod variables;

use std::fmt;
use std::time::Duration;

use ldap3::Scope;
use leveret_broker::access::{Decision, Question, User};
use leveret_outbound::TrustError;
use thiserror::Error;
use tokio::time::timeout;

use self::at_hand::at_hand;
pub(crate) use self::evaluate::GROUPS_MAX;
use self::evaluate::{Evaluation, equals, search};
use self::pool::{BindAs, Lease, Pool};
use self::query::Test;
pub use self::query::{InvalidQuery, LdapQuery, LdapTagQueries};
use self::variables::{Place, Variables};
use crate::login::Credentials;
use crate::settings::{LdapBind, LdapSettings};
use crate::trouble::Trouble;

pub(crate) struct LdapBackend {
    settings: LdapSettings,
    pool: Pool,
    trouble: Trouble,
}

/// Somebody who has logged in.
pub(crate) struct Entered {
    pub(crate) tags: Vec<String>,
    pub(crate) known: Known,
}

/// What is needed to ask about somebody later.
#[derive(Clone)]
pub(crate) struct Known {
    dn: String,
    /// If it is asked as them.
    password: Option<String>,
}

/// What the server says of a login.
pub(crate) enum Login {
    Allowed(Entered),
    Denied(&'static str),
}

/// Why there is no answer. The log says more than clients are told.
#[derive(Debug, Error)]
pub(crate) enum Unanswered {
    #[error("there is no server to ask")]
    NoServer,
    #[error("{0}")]
    Trust(#[from] TrustError),
    #[error("{server}: {error}")]
    Connect { server: String, error: String },
    #[error("no answer within {} ms", .0.as_millis())]
    TooSlow(Duration),
    #[error("the server has closed the connection")]
    Closed,
    #[error("the bind failed with result code {code}: {text}")]
    Bind { code: u32, text: String },
    #[error("auth_ldap.{0} is refused by the server")]
    Refused(String),
    #[error("the search failed: {0}")]
    Search(String),
    #[error("the query asks for '{0}', which there is not")]
    NoVariable(String),
    #[error("no case of the query fits")]
    NoCase,
    #[error("auth_ldap.group_lookup_base is not set")]
    NoGroupBase,
    #[error("auth_ldap.dn_lookup_base is not set")]
    NoLookupBase,
    #[error("queries are asked as the user (auth_ldap.other_bind), who has shown no password")]
    NoPassword,
}

impl Unanswered {
    /// For clients, as RabbitMQ says it: nothing of where the server is.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::TooSlow(_) => "timeout",
            Self::NoServer | Self::Trust(_) | Self::Connect { .. } | Self::Closed => {
                "ldap_connect_error"
            }
            Self::Bind { .. } | Self::Refused(_) | Self::NoPassword => "ldap_bind_error",
            Self::Search(_)
            | Self::NoVariable(_)
            | Self::NoCase
            | Self::NoGroupBase
            | Self::NoLookupBase => "ldap_evaluate_error",
        }
    }
}

impl LdapBackend {
    pub(crate) fn new(settings: LdapSettings, trouble: Trouble) -> Self {
        Self { pool: Pool::new(&settings), settings, trouble }
    }

    /// Asks whether a login is right.
    pub(crate) async fn log_in(&self, credentials: &Credentials) -> Result<Login, Unanswered> {
        let password = match credentials.password.as_deref().map(str::from_utf8) {
            None => None,
            // The server would take it for an anonymous bind, which succeeds (RFC 4513, 5.1.2).
            Some(Ok("")) => return Ok(Login::Denied("unauthenticated bind not allowed")),
            Some(Ok(password)) => Some(password),
            Some(Err(_)) => return Ok(Login::Denied("the password is no text")),
        };
        self.within_time(self.enter(&credentials.user, password)).await
    }

    /// Asks whether a user may do something.
    pub(crate) async fn decide(
        &self,
        user: &User,
        known: &Known,
        vhost: &str,
        question: &Question,
    ) -> Result<Decision, Unanswered> {
        let query = match question {
            Question::Vhost => &self.settings.vhost_access_query,
            Question::Resource { .. } => &self.settings.resource_access_query,
            Question::Topic { .. } => &self.settings.topic_access_query,
        };
        let variables = variables(user, &known.dn, vhost, question);
        let allowed = match at_hand(&query.test, &variables) {
            Some(answer) => answer?,
            None => self.within_time(self.evaluate(&query.test, &variables, known)).await?,
        };
        Ok(if allowed { Decision::Allowed } else { Decision::REFUSED })
    }

    async fn within_time<T>(
        &self,
        asked: impl Future<Output = Result<T, Unanswered>>,
    ) -> Result<T, Unanswered> {
        let limit = self.settings.timeout;
        let answer = timeout(limit, asked).await.unwrap_or(Err(Unanswered::TooSlow(limit)));
        self.trouble.note(&answer);
        answer
    }

    async fn enter(&self, user: &str, password: Option<&str>) -> Result<Login, Unanswered> {
        let dn = match password {
            None => self.dn_of(user).await?,
            Some(password) => match self.bind(user, password).await? {
                None => return Ok(Login::Denied("invalid credentials")),
                Some(dn) => dn,
            },
        };
        let is_needed = whom(&self.settings.other_bind).is_none();
        let known = Known { dn, password: password.filter(|_| is_needed).map(str::to_owned) };
        let mut variables = Variables::of_user(user);
        variables.put_dn(&known.dn);
        let mut tags = Vec::new();
        for (tag, test) in &self.settings.tag_queries.tags {
            if self.evaluate(test, &variables, &known).await? {
                tags.push(tag.clone());
            }
        }
        Ok(Login::Allowed(Entered { tags, known }))
    }

    /// Binds as the user; the name they have in the directory, if the password is right.
    async fn bind(&self, user: &str, password: &str) -> Result<Option<String>, Unanswered> {
        let variables = Variables::of_user(user);
        let by_pattern = variables.fill(&self.settings.user_dn_pattern, Place::Dn);
        let looks = self.settings.dn_lookup_attribute.is_some();
        if looks && let Some(whom) = whom(&self.settings.dn_lookup_bind) {
            let mut lease = self.bound(whom, "dn_lookup_bind").await?;
            let dn = self.look_up(&mut lease, user).await?;
            lease.give_back();
            let lease = self.pool.bind(BindAs::User { dn: &dn, password }).await?;
            return Ok(lease.map(|lease| {
                lease.give_back();
                dn
            }));
        }
        let name = match &self.settings.user_bind_pattern {
            Some(pattern) => &variables.fill(pattern, Place::Dn),
            None => &by_pattern,
        };
        let Some(mut lease) = self.pool.bind(BindAs::User { dn: name, password }).await? else {
            return Ok(None);
        };
        let dn = if looks { self.look_up(&mut lease, user).await? } else { by_pattern };
        lease.give_back();
        Ok(Some(dn))
    }

    /// The name of a user in the directory who has proved otherwise who they are.
    async fn dn_of(&self, user: &str) -> Result<String, Unanswered> {
        let whom = whom(&self.settings.other_bind).ok_or(Unanswered::NoPassword)?;
        if self.settings.dn_lookup_attribute.is_none() {
            return Ok(Variables::of_user(user).fill(&self.settings.user_dn_pattern, Place::Dn));
        }
        let mut lease = self.bound(whom, "other_bind").await?;
        let dn = self.look_up(&mut lease, user).await?;
        lease.give_back();
        Ok(dn)
    }

    /// The name of the one entry whose attribute is the user's name; what the pattern makes of it if
    /// there is none, or several, as in RabbitMQ.
    async fn look_up(&self, lease: &mut Lease<'_>, user: &str) -> Result<String, Unanswered> {
        let filled = Variables::of_user(user).fill(&self.settings.user_dn_pattern, Place::Text);
        let base = self.settings.dn_lookup_base.as_deref().ok_or(Unanswered::NoLookupBase)?;
        let attribute = self.settings.dn_lookup_attribute.as_deref().unwrap_or_default();
        let filter = equals(attribute, &filled);
        let found = search(&mut lease.ldap, base, Scope::Subtree, &filter, vec!["1.1"]).await?;
        match found.as_slice() {
            [one] => Ok(one.dn.clone()),
            others => {
                let count = others.len();
                tracing::warn!("LDAP has {count} entries for user '{}'", user.escape_debug());
                Ok(filled)
            }
        }
    }

    /// Whether a query is answered with yes, about somebody and asked as the configuration says. Not
    /// if their password is not theirs any more.
    async fn evaluate(
        &self,
        test: &Test,
        variables: &Variables,
        known: &Known,
    ) -> Result<bool, Unanswered> {
        if let Some(answer) = at_hand(test, variables) {
            return answer;
        }
        let mut lease = match whom(&self.settings.other_bind) {
            Some(whom) => self.bound(whom, "other_bind").await?,
            None => {
                let password = known.password.as_deref().ok_or(Unanswered::NoPassword)?;
                match self.pool.bind(BindAs::User { dn: &known.dn, password }).await? {
                    Some(lease) => lease,
                    None => return Ok(false),
                }
            }
        };
        let settings = &self.settings;
        let group_base = settings.group_lookup_base.as_ref().or(settings.dn_lookup_base.as_ref());
        let mut evaluation = Evaluation {
            ldap: &mut lease.ldap,
            variables,
            user_dn: &known.dn,
            group_base: group_base.map(String::as_str),
        };
        let answer = evaluation.holds(test).await?;
        lease.give_back();
        Ok(answer)
    }

    /// A connection bound as the configuration says.
    async fn bound(&self, whom: BindAs<'_>, of: &str) -> Result<Lease<'_>, Unanswered> {
        let lease = self.pool.bind(whom).await?;
        lease.ok_or_else(|| Unanswered::Refused(of.to_owned()))
    }
}

/// Whom the configuration has a connection bound as, if not as the user.
fn whom(bind: &LdapBind) -> Option<BindAs<'_>> {
    match (&bind.user_dn, &bind.password) {
        (Some(dn), Some(password)) => Some(BindAs::User { dn, password }),
        _ => bind.is_anonymous.then_some(BindAs::Anonymous),
    }
}

/// RabbitMQ's variables of a question.
fn variables(user: &User, dn: &str, vhost: &str, question: &Question) -> Variables {
    let mut variables = Variables::of_user(&user.name);
    variables.put_dn(dn);
    variables.put("vhost", vhost);
    match question {
        Question::Vhost => {}
        Question::Resource { kind, of, name } => {
            variables.put("resource", of.name());
            variables.put("name", name);
            variables.put("permission", kind.name());
        }
        Question::Topic { kind, exchange, routing_key } => {
            variables.put("resource", "topic");
            variables.put("name", exchange);
            variables.put("permission", kind.name());
            variables.put("routing_key", routing_key);
            variables.put("variable_map.username", &user.name);
            variables.put("variable_map.vhost", vhost);
        }
    }
    variables
}

/// Passwords are nobody's business.
impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").field("dn", &self.dn).finish_non_exhaustive()
    }
}

impl fmt::Debug for LdapBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LdapBackend")
            .field("servers", &self.settings.servers)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use leveret_broker::UserLimits;
    use leveret_broker::access::{PermissionKind, ResourceKind};

    use super::*;
    use crate::settings::{Backend, Settings};

    /// There is no server it could ask.
    fn backend(resources: &str) -> LdapBackend {
        let settings = LdapSettings {
            servers: Vec::new(),
            timeout: Duration::from_secs(60),
            resource_access_query: LdapQuery::parse(resources).unwrap(),
            ..Settings::default().ldap
        };
        LdapBackend::new(settings, Trouble::of(Backend::Ldap))
    }

    #[tokio::test]
    async fn nobody_is_asked_where_a_case_leads_to_a_constant() {
        let query = r#"{for, [{permission, configure, {in_group, "cn=admins"}},
                              {permission, write, {constant, false}},
                              {permission, read, {constant, true}}]}"#;
        let backend = backend(query);
        let user = User {
            name: "anna".to_owned(),
            password_hash: None,
            tags: Vec::new(),
            limits: UserLimits::default(),
        };
        let known = Known { dn: "cn=anna".to_owned(), password: Some("secret".to_owned()) };
        let ask = async |kind| {
            let of = ResourceKind::Queue;
            let question = Question::Resource { kind, of, name: "q".into() };
            let asked = backend.decide(&user, &known, "/", &question).await;
            asked.map(|decision| decision.is_allowed()).map_err(|error| error.code())
        };
        assert_eq!(ask(PermissionKind::Read).await, Ok(true));
        assert_eq!(ask(PermissionKind::Write).await, Ok(false));
        assert_eq!(ask(PermissionKind::Configure).await, Err("ldap_connect_error"));
    }
}
