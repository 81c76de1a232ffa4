//! The web interface as the listener serves it.

use leveret_tests::Reply;

use crate::managed;

#[test]
fn the_page_needs_no_login_and_the_api_does() {
    let Some((_broker, api)) = managed() else { return };
    let nobody = api.with_login(None);
    let page = nobody.send("GET", "/", &[], "");
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.text.contains("<script type=\"module\" src=\"/web/app.js\"></script>"));
    let script = nobody.send("GET", "/web/app.js", &[], "");
    assert_eq!(script.status, 200);
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    for reply in [&page, &script] {
        assert_is_protected(reply);
    }
    assert_eq!(nobody.send("GET", "/api/overview", &[], "").status, 401);
}

fn assert_is_protected(reply: &Reply) {
    let policy = reply.header("content-security-policy");
    for part in ["default-src 'self'", "base-uri 'none'", "form-action 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    assert_eq!(reply.header("x-frame-options"), "DENY");
    assert_eq!(reply.header("referrer-policy"), "no-referrer");
    assert_eq!(reply.header("cache-control"), "no-cache");
}

#[test]
fn a_file_is_sent_once_and_only_what_there_is() {
    let Some((_broker, api)) = managed() else { return };
    let first = api.send("GET", "/web/app.js", &[], "");
    let etag = first.header("etag").to_owned();
    let again = api.send("GET", "/web/app.js", &[("if-none-match", &etag)], "");
    assert_eq!((again.status, again.text.as_str()), (304, ""));
    assert_eq!(again.header("etag"), etag);
    let other = api.send("GET", "/web/theme.css", &[("if-none-match", &etag)], "");
    assert_eq!((other.status, other.header("content-type")), (200, "text/css; charset=utf-8"));

    let head = api.send("HEAD", "/web/app.js", &[], "");
    assert_eq!((head.status, head.text.as_str(), head.header("etag")), (200, "", etag.as_str()));
    assert_eq!(api.send("POST", "/web/app.js", &[], "").status, 405);
    for path in ["/web", "/web/nope.js", "/web/../app.js", "/web/pages", "/app.js"] {
        assert_eq!(api.send("GET", path, &[], "").status, 404, "{path}");
    }
}
