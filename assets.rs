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
];
