//! A client that takes messages from queues, and keeps them as they came.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use leveret_codec::{
    AmqpError, ContentHeader, FRAME_OVERHEAD, FrameKind, Method, PROTOCOL_HEADER, Properties,
    Table, TableBuilder, TableLimits, Value, basic, channel, connection, queue, split,
};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::source::AmqpPlace;

/// The channel everything happens on.
const CHANNEL: u16 = 1;
const FRAME_MAX: u32 = 131_072;
/// How long the broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 64 * 1024;

/// Why it did not go on.
#[derive(Debug, Error)]
pub(super) enum AmqpFailure {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no answer within {} s", PATIENCE.as_secs())]
    TimedOut,
    #[error("what the broker sent makes no sense: {0}")]
    Nonsense(String),
    /// The connection is over.
    #[error("{0}")]
    Closed(String),
    /// The channel is over.
    #[error("{0}")]
    Refused(String),
    #[error("the queue was deleted")]
    Cancelled,
}

impl From<AmqpError> for AmqpFailure {
    fn from(error: AmqpError) -> Self {
        Self::Nonsense(error.reply_text())
    }
}

/// What the broker sent.
#[derive(Debug)]
pub(super) enum Event {
    Message(Arrived),
    /// There was no message to get.
    Empty,
    /// Messages that are ready in the queue that was asked for.
    Ready(u32),
    /// Some other answer.
    Done,
}

/// A message as it came: all of its frames.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) frames: Bytes,
    pub(super) tag: u64,
    /// In the stream it came from.
    pub(super) offset: Option<u64>,
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A connection to a vhost.
pub(super) struct Connection {
    stream: Box<dyn Wire>,
    inbox: BytesMut,
    /// Where in the inbox the next frame begins; before it are those of a message that is not whole.
    at: usize,
    /// That message.
    arriving: Option<Arriving>,
    frame_max: u32,
    is_open: bool,
    /// The broker has closed the channel and hasn't been told that this was heard.
    owes_close_ok: bool,
}

#[derive(Clone, Copy, Debug)]
struct Arriving {
    tag: u64,
    offset: Option<u64>,
    /// Bytes of the body that haven't come, once the header has.
    missing: Option<u64>,
}

impl Connection {
    /// Connects and logs in.
    pub(super) async fn open(
        place: &AmqpPlace,
        user: &str,
        password: &str,
        vhost: &str,
    ) -> Result<Self, AmqpFailure> {
        let opened = timeout(PATIENCE, Self::shake_hands(place, user, password, vhost)).await;
        opened.map_err(|_| AmqpFailure::TimedOut)?
    }

    async fn shake_hands(
        place: &AmqpPlace,
        user: &str,
        password: &str,
        vhost: &str,
    ) -> Result<Self, AmqpFailure> {
        let stream = TcpStream::connect((place.host.as_str(), place.port)).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Wire> = match &place.tls {
            None => Box::new(stream),
            Some(tls) => {
                let name = ServerName::try_from(place.host.clone());
                let name = name.map_err(|error| AmqpFailure::Nonsense(error.to_string()))?;
                Box::new(TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?)
            }
        };
        let mut new = Self {
            stream,
            inbox: BytesMut::new(),
            at: 0,
            arriving: None,
            frame_max: FRAME_MAX,
            is_open: false,
            owes_close_ok: false,
        };
        new.stream.write_all(&PROTOCOL_HEADER).await?;
        new.event().await?;
        let response = format!("\0{user}\0{password}");
        let capabilities = TableBuilder::new()
            .put("authentication_failure_close", true)
            .put("consumer_cancel_notify", true)
            .build();
        let properties = TableBuilder::new()
            .put("capabilities", capabilities.as_table())
            .put("connection_name", Value::text("leveret migrate"))
            .put("product", Value::text("leveret"))
            .build();
        let start_ok = connection::StartOk {
            client_properties: properties.as_table(),
            mechanism: "PLAIN",
            response: response.as_bytes(),
            locale: "en_US",
        };
        new.send(|out| start_ok.encode_frame(0, out)).await?;
        // Notes the frame-max.
        new.event().await?;
        let tune_ok = connection::TuneOk { channel_max: 1, frame_max: new.frame_max, heartbeat: 0 };
        new.send(|out| {
            tune_ok.encode_frame(0, out);
            connection::Open { virtual_host: vhost }.encode_frame(0, out);
        })
        .await?;
        new.event().await?;
        Ok(new)
    }

