//! The table of the files.

/// A file of the web interface.
pub(super) struct Asset {
    /// The path it is served under.
    pub(super) path: &'static str,
    pub(super) content_type: &'static str,
    pub(super) text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file of `web/`, served under `/web/`.
macro_rules! asset {
    ($file:literal, $content_type:ident) => {
        Asset {
            path: concat!("/web/", $file),
            content_type: $content_type,
            text: include_str!(concat!("../../web/", $file)),
        }
    };
}

/// All there are: a file that isn't here isn't served.
pub(super) static ASSETS: &[Asset] = &[
    Asset { path: "/", content_type: HTML, text: include_str!("../../web/index.html") },
    asset!("admin.js", SCRIPT),
    asset!("api.js", SCRIPT),
    asset!("app.js", SCRIPT),
    asset!("bindings.js", SCRIPT),
    asset!("channels.js", SCRIPT),
    asset!("chart.js", SCRIPT),
    asset!("dialog.js", SCRIPT),
    asset!("dom.js", SCRIPT),
    asset!("form.js", SCRIPT),
    asset!("format.js", SCRIPT),
    asset!("icon.svg", SVG),
    asset!("layout.css", CSS),
    asset!("message.js", SCRIPT),
    asset!("messagepack.js", SCRIPT),
    asset!("notice.js", SCRIPT),
    asset!("pages/alerts.js", SCRIPT),
    asset!("pages/channel.js", SCRIPT),
    asset!("pages/channels.js", SCRIPT),
    asset!("pages/connection.js", SCRIPT),
    asset!("pages/connections.js", SCRIPT),
    asset!("pages/dead_letter_queue.js", SCRIPT),
    asset!("pages/dead_letters.js", SCRIPT),
    asset!("pages/definitions.js", SCRIPT),
    asset!("pages/exchange.js", SCRIPT),
    asset!("pages/exchanges.js", SCRIPT),
    asset!("pages/features.js", SCRIPT),
    asset!("pages/map.js", SCRIPT),
    asset!("pages/messages.js", SCRIPT),
    asset!("pages/overview.js", SCRIPT),
    asset!("pages/policies.js", SCRIPT),
    asset!("pages/queue.js", SCRIPT),
    asset!("pages/queues.js", SCRIPT),
    asset!("pages/route.js", SCRIPT),
    asset!("pages/tail.js", SCRIPT),
    asset!("pages/user.js", SCRIPT),
    asset!("pages/users.js", SCRIPT),
    asset!("pages/vhost.js", SCRIPT),
    asset!("pages/vhosts.js", SCRIPT),
    asset!("parts.css", CSS),
    asset!("payload.js", SCRIPT),
    asset!("publish.js", SCRIPT),
    asset!("replay.js", SCRIPT),
    asset!("router.js", SCRIPT),
    asset!("session.js", SCRIPT),
    asset!("table.js", SCRIPT),
    asset!("theme.css", CSS),
];
