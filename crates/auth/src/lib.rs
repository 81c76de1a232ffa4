//! Who decides about logins and permissions: the broker's own users, or somebody outside.
//!
//! [`Backends`] is the chain of RabbitMQ's `auth_backends`: each in turn is asked for a login, until
//! one lets the client in. What comes out is a [`Principal`](leveret_broker::access::Principal), which
//! also says who is asked about permissions from then on.
//!
//! Nothing is connected, and no task runs, before the first login that needs it.

mod answers;
mod backends;
mod fixed_limits;
mod http;
mod ldap;
mod login;
mod oauth2;
mod remote;
mod settings;
mod trouble;

pub use backends::Backends;
pub use fixed_limits::FIXED_LIMITS;
pub use ldap::{InvalidQuery, LdapQuery, LdapTagQueries};
pub use login::{Credentials, LoginRefused};
pub use settings::{
    Backend, CacheSettings, HttpMethod, HttpSettings, LdapBind, LdapSettings, OAuth2Settings,
    ServerTrust, Settings, Step,
};
