//! `/api/definitions`.

use memchr::memmem::find;
use serde_json::{Map, Value};

use crate::answer::{Answer, Failure, Outcome};
use crate::call::Call;
use crate::definitions;
use crate::space::Space;

pub(crate) fn export(call: &Call) -> Outcome {
    let mut space = Space::of(call);
    let all = definitions::of_node(&call.node, &mut space)?;
    Ok(attached(call, answer(all, space)?))
}

pub(crate) fn export_vhost(call: &Call) -> Outcome {
    let mut space = Space::of(call);
    let all = definitions::of_vhost(&call.node, &call.vhost()?, &mut space)?;
    Ok(attached(call, answer(all, space)?))
}

/// They and their text are there at once for a while.
fn answer(all: Value, mut space: Space) -> Outcome {
    let text = all.to_string().into_bytes();
    space.take(text.capacity())?;
    drop(all);
    Ok(space.answer(text))
}

/// To be kept as a file, if the request names one.
fn attached(call: &Call, answer: Answer) -> Answer {
    match call.parameter("download") {
        None => answer,
        Some(name) => answer.attached_as(name),
    }
}

pub(crate) fn import(call: &Call) -> Outcome {
    let (given, tables) = (given(call)?, call.node.config().amqp.tables);
    let commit =
        definitions::import(call.broker(), &call.actor, &given, tables, call.now, &call.node.stop)?;
    Ok(Answer::done().after(commit))
}

pub(crate) fn import_vhost(call: &Call) -> Outcome {
    let vhost = call.vhost().map_err(|_| Failure::Missing("vhost_not_found".to_owned()))?;
    let (given, tables) = (given(call)?, call.node.config().amqp.tables);
    let commit = definitions::import_into(
        call.broker(),
        &call.actor,
        vhost.name(),
        &given,
        tables,
        call.now,
        &call.node.stop,
    )?;
    Ok(Answer::done().after(commit))
}

/// The definitions in the body, or in the file that a form in the body carries.
fn given(call: &Call) -> Result<Map<String, Value>, Failure> {
    let content_type = call.headers.get("content-type").and_then(|value| value.to_str().ok());
    let boundary = content_type.and_then(boundary);
    let json = match &boundary {
        None => Some(&*call.body),
        Some(boundary) => file_of_form(&call.body, boundary),
    };
    let json = json.unwrap_or_default().trim_ascii();
    if json.is_empty() {
        return Ok(Map::new());
    }
    call.body.make_room_for(json)?;
    match serde_json::from_slice(json) {
        Ok(Value::Object(definitions)) => Ok(definitions),
        _ => Err(Failure::bad_request("failed_to_parse_json")),
    }
}

/// What stands between the parts of a form.
fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|one| {
        let (name, value) = one.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then_some(value)
    });
    boundary.map(|value| value.trim().trim_matches('"').to_owned())
}

/// The content of a form's part named `file` (RFC 7578).
fn file_of_form<'a>(body: &'a [u8], boundary: &str) -> Option<&'a [u8]> {
    let delimiter = format!("--{boundary}");
    let mut rest = body;
    loop {
        let start = find(rest, delimiter.as_bytes())? + delimiter.len();
        let part = rest.get(start..)?;
        let end = find(part, delimiter.as_bytes())?;
        rest = part.get(end..)?;
        let part = part.get(..end)?;
        let head_end = find(part, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(part.get(..head_end)?);
        if head.contains("name=\"file\"") || head.contains("name=file") {
            let content = part.get(head_end + 4..)?;
            return Some(content.strip_suffix(b"\r\n").unwrap_or(content));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_form_is_found() {
        let content_type = "multipart/form-data; boundary=\"B x\"";
        assert_eq!(boundary(content_type).as_deref(), Some("B x"));
        assert_eq!(boundary("application/json; charset=utf-8"), None);
        let body = b"preamble\r\n--B\r\nContent-Disposition: form-data; name=\"vhost\"\r\n\r\nv\r\n\
            --B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"d\"\r\n\r\n{\"a\":\r\n1}\r\n\
            --B--\r\n";
        assert_eq!(file_of_form(body, "B"), Some(&b"{\"a\":\r\n1}"[..]));
        for bad in [&b""[..], b"--B", b"--B\r\n\r\n", b"--B\r\nname=\"file\"--B--"] {
            assert_eq!(file_of_form(bad, "B"), None);
        }
    }
}
