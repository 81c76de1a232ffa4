//! JSON posted to a URL.

use std::path::PathBuf;

use leveret_outbound::{CONTENT_TYPE, HttpClient, Method, Trust};
use leveret_server::config::Receiver;

use super::courier::Undelivered;
use super::notice::Telling;

/// Posts once, on a connection of its own; any 2xx is an answer.
pub(super) async fn post(
    receiver: &Receiver,
    ca_file: Option<&PathBuf>,
    telling: &Telling,
) -> Result<(), Undelivered> {
    let url = receiver.webhook.as_deref().unwrap_or_default();
    let client = HttpClient::new(Trust::new(ca_file.cloned(), None));
    let make = |request: leveret_outbound::RequestBuilder| {
        let request = request.method(Method::POST).header(CONTENT_TYPE, "application/json");
        let headers = receiver.headers.iter();
        headers.fold(request, |request, (name, value)| request.header(name, &**value))
    };
    let answer = client.send(url, make, telling.json.clone().into(), 0).await?;
    let status = answer.status;
    if status.is_success() { Ok(()) } else { Err(Undelivered::Status(status)) }
}