    /// Messages that are ready in a queue.
    pub(super) async fn ready(&mut self, name: &str) -> Result<u32, AmqpFailure> {
        self.ask_ready(name).await?;
        loop {
            if let Event::Ready(count) = self.answer().await? {
                return Ok(count);
            }
        }
    }

    /// Asks how many are ready, to be told in an [`Event::Ready`].
    pub(super) async fn ask_ready(&mut self, name: &str) -> Result<(), AmqpFailure> {
        self.open_channel().await?;
        let declare = queue::Declare {
            queue: name,
            passive: true,
            durable: false,
            exclusive: false,
            auto_delete: false,
            nowait: false,
            arguments: Table::default(),
        };
        self.send(|out| declare.encode_frame(CHANNEL, out)).await
    }

    /// Has the messages of a queue sent, so many at a time; those of a stream from an offset on.
    pub(super) async fn consume(
        &mut self,
        name: &str,
        at_once: u16,
        offset: Option<Offset>,
    ) -> Result<(), AmqpFailure> {
        self.open_channel().await?;
        let qos = basic::Qos { prefetch_size: 0, prefetch_count: at_once, global: false };
        self.send(|out| qos.encode_frame(CHANNEL, out)).await?;
        self.answer().await?;
        let arguments = TableBuilder::new();
        let arguments = match offset {
            None => arguments,
            Some(Offset::First) => arguments.put("x-stream-offset", Value::text("first")),
            Some(Offset::Number(offset)) => {
                let offset = i64::try_from(offset).unwrap_or(i64::MAX);
                arguments.put("x-stream-offset", Value::I64(offset))
            }
        };
        let arguments = arguments.build();
        let consume = basic::Consume {
            queue: name,
            consumer_tag: "m",
            no_local: false,
            no_ack: false,
            exclusive: false,
            nowait: false,
            arguments: arguments.as_table(),
        };
        self.send(|out| consume.encode_frame(CHANNEL, out)).await?;
        // Messages come behind it.
        self.answer().await.map(drop)
    }

    /// Asks for messages one by one; each is answered with a message, or with [`Event::Empty`].
    pub(super) async fn get(&mut self, name: &str, count: usize) -> Result<(), AmqpFailure> {
        self.open_channel().await?;
        let get = basic::Get { queue: name, no_ack: false };
        self.send(|out| (0..count).for_each(|_| get.encode_frame(CHANNEL, out))).await
    }

    /// Gives up everything up to a message.
    pub(super) async fn ack_through(&mut self, tag: u64) -> Result<(), AmqpFailure> {
        let ack = basic::Ack { delivery_tag: tag, multiple: true };
        self.send(|out| ack.encode_frame(CHANNEL, out)).await
    }

    async fn open_channel(&mut self) -> Result<(), AmqpFailure> {
        if self.is_open {
            return Ok(());
        }
        let owes_close_ok = std::mem::take(&mut self.owes_close_ok);
        self.send(|out| {
            if owes_close_ok {
                channel::CloseOk {}.encode_frame(CHANNEL, out);
            }
            channel::Open {}.encode_frame(CHANNEL, out);
        })
        .await?;
        self.answer().await?;
        self.is_open = true;
        Ok(())
    }

    /// Closes the channel, behind everything that was acknowledged. Messages that weren't go back.
    pub(super) async fn close_channel(&mut self) -> Result<(), AmqpFailure> {
        if !self.is_open {
            return Ok(());
        }
        let close = channel::Close { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 };
        self.send(|out| close.encode_frame(CHANNEL, out)).await?;
        while self.is_open {
            // Messages that were on their way.
            self.answer().await?;
        }
        Ok(())
    }

