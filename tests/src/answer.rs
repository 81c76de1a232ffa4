use std::fmt;

use leveret_codec::{Method, MethodId, Properties, TableLimits};

/// What a broker sent: a method with its content, or the end of the connection.
///
/// Compares with, and prints as, one line: the method's name and its fields in the order of the
/// specification, an empty text as `''`, a close as code, method to blame and text, a delivery with
/// its body at the end:
///
/// - `queue.declare-ok q 0 0`
/// - `basic.deliver t 1 '' q: body`, `basic.deliver t 2 redelivered '' q: body`
/// - `basic.get-ok 1 '' q 0: body`
/// - `basic.ack 3`, `basic.ack 3 multiple`
/// - `channel.close 404 basic.publish NOT_FOUND - no exchange 'x' in vhost '/'`
/// - `heartbeat`, `eof` (the broker closed the socket), `reset` (abruptly)
#[derive(Clone)]
pub struct Answer {
    line: String,
    method: Vec<u8>,
    properties: Vec<u8>,
    body: Vec<u8>,
    body_frames: Vec<usize>,
}

impl Answer {
    pub(crate) fn event(line: &str) -> Self {
        Self {
            line: line.to_owned(),
            method: Vec::new(),
            properties: Vec::new(),
            body: Vec::new(),
            body_frames: Vec::new(),
        }
    }

    pub(crate) fn new(
        method: Vec<u8>,
        properties: Vec<u8>,
        body: Vec<u8>,
        body_frames: Vec<usize>,
    ) -> Self {
        let decoded = Method::decode(&method).expect("a method of the protocol");
        let mut line = render(&decoded);
        if decoded.id().carries_content() {
            line.push_str(": ");
            line.push_str(&String::from_utf8_lossy(&body));
        }
        Self { line, method, properties, body, body_frames }
    }

    /// The method, where the line does not say enough.
    ///
    /// # Panics
    /// If this is no method but an event.
    #[must_use]
    pub fn method(&self) -> Method<'_> {
        Method::decode(&self.method).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    /// The properties of the message that came with the method.
    #[must_use]
    pub fn properties(&self) -> Properties<'_> {
        Properties::parse(&self.properties, &TableLimits::ACCEPTED).expect("sound properties")
    }

    /// The properties as they came, flags included.
    #[must_use]
    pub fn raw_properties(&self) -> &[u8] {
        &self.properties
    }

    /// The body of the message that came with the method.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The sizes of the pieces the body came in.
    #[must_use]
    pub fn body_frames(&self) -> &[usize] {
        &self.body_frames
    }

    /// The number of a delivery, or of a publish that is confirmed.
    ///
    /// # Panics
    /// If this is neither.
    #[must_use]
    pub fn delivery_tag(&self) -> u64 {
        match self.method() {
            Method::BasicDeliver(deliver) => deliver.delivery_tag,
            Method::BasicGetOk(get_ok) => get_ok.delivery_tag,
            Method::BasicAck(ack) => ack.delivery_tag,
            Method::BasicNack(nack) => nack.delivery_tag,
            _ => panic!("no delivery tag: {self:?}"),
        }
    }

    /// The queue's name in a `queue.declare-ok`.
    ///
    /// # Panics
    /// If this is something else.
    #[must_use]
    pub fn queue(&self) -> &str {
        match self.method() {
            Method::QueueDeclareOk(ok) => ok.queue,
            _ => panic!("no queue.declare-ok: {self:?}"),
        }
    }

    /// Whether the line starts like this.
    #[must_use]
    pub fn starts_with(&self, start: &str) -> bool {
        self.line.starts_with(start)
    }

    /// Whether no more will come on the connection: its close, or the end of the stream.
    #[must_use]
    pub fn ends_connection(&self) -> bool {
        self.is_end() || self.line.starts_with("connection.close ")
    }

    pub(crate) fn is_end(&self) -> bool {
        matches!(self.line.as_str(), "eof" | "reset")
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line.fmt(f)
    }
}

impl PartialEq<&str> for Answer {
    fn eq(&self, line: &&str) -> bool {
        self.line == *line
    }
}

impl PartialEq<String> for Answer {
    fn eq(&self, line: &String) -> bool {
        self.line == *line
    }
}

fn render(method: &Method<'_>) -> String {
    let fields = match *method {
        Method::ConnectionStart(start) => {
            let mechanisms = String::from_utf8_lossy(start.mechanisms);
            let locales = String::from_utf8_lossy(start.locales);
            format!("{} {} {mechanisms} {locales}", start.version_major, start.version_minor)
        }
        Method::ConnectionTune(tune) => {
            format!("{} {} {}", tune.channel_max, tune.frame_max, tune.heartbeat)
        }
        Method::ConnectionClose(close) => {
            let blamed = MethodId { class: close.class_id, method: close.method_id };
            format!("{} {blamed} {}", close.reply_code, close.reply_text)
        }
        Method::ChannelClose(close) => {
            let blamed = MethodId { class: close.class_id, method: close.method_id };
            format!("{} {blamed} {}", close.reply_code, close.reply_text)
        }
        Method::ConnectionBlocked(blocked) => blocked.reason.to_owned(),
        Method::ChannelFlowOk(flow) => flow.active.to_string(),
        Method::AccessRequestOk(ok) => ok.ticket.to_string(),
        Method::QueueDeclareOk(ok) => {
            format!("{} {} {}", shown(ok.queue), ok.message_count, ok.consumer_count)
        }
        Method::QueuePurgeOk(ok) => ok.message_count.to_string(),
        Method::QueueDeleteOk(ok) => ok.message_count.to_string(),
        Method::BasicConsumeOk(ok) => shown(ok.consumer_tag).to_owned(),
        Method::BasicCancel(cancel) => {
            format!("{}{}", shown(cancel.consumer_tag), flag(cancel.nowait, " nowait"))
        }
        Method::BasicCancelOk(ok) => shown(ok.consumer_tag).to_owned(),
        Method::BasicReturn(returned) => {
            let (exchange, key) = (shown(returned.exchange), shown(returned.routing_key));
            format!("{} {} {exchange} {key}", returned.reply_code, returned.reply_text)
        }
        Method::BasicDeliver(deliver) => {
            let (exchange, key) = (shown(deliver.exchange), shown(deliver.routing_key));
            let redelivered = flag(deliver.redelivered, "redelivered ");
            let tag = shown(deliver.consumer_tag);
            format!("{tag} {} {redelivered}{exchange} {key}", deliver.delivery_tag)
        }
        Method::BasicGetOk(ok) => {
            let (exchange, key) = (shown(ok.exchange), shown(ok.routing_key));
            let redelivered = flag(ok.redelivered, "redelivered ");
            format!("{} {redelivered}{exchange} {key} {}", ok.delivery_tag, ok.message_count)
        }
        Method::BasicAck(ack) => {
            format!("{}{}", ack.delivery_tag, flag(ack.multiple, " multiple"))
        }
        Method::BasicNack(nack) => {
            let requeue = flag(nack.requeue, " requeue");
            format!("{}{}{requeue}", nack.delivery_tag, flag(nack.multiple, " multiple"))
        }
        _ => return method.id().to_string(),
    };
    format!("{} {fields}", method.id())
}

fn shown(text: &str) -> &str {
    if text.is_empty() { "''" } else { text }
}

fn flag(is_set: bool, text: &'static str) -> &'static str {
    if is_set { text } else { "" }
}
