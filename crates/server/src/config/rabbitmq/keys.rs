//! Every key of `rabbitmq.conf`, and what it means here.

use crate::config::alarms;
use crate::config::form::Form;

/// A key. A part of its name that is `*` stands for any name, and `**` at its end for any further
/// parts.
pub(in crate::config) struct Key {
    pub(in crate::config) name: &'static str,
    pub(in crate::config) meaning: Meaning,
}

/// What a key means.
#[derive(Clone, Copy)]
pub(in crate::config) enum Meaning {
    /// This setting.
    Setting(&'static str, Form),
    /// Nothing here, for this reason: a line in the log.
    Ignored(&'static str),
    /// These values are how it is anyway; others are refused.
    Only(&'static [&'static str], &'static str),
    /// It would make a difference that can't be made.
    Refused(&'static str),
    /// An address of this listener, or none.
    Listener(&'static str),
    /// One of the values of this setting.
    OneOf(&'static str),
    /// One of the values of this setting, with the last part of its name.
    Named(&'static str),
    /// The address of this listener.
    Ip(&'static str),
    /// Its port.
    Port(&'static str),
    /// A user who has to be local, or doesn't.
    LoopbackUser,
    /// A part of the limits of new vhosts, behind a name that stands for them.
    VhostLimit(&'static str),
    /// A place in the chain of backends; with `authn` or `authz` at its end, half of one.
    Backend(&'static str),
}

use Meaning::{
    Backend, Ignored, Ip, Listener, LoopbackUser, Named, OneOf, Only, Port, Refused, Setting,
    VhostLimit,
};

const fn key(name: &'static str, meaning: Meaning) -> Key {
    Key { name, meaning }
}

const fn setting(name: &'static str, setting: &'static str) -> Key {
    key(name, Setting(setting, Form::AsItIs))
}

const ERLANG: &str = "there is no Erlang here";
const ONE_NODE: &str = "there is one node";
const STORE: &str = "the store has its own settings";
const TUNING: &str = "it tunes what isn't here";
const TLS_TUNING: &str = "it tunes another implementation of TLS";
const REVOCATION: &str = "lists of revoked certificates are not read";
const ITS_NAME: &str = "a server is checked by the name it is asked under";
const ENCRYPTED_KEY: &str = "decrypt the key, and let only the broker's user read it";
const CHECKED: &str = "servers are always checked";
const NO_TOKENS: &str = "the web interface gets no tokens itself";
const NO_LIMIT: &str = "such limits are not supported";
const NO_PROTOCOL: &str = "the protocol is not spoken";
const STDERR: &str = "the log goes to standard error";
const NO_PLUGIN: &str = "the plugin is not here";

/// The keys, the most particular first where several fit.
pub(in crate::config) static KEYS: &[Key] = &[
    // Listeners
    key("listeners.tcp", Listener("listen")),
    key("listeners.tcp.*", Listener("listen")),
    key("listeners.ssl", Listener("listen_tls")),
    key("listeners.ssl.*", Listener("listen_tls")),
    key("num_acceptors.**", Ignored(TUNING)),
    key("handshake_timeout", Setting("amqp.handshake_timeout", Form::Millis)),
    key("ssl_handshake_timeout", Setting("tls.handshake_timeout", Form::Millis)),
    key("reverse_dns_lookups", Only(&["false"], "clients are shown by their addresses")),
    key("proxy_protocol", Setting("amqp.proxies", Form::NearProxies)),
    key("tcp_listen_options", Ignored(TUNING)),
    key("tcp_listen_options.**", Ignored(TUNING)),
    setting("ssl_options.certfile", "tls.cert_file"),
    setting("ssl_options.keyfile", "tls.key_file"),
    setting("ssl_options.cacertfile", "tls.ca_file"),
    setting("ssl_options.verify", "tls.verify"),
    setting("ssl_options.fail_if_no_peer_cert", "tls.require_certificate"),
    setting("ssl_options.depth", "tls.depth"),
    key("ssl_options.versions.*", OneOf("tls.versions")),
    key("ssl_options.ciphers.*", OneOf("tls.ciphers")),
    key("ssl_options.password", Refused(ENCRYPTED_KEY)),
    key("ssl_options.**", Ignored(TLS_TUNING)),
    setting("ssl_cert_login_from", "auth.certificate_user"),
    setting("ssl_cert_login_san_type", "auth.certificate_name_type"),
    setting("ssl_cert_login_san_index", "auth.certificate_name_index"),
    key("ssl_allow_poodle_attack", Ignored(TLS_TUNING)),
    key("socket_writer.**", Ignored(ERLANG)),
    // AMQP
    setting("heartbeat", "amqp.heartbeat"),
    key("frame_max", Setting("amqp.frame_max", Form::FrameMax)),
    key("initial_frame_max", Only(&["8192"], "frames before tune-ok have 8192 bytes at most")),
    key("channel_max", Setting("amqp.channel_max", Form::ChannelMax)),
    key("max_channels_per_connection", Setting("amqp.channel_max", Form::ChannelMax)),
    key("session_max_per_connection", Ignored(NO_PROTOCOL)),
    key("link_max_per_session", Ignored(NO_PROTOCOL)),
    setting("max_message_size", "amqp.max_message_size"),
    key("consumer_max_per_channel", Setting("amqp.consumer_max_per_channel", Form::OrInfinity)),
    key("max_connections", Setting("amqp.connection_max", Form::OrInfinity)),
    key("connection_max", Setting("amqp.connection_max", Form::OrInfinity)),
    key("ranch_connection_max", Ignored(TUNING)),
    key("consumer_timeout", Setting("amqp.consumer_timeout", Form::Millis)),
    key("consumer_disconnected_timeout", Ignored(ONE_NODE)),
    key("channel_max_per_node", Setting("amqp.channel_max_per_node", Form::OrInfinity)),
    key("vhost_max", Setting("amqp.vhost_max", Form::OrInfinity)),
    key("cluster_queue_limit", Setting("amqp.queue_max", Form::OrInfinity)),
    key("cluster_exchange_limit", Setting("amqp.exchange_max", Form::OrInfinity)),
    key("runtime_parameters.limits.*", Only(&["infinity"], NO_LIMIT)),
    key("default_limits.vhosts.*.*", VhostLimit("amqp.default_vhost_limits")),
    key("default_limits.**", Refused(NO_LIMIT)),
    key("default_policies.**", Refused("make operator policies in the definitions instead")),
    // Users
    setting("default_vhost", "auth.default_vhost"),
    setting("default_user", "auth.default_user"),
    setting("default_pass", "auth.default_pass"),
    key("default_user_tags.administrator", Only(&["true"], "the default user administers")),
    key("default_user_tags.*", Only(&["false"], "the default user administers")),
    key("default_permissions.*", Only(&[".*"], "the default user may do everything")),
    key("default_users.**", Refused("make users in the definitions instead")),
    key("loopback_users", LoopbackUser),
    key("loopback_users.*", LoopbackUser),
    setting("anonymous_login_user", "auth.anonymous_login_user"),
    setting("anonymous_login_pass", "auth.anonymous_login_pass"),
    key("auth_mechanisms.*", OneOf("auth.mechanisms")),
    key("auth_backends.*", Backend("auth.backends")),
    key("auth_backends.*.*", Backend("auth.backends")),
    key("http_dispatch.auth_backends.**", Refused("the HTTP API asks those of auth_backends")),
    key("http_dispatch.access_log_dir", Ignored(STDERR)),
    key("auth_ldap.servers", OneOf("auth_ldap.servers")),
    key("auth_ldap.servers.*", OneOf("auth_ldap.servers")),
    setting("auth_ldap.port", "auth_ldap.port"),
    setting("auth_ldap.use_ssl", "auth_ldap.use_ssl"),
    setting("auth_ldap.use_starttls", "auth_ldap.use_starttls"),
    key("auth_ldap.timeout", Setting("auth_ldap.timeout", Form::LongestMillis)),
    key("auth_ldap.idle_timeout", Setting("auth_ldap.idle_timeout", Form::LongestMillis)),
    setting("auth_ldap.connection_pool_size", "auth_ldap.connection_pool_size"),
    setting("auth_ldap.user_dn_pattern", "auth_ldap.user_dn_pattern"),
    setting("auth_ldap.user_bind_pattern", "auth_ldap.user_bind_pattern"),
    setting("auth_ldap.dn_lookup_attribute", "auth_ldap.dn_lookup_attribute"),
    setting("auth_ldap.dn_lookup_base", "auth_ldap.dn_lookup_base"),
    setting("auth_ldap.dn_lookup_bind", "auth_ldap.dn_lookup_bind"),
    setting("auth_ldap.dn_lookup_bind.user_dn", "auth_ldap.dn_lookup_bind_user_dn"),
    setting("auth_ldap.dn_lookup_bind.password", "auth_ldap.dn_lookup_bind_password"),
    setting("auth_ldap.other_bind", "auth_ldap.other_bind"),
    setting("auth_ldap.other_bind.user_dn", "auth_ldap.other_bind_user_dn"),
    setting("auth_ldap.other_bind.password", "auth_ldap.other_bind_password"),
    setting("auth_ldap.group_lookup_base", "auth_ldap.group_lookup_base"),
    setting("auth_ldap.queries.vhost_access", "auth_ldap.vhost_access_query"),
    setting("auth_ldap.queries.resource_access", "auth_ldap.resource_access_query"),
    setting("auth_ldap.queries.topic_access", "auth_ldap.topic_access_query"),
    setting("auth_ldap.queries.tags", "auth_ldap.tag_queries"),
    setting("auth_ldap.ssl_options.cacertfile", "auth_ldap.ca_file"),
    setting("auth_ldap.ssl_options.certfile", "auth_ldap.cert_file"),
    setting("auth_ldap.ssl_options.keyfile", "auth_ldap.key_file"),
    setting("auth_ldap.ssl_options.depth", "auth_ldap.depth"),
    key("auth_ldap.ssl_options.verify", Only(&["verify_peer"], CHECKED)),
    key("auth_ldap.ssl_options.password", Refused(ENCRYPTED_KEY)),
    key("auth_ldap.ssl_options", Ignored(TLS_TUNING)),
    key("auth_ldap.ssl_options.hostname_verification", Only(&["wildcard"], CHECKED)),
    key("auth_ldap.ssl_options.sni", Only(&["none"], ITS_NAME)),
    key("auth_ldap.ssl_options.crl_check", Only(&["false"], REVOCATION)),
    key("auth_ldap.ssl_options.**", Ignored(TLS_TUNING)),
    key("auth_ldap.ssl_hostname_verification", Only(&["wildcard"], CHECKED)),
    key("auth_ldap.log", Ignored("the log has why logins fail")),
    setting("auth_http.http_method", "auth_http.http_method"),
    setting("auth_http.user_path", "auth_http.user_path"),
    setting("auth_http.vhost_path", "auth_http.vhost_path"),
    setting("auth_http.resource_path", "auth_http.resource_path"),
    setting("auth_http.topic_path", "auth_http.topic_path"),
    key("auth_http.request_timeout", Setting("auth_http.request_timeout", Form::Millis)),
    key("auth_http.connection_timeout", Ignored("request_timeout is for connecting as well")),
    setting(
        "auth_http.authorization_failure_disclosure",
        "auth_http.authorization_failure_disclosure",
    ),
    setting("auth_http.ssl_options.cacertfile", "auth_http.ca_file"),
    setting("auth_http.ssl_options.certfile", "auth_http.cert_file"),
    setting("auth_http.ssl_options.keyfile", "auth_http.key_file"),
    setting("auth_http.ssl_options.depth", "auth_http.depth"),
    key("auth_http.ssl_options.verify", Only(&["verify_peer"], CHECKED)),
    key("auth_http.ssl_options.password", Refused(ENCRYPTED_KEY)),
    key("auth_http.ssl_options.hostname_verification", Only(&["wildcard"], CHECKED)),
    key("auth_http.ssl_options.sni", Only(&["none"], ITS_NAME)),
    key("auth_http.ssl_options.crl_check", Only(&["false"], REVOCATION)),
    key("auth_http.ssl_options.**", Ignored(TLS_TUNING)),
    setting("auth_oauth2.resource_server_id", "auth_oauth2.resource_server_id"),
    setting("auth_oauth2.scope_prefix", "auth_oauth2.scope_prefix"),
    setting("auth_oauth2.additional_scopes_key", "auth_oauth2.additional_scopes_key"),
    key("auth_oauth2.scope_aliases.*", Named("auth_oauth2.scope_aliases")),
    key(
        "auth_oauth2.scope_aliases.**",
        Refused("write auth_oauth2.scope_aliases.<alias> = <scopes>"),
    ),
    setting("auth_oauth2.scope_pattern_syntax", "auth_oauth2.scope_pattern_syntax"),
    key("auth_oauth2.preferred_username_claims.*", OneOf("auth_oauth2.preferred_username_claims")),
    setting("auth_oauth2.verify_aud", "auth_oauth2.verify_aud"),
    setting("auth_oauth2.require_exp", "auth_oauth2.require_exp"),
    key("auth_oauth2.algorithms.*", OneOf("auth_oauth2.algorithms")),
    key("auth_oauth2.signing_keys.*", Named("auth_oauth2.signing_keys")),
    setting("auth_oauth2.default_key", "auth_oauth2.default_key"),
    setting("auth_oauth2.jwks_uri", "auth_oauth2.jwks_uri"),
    setting("auth_oauth2.jwks_url", "auth_oauth2.jwks_uri"),
    setting("auth_oauth2.issuer", "auth_oauth2.issuer"),
    setting("auth_oauth2.https.cacertfile", "auth_oauth2.ca_file"),
    setting("auth_oauth2.https.depth", "auth_oauth2.depth"),
    key("auth_oauth2.https.verify", Only(&["verify_peer"], CHECKED)),
    key("auth_oauth2.https.peer_verification", Only(&["verify_peer"], CHECKED)),
    key("auth_oauth2.https.hostname_verification", Only(&["wildcard"], CHECKED)),
    key("auth_oauth2.https.crl_check", Only(&["false"], REVOCATION)),
    key("auth_oauth2.https.**", Ignored(TLS_TUNING)),
    key("auth_oauth2.token_endpoint", Ignored(NO_TOKENS)),
    key("auth_oauth2.authorization_endpoint", Ignored(NO_TOKENS)),
    key("auth_oauth2.end_session_endpoint", Ignored(NO_TOKENS)),
    key(
        "auth_oauth2.discovery_endpoint_path",
        Only(&[".well-known/openid-configuration"], "that is where it is looked for"),
    ),
    key("auth_oauth2.resource_server_type", Refused("rich authorization requests are not read")),
    key("auth_oauth2.**", Refused("there is one resource server, with one provider")),
    key("auth_cache.cached_backend", Backend("auth_cache.cached_backend")),
    key("auth_cache.cached_backend.*", Backend("auth_cache.cached_backend")),
    key("auth_cache.cache_ttl", Setting("auth_cache.cache_ttl", Form::Millis)),
    setting("auth_cache.cache_refusals", "auth_cache.cache_refusals"),
    key("auth_cache.cache_module", Ignored(TUNING)),
    key("internal_loopback.**", Ignored(TUNING)),
    setting("password_hashing_module", "auth.password_hashing"),
    key(
        "credential_validator.validation_backend",
        Only(&["rabbit_credential_validator_accept_everything"], "passwords are not judged"),
    ),
    key("credential_validator.**", Refused("passwords are not judged")),
    // Definitions
    setting("load_definitions", "load_definitions"),
    setting("management.load_definitions", "load_definitions"),
    setting("definitions.local.path", "load_definitions"),
    key(
        "definitions.import_backend",
        Only(
            &["local_filesystem", "local", "rabbit_definitions_import_local_filesystem"],
            "definitions are read from files",
        ),
    ),
    key("definitions.skip_if_unchanged", Ignored("what has not changed is always skipped")),
    key("definitions.hashing.algorithm", Ignored("what has not changed is always skipped")),
    key("definitions.**", Refused("definitions are read from files")),
    // Memory and disk
    key("vm_memory_high_watermark.relative", Setting(alarms::MEMORY, Form::Part)),
    key("vm_memory_high_watermark.absolute", Setting(alarms::MEMORY, Form::Size)),
    key("disk_free_limit.relative", Setting(alarms::DISK, Form::Part)),
    key("disk_free_limit.absolute", Setting(alarms::DISK, Form::Size)),
    key("total_memory_available_override_value", Refused("give the watermark as a size instead")),
    key("vm_memory_high_watermark_paging_ratio", Ignored(STORE)),
    key(
        "vm_memory_calculation_strategy",
        Only(&["rss", "allocated"], "memory is what the process holds"),
    ),
    key("memory_monitor_interval", Ignored(TUNING)),
    key("background_gc_enabled", Ignored(ERLANG)),
    key("background_gc_target_interval", Ignored(ERLANG)),
    // Queues
    key(
        "default_queue_type",
        Only(&["classic", "rabbit_classic_queue"], "give each vhost its default queue type"),
    ),
    key("queue_types.*.enabled", Only(&["true"], "all queue types are there")),
    key("exchange_types.*.enabled", Only(&["true"], "all exchange types are there")),
    key(
        "quorum_queue.property_equivalence.relaxed_checks_on_redeclaration",
        Only(&["false"], "declarations have to agree"),
    ),
    key("quorum_queue.**", Ignored(ONE_NODE)),
    key("classic_queue.**", Ignored(STORE)),
    key("queue_index_embed_msgs_below", Ignored(STORE)),
    key("message_store_shutdown_timeout", Ignored(STORE)),
    key("queue_master_locator", Ignored(ONE_NODE)),
    key("queue_leader_locator", Ignored(ONE_NODE)),
    key("mirroring_*", Ignored(ONE_NODE)),
    key("channel_interceptor.**", Refused(NO_PLUGIN)),
    key("message_interceptors.**", Refused(NO_PLUGIN)),
    key("vhost_restart_strategy", Ignored(ONE_NODE)),
    key("raft.**", Ignored(ONE_NODE)),
    key("metadata_store.**", Ignored(ONE_NODE)),
    key(
        "deprecated_features.permit.*",
        Only(&["true"], "nothing that is deprecated is switched off"),
    ),
    // The cluster
    setting("cluster_name", "server_properties.cluster_name"),
    setting("product.name", "server_properties.product"),
    setting("product.version", "server_properties.version"),
    key("motd_file", Ignored("there is no message of the day")),
    key("cluster_tags.*", Ignored(ONE_NODE)),
    key("node_tags.*", Ignored(ONE_NODE)),
    key("cluster_partition_handling", Ignored(ONE_NODE)),
    key("cluster_partition_handling.**", Ignored(ONE_NODE)),
    key("cluster_formation.**", Ignored(ONE_NODE)),
    key("cluster_keepalive_interval", Ignored(ONE_NODE)),
    key("prevent_startup_if_node_was_reset", Ignored(ONE_NODE)),
    key("net_ticktime", Ignored(ONE_NODE)),
    key("distribution.**", Ignored(ONE_NODE)),
    key("mnesia_table_loading_retry_*", Ignored(ONE_NODE)),
    key("default_worker_pool_size", Ignored(ERLANG)),
    key("delegate_count", Ignored(ERLANG)),
    key("hipe_compile", Ignored(ERLANG)),
    key("erlang.**", Ignored(ERLANG)),
    key("sysmon_handler.**", Ignored(ERLANG)),
    key("collect_statistics", Ignored(TUNING)),
    key("collect_statistics_interval", Ignored(TUNING)),
    key("stream.replication.**", Ignored(ONE_NODE)),
    key("stream.data_dir", Ignored(STORE)),
    key("stream.read_ahead", Ignored(STORE)),
    key("stream.read_ahead_limit", Ignored(STORE)),
    // Logging
    key("log.console", Ignored(STDERR)),
    setting("log.console.level", "log.level"),
    setting("log.console.formatter", "log.format"),
    key("log.console.**", Ignored(STDERR)),
    setting("log.default.level", "log.level"),
    key("log.file", Ignored(STDERR)),
    setting("log.file.level", "log.level"),
    key("log.file.**", Ignored(STDERR)),
    key("log.dir", Ignored(STDERR)),
    key("log.exchange", Only(&["false"], "the log is not published")),
    key("log.exchange.**", Ignored("the log is not published")),
    key("log.syslog", Only(&["false"], STDERR)),
    key("log.syslog.**", Ignored(STDERR)),
    key("log.journald", Only(&["false"], STDERR)),
    key("log.journald.**", Ignored(STDERR)),
    key("log.*.level", Ignored("there is one level for all")),
    key("log.**", Ignored(STDERR)),
    // The HTTP API and the metrics
    key("management.tcp.port", Port("management")),
    key("management.tcp.ip", Ip("management")),
    key("management.tcp.**", Ignored(TUNING)),
    key("management.listener.port", Port("management")),
    key("management.listener.ip", Ip("management")),
    key("management.listener.ssl", Only(&["false"], "use management.ssl instead")),
    key("management.listener.**", Ignored(TUNING)),
    key("management.ssl.port", Port("management_tls")),
    key("management.ssl.ip", Ip("management_tls")),
    setting("management.ssl.certfile", "tls.management.cert_file"),
    setting("management.ssl.keyfile", "tls.management.key_file"),
    setting("management.ssl.cacertfile", "tls.management.ca_file"),
    setting("management.ssl.verify", "tls.management.verify"),
    setting("management.ssl.fail_if_no_peer_cert", "tls.management.require_certificate"),
    setting("management.ssl.depth", "tls.management.depth"),
    key("management.ssl.versions.*", OneOf("tls.management.versions")),
    key("management.ssl.ciphers.*", OneOf("tls.management.ciphers")),
    key("management.ssl.password", Refused(ENCRYPTED_KEY)),
    key("management.ssl.**", Ignored(TLS_TUNING)),
    key("management.path_prefix", Refused("the API is at /api")),
    key("management.cors.allow_origins.*", OneOf("web.allowed_origins")),
    setting("management.cors.max_age", "web.preflight_max_age"),
    setting("management.csp.policy", "web.content_security_policy"),
    setting("management.hsts.policy", "web.strict_transport_security"),
    setting("management.http.max_body_size", "web.body_max"),
    key("management.headers.**", Ignored("such headers are always sent")),
    key("management.login_session_timeout", Setting("web.session_lifetime", Form::Minutes)),
    key("management.disable_basic_auth", Only(&["false"], "the login is basic")),
    key("management.oauth_enabled", Only(&["false"], NO_TOKENS)),
    key("management.oauth_**", Ignored(NO_TOKENS)),
    key("management.restrictions.**", Only(&["false"], NO_LIMIT)),
    key("management.**", Ignored(TUNING)),
    key("management_agent.**", Ignored(TUNING)),
    key("prometheus.tcp.port", Port("metrics")),
    key("prometheus.tcp.ip", Ip("metrics")),
    key("prometheus.tcp.**", Ignored(TUNING)),
    key("prometheus.ssl.port", Port("metrics_tls")),
    key("prometheus.ssl.ip", Ip("metrics_tls")),
    setting("prometheus.ssl.certfile", "tls.metrics.cert_file"),
    setting("prometheus.ssl.keyfile", "tls.metrics.key_file"),
    setting("prometheus.ssl.cacertfile", "tls.metrics.ca_file"),
    setting("prometheus.ssl.verify", "tls.metrics.verify"),
    setting("prometheus.ssl.fail_if_no_peer_cert", "tls.metrics.require_certificate"),
    setting("prometheus.ssl.depth", "tls.metrics.depth"),
    key("prometheus.ssl.versions.*", OneOf("tls.metrics.versions")),
    key("prometheus.ssl.ciphers.*", OneOf("tls.metrics.ciphers")),
    key("prometheus.ssl.password", Refused(ENCRYPTED_KEY)),
    key("prometheus.ssl.**", Ignored(TLS_TUNING)),
    key("prometheus.path", Only(&["/metrics"], "the metrics are at /metrics")),
    key(
        "prometheus.return_per_object_metrics",
        Only(&["false"], "ask for /metrics/per-object instead"),
    ),
    key("prometheus.authentication.enabled", Setting("web.metrics_login", Form::MetricsLogin)),
    key("prometheus.**", Ignored(TUNING)),
    // Other protocols and plugins
    key("mqtt.**", Ignored(NO_PROTOCOL)),
    key("stomp.**", Ignored(NO_PROTOCOL)),
    key("stream.**", Ignored(NO_PROTOCOL)),
    key("web_mqtt.**", Ignored(NO_PROTOCOL)),
    key("web_stomp.**", Ignored(NO_PROTOCOL)),
    key("amqp1_0.**", Ignored(NO_PROTOCOL)),
    key("amqp_client.**", Ignored(ERLANG)),
    key("amqp10_client.**", Ignored(ERLANG)),
    key("federation.**", Ignored(NO_PLUGIN)),
    key("shovel.**", Ignored(NO_PLUGIN)),
    key("tracing.**", Ignored(NO_PLUGIN)),
    key("event_exchange.**", Ignored(NO_PLUGIN)),
    key("trust_store.**", Ignored(NO_PLUGIN)),
    key("aws.**", Ignored(NO_PLUGIN)),
];

/// The key of this name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| fits(key.name, name))
}

fn fits(pattern: &str, name: &str) -> bool {
    let (mut wanted, mut parts) = (pattern.split('.'), name.split('.'));
    loop {
        match (wanted.next(), parts.next()) {
            (None, None) => return true,
            (Some("**"), Some(_)) | (Some("*"), Some("")) => return wanted.next().is_none(),
            (Some(one), Some(part)) => match one.split_once('*') {
                None if one == part => {}
                Some((start, "*")) if part.starts_with(start) => return wanted.next().is_none(),
                Some((start, "")) if part.starts_with(start) => {}
                _ => return false,
            },
            _ => return false,
        }
    }
}

/// How alike two names must be to suggest one for the other, from 0 to 1.
const ALIKE_MIN: f64 = 0.6;

/// The known key most like an unknown one.
pub(super) fn nearest(name: &str) -> Option<String> {
    let alike = |key: &Key| {
        let own = key.name.trim_end_matches(".**").trim_end_matches(".*");
        (strsim::normalized_damerau_levenshtein(name, own), own)
    };
    KEYS.iter()
        .map(alike)
        .filter(|(score, _)| *score >= ALIKE_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_names() {
        assert!(fits("listeners.tcp.*", "listeners.tcp.default"));
        assert!(!fits("listeners.tcp.*", "listeners.tcp"));
        assert!(!fits("listeners.tcp.*", "listeners.tcp.a.b"));
        assert!(fits("mqtt.**", "mqtt.listeners.tcp.1") && !fits("mqtt.**", "mqtt"));
        assert!(fits("mirroring_*", "mirroring_sync_batch_size"));
        assert!(fits("management.oauth_**", "management.oauth_scopes"));
        assert!(fits("log.*.level", "log.connection.level"));
    }

    #[test]
    fn every_key_is_found_by_its_own_name() {
        for key in KEYS {
            let name = key.name.replace("**", "x").replace('*', "x");
            let found = find(&name).unwrap();
            assert!(fits(found.name, &name), "{name}");
        }
    }
}
