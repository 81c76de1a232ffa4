use std::borrow::Cow;

use crate::{MethodId, ReplyCode, channel, connection, wire};

/// What an error closes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// The channel the method came on; the connection and its other channels go on.
    Channel,
    /// The whole connection.
    Connection,
}

/// An error a client is told about with `channel.close` or `connection.close`.
///
/// Made only by constructors named for the reply code, which fix scope and code together as the
/// specification does (soft errors close the channel, hard errors the connection).
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
#[error("{}", self.reply_text())]
pub struct AmqpError {
    scope: Scope,
    code: ReplyCode,
    method: MethodId,
    text: Cow<'static, str>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident: $scope:ident $code:ident;)+) => {
        impl AmqpError {
            $($(#[$doc])*
            pub fn $name(text: impl Into<Cow<'static, str>>) -> Self {
                Self {
                    scope: Scope::$scope,
                    code: ReplyCode::$code,
                    method: MethodId::NONE,
                    text: text.into(),
                }
            })+
        }
    };
}

constructors! {
    /// 403, closes the channel.
    access_refused: Channel ACCESS_REFUSED;
    /// 404, closes the channel.
    not_found: Channel NOT_FOUND;
    /// 405, closes the channel.
    resource_locked: Channel RESOURCE_LOCKED;
    /// 406, closes the channel.
    precondition_failed: Channel PRECONDITION_FAILED;
    /// 320, closes the connection.
    connection_forced: Connection CONNECTION_FORCED;
    /// 403 for the connection as a whole: a refused login.
    login_refused: Connection ACCESS_REFUSED;
    /// 501, closes the connection.
    frame_error: Connection FRAME_ERROR;
    /// 502, closes the connection.
    syntax_error: Connection SYNTAX_ERROR;
    /// 503, closes the connection.
    command_invalid: Connection COMMAND_INVALID;
    /// 504, closes the connection.
    channel_error: Connection CHANNEL_ERROR;
    /// 505, closes the connection.
    unexpected_frame: Connection UNEXPECTED_FRAME;
    /// 506, closes the connection.
    resource_error: Connection RESOURCE_ERROR;
    /// 530, closes the connection.
    not_allowed: Connection NOT_ALLOWED;
    /// 540, closes the connection.
    not_implemented: Connection NOT_IMPLEMENTED;
    /// 541, closes the connection.
    internal_error: Connection INTERNAL_ERROR;
}

impl AmqpError {
    /// Names the method that failed, unless one is named already: the place closest to the failure
    /// knows best.
    #[must_use]
    pub fn with_method(mut self, method: MethodId) -> Self {
        if self.method == MethodId::NONE {
            self.method = method;
        }
        self
    }

    /// The same error in other words.
    #[must_use]
    pub fn with_text(self, text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), ..self }
    }

    /// What the error closes.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The reply code.
    #[must_use]
    pub fn code(&self) -> ReplyCode {
        self.code
    }

    /// The failing method, [`MethodId::NONE`] when no method is to blame.
    #[must_use]
    pub fn method(&self) -> MethodId {
        self.method
    }

    /// The explanation without the name of the code, uncut.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text of the close method: `<NAME> - <text>`, or the name alone when there is nothing to
    /// explain. Texts over 255 bytes are cut and end in `...`, as RabbitMQ does; the cut is on a
    /// character boundary.
    #[must_use]
    pub fn reply_text(&self) -> String {
        let name = self.code.name();
        if self.text.is_empty() {
            return name.to_owned();
        }
        let text = format!("{name} - {}", self.text);
        if text.len() <= wire::SHORT_STR_MAX {
            return text;
        }
        format!("{}{ELLIPSIS}", wire::cut(&text, wire::SHORT_STR_MAX - ELLIPSIS.len()))
    }

    /// Appends the close method that reports the error: `channel.close` on `channel` for
    /// [`Scope::Channel`], `connection.close` on channel 0 for [`Scope::Connection`].
    pub fn encode_close(&self, channel: u16, out: &mut Vec<u8>) {
        let reply_code = self.code.value();
        let reply_text = &*self.reply_text();
        let MethodId { class: class_id, method: method_id } = self.method;
        match self.scope {
            Scope::Channel => channel::Close { reply_code, reply_text, class_id, method_id }
                .encode_frame(channel, out),
            Scope::Connection => connection::Close { reply_code, reply_text, class_id, method_id }
                .encode_frame(0, out),
        }
    }
}

const ELLIPSIS: &str = "...";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Method, basic, queue, split};

    #[test]
    fn reply_text_is_name_dash_text() {
        let error = AmqpError::not_found("no queue 'q' in vhost '/'");
        assert_eq!(error.reply_text(), "NOT_FOUND - no queue 'q' in vhost '/'");
        assert_eq!(error.to_string(), error.reply_text());
        assert_eq!(AmqpError::not_found("").reply_text(), "NOT_FOUND");
    }

    #[test]
    fn long_reply_text_is_cut_to_255_bytes() {
        let exact = AmqpError::not_found("x".repeat(255 - "NOT_FOUND - ".len()));
        assert_eq!(exact.reply_text().len(), 255);
        assert!(exact.reply_text().ends_with('x'));

        let cut = AmqpError::not_found("x".repeat(256)).reply_text();
        assert_eq!(cut.len(), 255);
        assert!(cut.ends_with("xxx..."));

        let umlauts = AmqpError::not_found("\u{fc}".repeat(200)).reply_text();
        assert!((252..=255).contains(&umlauts.len()), "{}", umlauts.len());
        assert!(umlauts.ends_with("\u{fc}..."));
    }

    #[test]
    fn the_first_method_named_stays() {
        let error = AmqpError::not_found("").with_method(queue::Declare::ID);
        assert_eq!(error.clone().with_method(basic::Ack::ID), error);
    }

    #[test]
    fn close_goes_where_the_scope_says() {
        let mut out = Vec::new();
        AmqpError::not_found("a").with_method(queue::Declare::ID).encode_close(3, &mut out);
        let (frame, used) = split(&out, 0).unwrap().unwrap();
        assert_eq!((frame.channel, used), (3, out.len()));
        assert_eq!(
            Method::decode(frame.payload).unwrap(),
            Method::ChannelClose(channel::Close {
                reply_code: 404,
                reply_text: "NOT_FOUND - a",
                class_id: 50,
                method_id: 10
            })
        );

        out.clear();
        AmqpError::frame_error("b").encode_close(3, &mut out);
        let (frame, _) = split(&out, 0).unwrap().unwrap();
        assert_eq!(frame.channel, 0);
        assert!(matches!(
            Method::decode(frame.payload).unwrap(),
            Method::ConnectionClose(connection::Close { reply_text: "FRAME_ERROR - b", .. })
        ));
    }
}
