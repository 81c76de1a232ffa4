//! The table of all endpoints: paths, methods, who may use them, and what answers.
//!
//! Paths, methods and roles are RabbitMQ 4.3's, as measured on one; below `/api/leveret/` is what
//! only Leveret has.

use std::collections::BTreeSet;

use axum::http::Method;

use crate::answer::Outcome;
use crate::api::{
    alerts, bindings, browse, channels, connections, consumers, control, dead_letters, definitions,
    exchanges, features, health, import, map, node, overview, parameters, permissions, policies,
    queues, route as route_tester, session, tail, users, vhosts,
};
use crate::call::Call;
use crate::login::Access::{
    self, Administrator, Login, Management, Monitoring, Names, Open, PolicyMaker,
    PolicyMakerInVhost, Scrape, Vhost, VisibleVhost,
};
use crate::metrics;

/// A path and what can be done there.
pub(crate) struct Route {
    /// In axum's form. `{vhost}` is looked for, and checked, before the handler.
    pub(crate) path: &'static str,
    pub(crate) endpoints: &'static [Endpoint],
}

/// A method of a path.
pub(crate) struct Endpoint {
    pub(crate) method: Verb,
    pub(crate) access: Access,
    /// Whether it is told to the audit log. What its handler records itself is not told twice.
    pub(crate) is_action: bool,
    pub(crate) handler: fn(&Call) -> Outcome,
}

/// The methods there are; GET stands for HEAD as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    Get,
    Put,
    Post,
    Delete,
}

impl Endpoint {
    /// Whether its handler looks at the body of a request.
    pub(crate) fn reads_body(&self) -> bool {
        matches!(self.method, Verb::Put | Verb::Post)
    }
}

impl Verb {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

impl Route {
    /// What answers this method.
    pub(crate) fn endpoint(&self, method: &Method) -> Option<&'static Endpoint> {
        let verb = match *method {
            Method::GET | Method::HEAD => Verb::Get,
            Method::PUT => Verb::Put,
            Method::POST => Verb::Post,
            Method::DELETE => Verb::Delete,
            _ => return None,
        };
        self.endpoints.iter().find(|endpoint| endpoint.method == verb)
    }

    /// The methods there are, for the header `allow`.
    pub(crate) fn allow(&self) -> String {
        let verbs: BTreeSet<Verb> = self.endpoints.iter().map(|one| one.method).collect();
        let names = verbs.iter().map(|verb| match verb {
            Verb::Get => "HEAD, GET",
            Verb::Put => "PUT",
            Verb::Post => "POST",
            Verb::Delete => "DELETE",
        });
        names.chain(["OPTIONS"]).collect::<Vec<_>>().join(", ")
    }
}

const fn route(path: &'static str, endpoints: &'static [Endpoint]) -> Route {
    Route { path, endpoints }
}

const fn get(access: Access, handler: fn(&Call) -> Outcome) -> Endpoint {
    Endpoint { method: Verb::Get, access, is_action: false, handler }
}

const fn put(access: Access, handler: fn(&Call) -> Outcome) -> Endpoint {
    Endpoint { method: Verb::Put, access, is_action: true, handler }
}

const fn post(access: Access, handler: fn(&Call) -> Outcome) -> Endpoint {
    Endpoint { method: Verb::Post, access, is_action: true, handler }
}

/// A POST that only asks, or does what clients do all the time.
const fn ask(access: Access, handler: fn(&Call) -> Outcome) -> Endpoint {
    Endpoint { method: Verb::Post, access, is_action: false, handler }
}

const fn delete(access: Access, handler: fn(&Call) -> Outcome) -> Endpoint {
    Endpoint { method: Verb::Delete, access, is_action: true, handler }
}

