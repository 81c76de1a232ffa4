use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::*;

fn get(path: &str, headers: &HeaderMap) -> Response<Body> {
    let asset = ASSETS.iter().find(|asset| asset.path == path).unwrap();
    response(asset, &etag(asset.text), headers)
}

fn text(path: &str) -> &'static str {
    ASSETS.iter().find(|asset| asset.path == path).unwrap_or_else(|| panic!("no {path}")).text
}

/// What is between `before` and the next quote, each time.
fn quoted<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// The path that a module's import means.
fn resolve(module: &str, import: &str) -> String {
    let mut parts: Vec<&str> = module.split('/').collect();
    parts.pop();
    for part in import.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn every_file_is_served_and_reached_from_the_page() {
    let mut reached = BTreeSet::from(["/".to_owned()]);
    let mut open = vec!["/".to_owned()];
    while let Some(path) = open.pop() {
        let text = text(&path);
        let mut named: Vec<String> = Vec::new();
        for attribute in ["src=\"", "href=\"", "src: \""] {
            let all = quoted(text, attribute);
            named.extend(all.into_iter().filter(|it| it.starts_with('/')).map(str::to_owned));
        }
        named.extend(quoted(text, "from \"").into_iter().map(|it| resolve(&path, it)));
        for next in named {
            if reached.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    let served: BTreeSet<String> = ASSETS.iter().map(|asset| asset.path.to_owned()).collect();
    assert_eq!(reached, served);

    let mut files = BTreeSet::from(["/".to_owned()]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    let mut folders = vec![(root, "/web".to_owned())];
    while let Some((folder, path)) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = format!("{path}/{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() {
                folders.push((entry.path(), path));
            } else if path != "/web/index.html" {
                files.insert(path);
            }
        }
    }
    assert_eq!(files, served);
}

#[test]
fn every_name_that_is_imported_is_exported() {
    for asset in ASSETS.iter().filter(|asset| asset.path.ends_with(".js")) {
        for import in asset.text.split("import {").skip(1) {
            let (names, rest) = import.split_once('}').unwrap();
            let module = resolve(asset.path, quoted(rest, "from \"").first().unwrap());
            for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                let name = name.split(" as ").next().unwrap();
                let exported = ["function ", "async function ", "const ", "class "]
                    .iter()
                    .any(|kind| text(&module).contains(&format!("export {kind}{name}")));
                assert!(exported, "{} imports {name} from {module}", asset.path);
            }
        }
    }
}

#[test]
fn nothing_is_read_as_html_or_from_elsewhere() {
    for asset in ASSETS {
        let path = asset.path;
        for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!asset.text.contains(word), "{path} has {word}");
        }
        let foreign = asset.text.replace("http://www.w3.org/2000/svg", "");
        assert!(!foreign.contains("http://") && !foreign.contains("https://"), "{path}");
        let is_inline = asset.text.contains("<style") || asset.text.contains("style=\"");
        assert!(!is_inline, "the policy forbids styles in {path}");
    }
}

#[test]
fn a_file_comes_with_its_type() {
    let response = get("/", &HeaderMap::new());
    let header = |name| response.headers().get(name).unwrap().to_str().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(CONTENT_TYPE), "text/html; charset=utf-8");
    assert_eq!(header(CACHE_CONTROL), "no-cache");
}

#[test]
fn what_a_browser_has_is_not_sent_again() {
    let etag = etag(text("/web/app.js"));
    for (sent, status) in [
        (etag.clone(), StatusCode::NOT_MODIFIED),
        (format!("\"other\", W/{etag}"), StatusCode::NOT_MODIFIED),
        ("*".to_owned(), StatusCode::NOT_MODIFIED),
        ("\"other\"".to_owned(), StatusCode::OK),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, HeaderValue::try_from(sent.as_str()).unwrap());
        let response = get("/web/app.js", &headers);
        assert_eq!(response.status(), status, "{sent}");
        assert_eq!(response.headers().get(ETAG).unwrap().to_str().unwrap(), etag);
    }
}