    pub(super) async fn close(mut self) -> Result<(), AmqpFailure> {
        let close =
            connection::Close { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 };
        self.send(|out| close.encode_frame(0, out)).await?;
        let closed = async {
            loop {
                match self.event().await {
                    Ok(_) => {}
                    Err(AmqpFailure::Closed(_)) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        };
        timeout(PATIENCE, closed).await.map_err(|_| AmqpFailure::TimedOut)?
    }

    /// What comes next, soon.
    pub(super) async fn answer(&mut self) -> Result<Event, AmqpFailure> {
        timeout(PATIENCE, self.event()).await.map_err(|_| AmqpFailure::TimedOut)?
    }

    /// What comes next. Nothing is lost when it isn't waited for.
    pub(super) async fn event(&mut self) -> Result<Event, AmqpFailure> {
        loop {
            if let Some(event) = self.parse()? {
                return Ok(event);
            }
            self.inbox.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.inbox).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// What the inbox begins with, if all of it is there.
    fn parse(&mut self) -> Result<Option<Event>, AmqpFailure> {
        loop {
            let unread = self.inbox.get(self.at..).unwrap_or_default();
            let Some((frame, used)) = split(unread, self.frame_max)? else { return Ok(None) };
            let out_of_place = || AmqpFailure::Nonsense("a frame out of its place".to_owned());
            match (frame.kind, self.arriving) {
                (FrameKind::Heartbeat, None) => {
                    self.skip(used);
                    continue;
                }
                (FrameKind::Method, None) => {
                    let heard = Heard::of(&Method::decode(frame.payload)?)?;
                    match heard {
                        Heard::Message(tag) => {
                            self.arriving = Some(Arriving { tag, offset: None, missing: None });
                            self.at += used;
                            continue;
                        }
                        Heard::Tune(offered) => {
                            self.skip(used);
                            let offered = if offered == 0 { FRAME_MAX } else { offered };
                            self.frame_max = FRAME_MAX.min(offered);
                            return Ok(Some(Event::Done));
                        }
                        Heard::ChannelClosed => {
                            self.skip(used);
                            self.is_open = false;
                            return Ok(Some(Event::Done));
                        }
                        Heard::Event(event) => {
                            self.skip(used);
                            return Ok(Some(event));
                        }
                        Heard::Refused(why) => {
                            self.skip(used);
                            (self.is_open, self.owes_close_ok) = (false, true);
                            return Err(AmqpFailure::Refused(why));
                        }
                    }
                }
                (FrameKind::Header, Some(Arriving { tag, missing: None, .. })) => {
                    let header = ContentHeader::decode(frame.payload)?;
                    let offset = offset(header.properties)?;
                    let missing = Some(header.body_size);
                    self.arriving = Some(Arriving { tag, offset, missing });
                }
                (FrameKind::Body, Some(Arriving { tag, offset, missing: Some(missing) })) => {
                    let missing = missing.checked_sub(frame.payload.len() as u64);
                    let missing = Some(missing.ok_or_else(out_of_place)?);
                    self.arriving = Some(Arriving { tag, offset, missing });
                }
                _ => return Err(out_of_place()),
            }
            self.at += used;
            if let Some(Arriving { tag, offset, missing: Some(0) }) = self.arriving {
                self.arriving = None;
                let frames = self.inbox.split_to(self.at).freeze();
                self.at = 0;
                return Ok(Some(Event::Message(Arrived { frames, tag, offset })));
            }
        }
    }

    /// Only while no message is arriving.
    fn skip(&mut self, used: usize) {
        let _ = self.inbox.split_to(used);
    }

    async fn send(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), AmqpFailure> {
        let mut out = Vec::with_capacity(FRAME_OVERHEAD);
        encode(&mut out);
        let written = timeout(PATIENCE, self.stream.write_all(&out)).await;
        Ok(written.map_err(|_| AmqpFailure::TimedOut)??)
    }
}

/// Where in a stream to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offset {
    First,
    Number(u64),
}

/// A method, as far as it matters.
enum Heard {
    Message(u64),
    Tune(u32),
    ChannelClosed,
    Event(Event),
    Refused(String),
}

impl Heard {
    fn of(method: &Method<'_>) -> Result<Self, AmqpFailure> {
        Ok(match method {
            Method::BasicDeliver(deliver) => Self::Message(deliver.delivery_tag),
            Method::BasicGetOk(got) => Self::Message(got.delivery_tag),
            Method::BasicGetEmpty(_) => Self::Event(Event::Empty),
            Method::QueueDeclareOk(declared) => Self::Event(Event::Ready(declared.message_count)),
            Method::ConnectionTune(tune) => Self::Tune(tune.frame_max),
            Method::ChannelCloseOk(_) => Self::ChannelClosed,
            Method::ChannelClose(close) => Self::Refused(close.reply_text.to_owned()),
            Method::BasicCancel(_) => return Err(AmqpFailure::Cancelled),
            Method::ConnectionClose(close) => {
                return Err(AmqpFailure::Closed(close.reply_text.to_owned()));
            }
            Method::ConnectionCloseOk(_) => return Err(AmqpFailure::Closed("closed".to_owned())),
            _ => Self::Event(Event::Done),
        })
    }
}

/// The offset of a message that came from a stream.
fn offset(properties: &[u8]) -> Result<Option<u64>, AmqpFailure> {
    let properties = Properties::parse(properties, &TableLimits::ACCEPTED)?;
    let headers = properties.headers.unwrap_or_default();
    let offset = headers.get("x-stream-offset").and_then(|value| value.as_integer());
    Ok(offset.and_then(|offset| u64::try_from(offset).ok()))
}