/// By topic, as `api/` is.
pub(crate) static ROUTES: &[Route] = &[
    route("/api/overview", &[get(Management, overview::overview)]),
    route("/api/whoami", &[get(Management, overview::whoami)]),
    route("/api/version", &[get(Open, overview::version)]),
    route("/api/extensions", &[get(Management, overview::extensions)]),
    route(
        "/api/cluster-name",
        &[get(Management, node::cluster_name), put(Administrator, parameters::put_cluster_name)],
    ),
    route("/api/nodes", &[get(Monitoring, node::list)]),
    route("/api/nodes/{node}", &[get(Monitoring, node::show)]),
    route("/api/nodes/{node}/memory", &[get(Monitoring, node::memory)]),
    route("/api/nodes/{node}/memory/relative", &[get(Monitoring, node::memory_relative)]),
    route("/api/config/effective", &[get(Administrator, node::effective_config)]),
    route(
        "/api/auth/attempts/{node}",
        &[get(Monitoring, node::auth_attempts), delete(Administrator, node::reset_auth_attempts)],
    ),
    route(
        "/api/auth/attempts/{node}/source",
        &[
            get(Monitoring, node::auth_attempts_by_source),
            delete(Administrator, node::reset_auth_attempts),
        ],
    ),
    route("/api/reset", &[delete(Administrator, node::reset)]),
    route("/api/reset/{node}", &[delete(Administrator, node::reset)]),
    route("/api/rebalance/queues", &[post(Administrator, node::rebalance)]),
    // Connections
    route("/api/connections", &[get(Management, connections::list)]),
    route(
        "/api/connections/{connection}",
        &[get(Management, connections::show), delete(Management, connections::close)],
    ),
    route("/api/connections/{connection}/channels", &[get(Management, channels::of_connection)]),
    route(
        "/api/connections/username/{user}",
        &[get(Monitoring, connections::of_user), delete(Administrator, connections::close_of_user)],
    ),
    route("/api/vhosts/{vhost}/connections", &[get(Vhost, connections::list)]),
    route("/api/channels", &[get(Management, channels::list)]),
    route("/api/channels/{channel}", &[get(Management, channels::show)]),
    route("/api/vhosts/{vhost}/channels", &[get(Vhost, channels::list)]),
    // Exchanges
    route("/api/exchanges", &[get(Management, exchanges::list)]),
    route("/api/exchanges/{vhost}", &[get(Vhost, exchanges::list)]),
    route(
        "/api/exchanges/{vhost}/{exchange}",
        &[
            get(Vhost, exchanges::show),
            put(Vhost, exchanges::put),
            delete(Vhost, exchanges::delete),
        ],
    ),
    route("/api/exchanges/{vhost}/{exchange}/publish", &[ask(Vhost, exchanges::publish)]),
    route("/api/exchanges/{vhost}/{exchange}/bindings/source", &[get(Vhost, bindings::of_source)]),
    route(
        "/api/exchanges/{vhost}/{exchange}/bindings/destination",
        &[get(Vhost, bindings::of_destination)],
    ),
    // Only Leveret's
    route(
        "/api/leveret/session",
        &[
            get(Open, session::show),
            ask(Login, session::begin),
            Endpoint { is_action: false, ..delete(Open, session::end) },
        ],
    ),
    route("/api/leveret/entry/{vhost}", &[get(Vhost, vhosts::entry)]),
    route("/api/leveret/route/{vhost}/{exchange}", &[ask(Vhost, route_tester::explain)]),
    route("/api/leveret/bindings/{vhost}/from/{exchange}", &[get(Vhost, bindings::page_of_source)]),
    route(
        "/api/leveret/bindings/{vhost}/to-exchange/{exchange}",
        &[get(Vhost, bindings::page_of_destination)],
    ),
    route("/api/leveret/bindings/{vhost}/to-queue/{queue}", &[get(Vhost, bindings::page_of_queue)]),
    route("/api/leveret/map/{vhost}", &[get(Vhost, map::show)]),
    route("/api/leveret/messages/{vhost}/{queue}", &[get(Vhost, browse::browse)]),
    route("/api/leveret/dead-letters", &[get(Management, dead_letters::list)]),
    route("/api/leveret/dead-letters/{vhost}", &[get(Vhost, dead_letters::list)]),
    route("/api/leveret/replays", &[get(Management, dead_letters::replays)]),
    route(
        "/api/leveret/replays/{id}",
        &[
            get(Management, dead_letters::show_replay),
            delete(Management, dead_letters::cancel_replay),
        ],
    ),
    route("/api/leveret/replays/{vhost}/{queue}", &[post(Vhost, dead_letters::replay)]),
    route("/api/leveret/tail/{vhost}/queue/{queue}", &[get(Vhost, tail::of_queue)]),
    route("/api/leveret/tail/{vhost}/exchange/{exchange}", &[get(Monitoring, tail::of_exchange)]),
    route("/api/leveret/alerts", &[get(Monitoring, alerts::show)]),
    route(
        "/api/leveret/silences",
        &[get(Monitoring, alerts::silences), post(Administrator, alerts::silence)],
    ),
    route("/api/leveret/silences/{id}", &[delete(Administrator, alerts::end_silence)]),
    // Queues
    route("/api/queues", &[get(Management, queues::list)]),
    route("/api/queues/detailed", &[get(Management, queues::list_detailed)]),
    route("/api/queues/{vhost}", &[get(Vhost, queues::list)]),
    route(
        "/api/queues/{vhost}/{queue}",
        &[get(Vhost, queues::show), put(Vhost, queues::put), delete(Vhost, queues::delete)],
    ),
    route("/api/queues/quorum/{vhost}/{queue}/status", &[get(Vhost, queues::quorum_status)]),
    route("/api/queues/{vhost}/{queue}/bindings", &[get(Vhost, bindings::of_queue)]),
    route("/api/queues/{vhost}/{queue}/contents", &[delete(Vhost, queues::purge)]),
    route("/api/queues/{vhost}/{queue}/get", &[ask(Vhost, queues::get)]),
    route("/api/queues/{vhost}/{queue}/actions", &[post(Administrator, queues::act)]),
    route("/api/consumers", &[get(Management, consumers::list)]),
    route("/api/consumers/{vhost}", &[get(VisibleVhost, consumers::list)]),
    // Bindings
    route("/api/bindings", &[get(Management, bindings::list)]),
    route("/api/bindings/{vhost}", &[get(Vhost, bindings::list)]),
    route(
        "/api/bindings/{vhost}/e/{exchange}/q/{queue}",
        &[get(Vhost, bindings::between), post(Vhost, bindings::bind)],
    ),
    route(
        "/api/bindings/{vhost}/e/{exchange}/q/{queue}/{key}",
        &[get(Vhost, bindings::show), delete(Vhost, bindings::unbind)],
    ),
    route(
        "/api/bindings/{vhost}/e/{exchange}/e/{destination}",
        &[get(Vhost, bindings::between), post(Vhost, bindings::bind)],
    ),
    route(
        "/api/bindings/{vhost}/e/{exchange}/e/{destination}/{key}",
        &[get(Vhost, bindings::show), delete(Vhost, bindings::unbind)],
    ),
    // Vhosts
    route("/api/vhosts", &[get(Management, vhosts::list)]),
    route(
        "/api/vhosts/{name}",
        &[
            get(Administrator, vhosts::show),
            put(Administrator, vhosts::put),
            delete(Administrator, vhosts::delete),
        ],
    ),
    route(
        "/api/vhosts/{name}/deletion/protection",
        &[post(Administrator, vhosts::protect), delete(Administrator, vhosts::unprotect)],
    ),
    route("/api/vhosts/{name}/start/{node}", &[post(Administrator, vhosts::start)]),
    route("/api/vhosts/{name}/permissions", &[get(Administrator, permissions::of_vhost)]),
    route(
        "/api/vhosts/{name}/topic-permissions",
        &[get(Administrator, permissions::topics_of_vhost)],
    ),
    route("/api/vhost-limits", &[get(Management, vhosts::all_limits)]),
    route("/api/vhost-limits/{vhost}", &[get(VisibleVhost, vhosts::limits)]),
    route(
        "/api/vhost-limits/{vhost}/{name}",
        &[put(Administrator, vhosts::put_limit), delete(Administrator, vhosts::delete_limit)],
    ),
    // Users
    route("/api/users", &[get(Administrator, users::list)]),
    route("/api/users/without-permissions", &[get(Administrator, users::without_permissions)]),
    route("/api/users/bulk-delete", &[post(Administrator, users::bulk_delete)]),
    route(
        "/api/users/{user}",
        &[
            get(Administrator, users::show),
            put(Administrator, users::put),
            delete(Administrator, users::delete),
        ],
    ),
    route("/api/users/{user}/permissions", &[get(Administrator, permissions::of_user)]),
    route(
        "/api/users/{user}/topic-permissions",
        &[get(Administrator, permissions::topics_of_user)],
    ),
    route("/api/user-limits", &[get(Administrator, users::all_limits)]),
    route("/api/user-limits/{user}", &[get(Monitoring, users::limits)]),
    route(
        "/api/user-limits/{user}/{name}",
        &[put(Administrator, users::put_limit), delete(Administrator, users::delete_limit)],
    ),
    route("/api/auth/hash_password/{password}", &[get(Administrator, users::hash_password)]),
    // Permissions
    route("/api/permissions", &[get(Administrator, permissions::list)]),
    route(
        "/api/permissions/{vhost}/{user}",
        &[
            get(Administrator, permissions::show),
            put(Administrator, permissions::put),
            delete(Administrator, permissions::delete),
        ],
    ),
    route("/api/topic-permissions", &[get(Administrator, permissions::list_topics)]),
    route(
        "/api/topic-permissions/{vhost}/{user}",
        &[
            get(Administrator, permissions::show_topics),
            put(Administrator, permissions::put_topic),
            delete(Administrator, permissions::delete_topics),
        ],
    ),
    route(
        "/api/topic-permissions/{vhost}/{user}/{exchange}",
        &[
            get(Administrator, permissions::show_topics),
            delete(Administrator, permissions::delete_topics),
        ],
    ),
    // Policies
    route("/api/policies", &[get(Management, policies::list)]),
    route("/api/policies/{vhost}", &[get(Vhost, policies::list)]),
    route(
        "/api/policies/{vhost}/{name}",
        &[
            get(PolicyMakerInVhost, policies::show),
            put(PolicyMakerInVhost, policies::put),
            delete(PolicyMakerInVhost, policies::delete),
        ],
    ),
    route("/api/operator-policies", &[get(Management, policies::list_operator)]),
    route("/api/operator-policies/{vhost}", &[get(Vhost, policies::list_operator)]),
    route(
        "/api/operator-policies/{vhost}/{name}",
        &[
            get(Administrator, policies::show_operator),
            put(Administrator, policies::put_operator),
            delete(Administrator, policies::delete_operator),
        ],
    ),
    // Parameters
    route("/api/parameters", &[get(PolicyMaker, parameters::list)]),
    route("/api/parameters/{component}", &[get(PolicyMaker, parameters::list)]),
    route("/api/parameters/{component}/{vhost}", &[get(PolicyMakerInVhost, parameters::list)]),
    route(
        "/api/parameters/{component}/{vhost}/{name}",
        &[
            get(PolicyMakerInVhost, parameters::show),
            put(PolicyMakerInVhost, parameters::put),
            delete(PolicyMakerInVhost, parameters::delete),
        ],
    ),
    route("/api/global-parameters", &[get(PolicyMaker, parameters::list_global)]),
    route(
        "/api/global-parameters/{name}",
        &[
            get(PolicyMaker, parameters::show_global),
            put(PolicyMaker, parameters::put_global),
            delete(PolicyMaker, parameters::delete_global),
        ],
    ),
    // Definitions
    route(
        "/api/definitions",
        &[get(Administrator, definitions::export), post(Administrator, definitions::import)],
    ),
    route(
        "/api/definitions/{vhost}",
        &[
            get(Administrator, definitions::export_vhost),
            post(Administrator, definitions::import_vhost),
        ],
    ),
    route(
        "/api/all-configuration",
        &[get(Administrator, definitions::export), post(Administrator, definitions::import)],
    ),
    // Features
    route("/api/feature-flags", &[get(Management, features::flags)]),
    route("/api/feature-flags/{name}/enable", &[put(Administrator, features::enable)]),
    route("/api/deprecated-features", &[get(Management, features::deprecated)]),
    route("/api/deprecated-features/used", &[get(Management, features::deprecated_used)]),
    // Health
    route("/health/live", &[get(Open, health::live)]),
    route("/health/ready", &[get(Open, health::ready)]),
    route("/health/alarms", &[get(Open, health::alarms)]),
    route("/api/health/checks/alarms", &[get(Management, health::alarms)]),
    route("/api/health/checks/local-alarms", &[get(Management, health::alarms)]),
    route("/api/health/checks/virtual-hosts", &[get(Management, health::ok)]),
    route("/api/health/checks/is-in-service", &[get(Open, health::ok)]),
    route("/api/health/checks/ready-to-serve-clients", &[get(Open, health::ok)]),
    route("/api/health/checks/reached-target-cluster-size", &[get(Open, health::ok)]),
    route("/api/health/checks/below-node-connection-limit", &[get(Open, health::connection_limit)]),
    route("/api/health/checks/metadata-store/initialized", &[get(Management, health::ok)]),
    route(
        "/api/health/checks/metadata-store/initialized/with-data",
        &[get(Management, health::ok)],
    ),
    route("/api/health/checks/port-listener/{port}", &[get(Management, health::port_listener)]),
    route(
        "/api/health/checks/protocol-listener/{protocol}",
        &[get(Management, health::protocol_listener)],
    ),
    route(
        "/api/health/checks/certificate-expiration/{within}/{unit}",
        &[get(Management, health::certificates)],
    ),
    route(
        "/api/health/checks/node-is-quorum-critical",
        &[get(Management, health::quorum_critical)],
    ),
    // Up to 3.13; probes still ask for it.
    route(
        "/api/health/checks/node-is-mirror-sync-critical",
        &[get(Management, health::quorum_critical)],
    ),
    route(
        "/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts",
        &[get(Management, health::ok)],
    ),
    route(
        "/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/{pattern}",
        &[get(Management, health::ok)],
    ),
    route(
        "/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}",
        &[get(VisibleVhost, health::ok)],
    ),
    route(
        "/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}/pattern/{pattern}",
        &[get(VisibleVhost, health::ok)],
    ),
    route("/api/healthchecks/node", &[get(Management, health::node)]),
    route("/api/healthchecks/node/{node}", &[get(Management, health::node)]),
    route("/api/aliveness-test/{vhost}", &[get(Vhost, health::aliveness)]),
];

/// The endpoints of the listener for metrics.
pub(crate) static METRICS_ROUTES: &[Route] = &[
    route("/metrics", &[get(Scrape, metrics::aggregated)]),
    route("/metrics/per-object", &[get(Names, metrics::per_object)]),
    route("/metrics/detailed", &[get(Names, metrics::detailed)]),
    route("/metrics/memory-breakdown", &[get(Scrape, metrics::memory)]),
    route("/health/live", &[get(Open, health::live)]),
    route("/health/ready", &[get(Open, health::ready)]),
    route("/health/alarms", &[get(Open, health::alarms)]),
];

/// The endpoints that only the control socket has.
pub(crate) static CONTROL_ROUTES: &[Route] = &[
    route("/control/stop", &[post(Administrator, control::stop)]),
    route("/control/backup", &[post(Administrator, control::back_up)]),
    route("/control/reload", &[post(Administrator, control::reload)]),
    route("/control/log-level", &[put(Administrator, control::set_log_level)]),
    route("/control/memory-watermark", &[put(Administrator, control::set_memory_watermark)]),
    route("/control/disk-free-limit", &[put(Administrator, control::set_disk_free_limit)]),
    route("/control/authenticate", &[ask(Administrator, control::authenticate)]),
    route("/control/pids", &[get(Administrator, control::pids)]),
    route("/control/close-connections", &[post(Administrator, control::close_connections)]),
    route("/control/tracing/{vhost}", &[put(Vhost, control::trace)]),
    route("/control/queues/{vhost}/{queue}", &[delete(Vhost, control::delete_queue)]),
    route("/control/definitions", &[post(Administrator, import::definitions)]),
    route(
        "/control/messages/{vhost}/{queue}",
        &[get(Vhost, import::place), ask(Vhost, import::messages)],
    ),
];
