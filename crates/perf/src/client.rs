//! A blocking AMQP client with one channel and nothing between its caller and the socket.

mod handshake;
mod inbox;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use leveret_codec::{FrameKind, Method, MethodId, channel, connection, split};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;

pub(crate) use self::handshake::Product;
use self::inbox::Inbox;
use crate::clock::Nanos;
use crate::error::ClientError;
use crate::target::Target;

/// The channel everything happens on.
pub(crate) const CHANNEL: u16 = 1;

/// How long a broker may take to answer or to read.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A connection that is open.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    inbox: Inbox,
    outbox: Vec<u8>,
    frame_max: u32,
    product: Product,
}

/// Whom to connect to and as what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Login<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) target: &'a Target,
    /// What the broker shows as the connection's name.
    pub(crate) name: &'a str,
}

impl Client {
    /// Connects, logs in and opens the vhost; no channel yet. No heartbeats.
    ///
    /// `read_bytes` is the size of the buffer the socket is read into; the frames the broker may
    /// send are limited to what fits.
    pub(crate) fn connect(login: &Login<'_>, read_bytes: usize) -> Result<Self, ClientError> {
        const DURING: &str = "connecting";
        let stream = TcpStream::connect_timeout(&login.address, PATIENCE);
        let stream = stream.map_err(|source| ClientError::io(DURING, source))?;
        let prepare = || {
            stream.set_nodelay(true)?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.set_read_timeout(Some(PATIENCE))
        };
        prepare().map_err(|source| ClientError::io(DURING, source))?;
        let mut client = Self::new(stream, read_bytes);
        client.shake_hands(login)?;
        Ok(client)
    }

    /// The other end of a connection, from after the protocol header on.
    pub(crate) fn accepted(stream: TcpStream) -> Self {
        Self::new(stream, handshake::FRAME_MAX_MIN as usize)
    }

    fn new(stream: TcpStream, read_bytes: usize) -> Self {
        Self {
            stream,
            inbox: Inbox::new(read_bytes),
            outbox: Vec::new(),
            frame_max: handshake::FRAME_MAX_MIN,
            product: Product::default(),
        }
    }

    /// Opens [`CHANNEL`].
    pub(crate) fn open_channel(&mut self) -> Result<(), ClientError> {
        self.send(|out| channel::Open {}.encode_frame(CHANNEL, out))?;
        self.expect(channel::OpenOk::ID, |_| ())
    }

    /// The largest frame either side may send.
    pub(crate) fn frame_max(&self) -> u32 {
        self.frame_max
    }

    /// What the broker says it is.
    pub(crate) fn product(&self) -> &Product {
        &self.product
    }

    /// Writes what `encode` puts into the buffer it is given.
    pub(crate) fn send(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), ClientError> {
        self.outbox.clear();
        encode(&mut self.outbox);
        self.stream.write_all(&self.outbox).map_err(|source| ClientError::io("writing", source))
    }

    /// Writes bytes that are frames already.
    #[inline]
    pub(crate) fn send_bytes(&mut self, frames: &[u8]) -> Result<(), ClientError> {
        self.stream.write_all(frames).map_err(|source| self.reason("writing", source))
    }

    /// Waits for a method and hands it to `read`. Other methods and contents are passed over, but a
    /// close is an error.
    pub(crate) fn expect<T>(
        &mut self,
        wanted: MethodId,
        read: impl FnOnce(&Method<'_>) -> T,
    ) -> Result<T, ClientError> {
        loop {
            let Some((frame, used)) = split(self.inbox.unread(), self.frame_max)? else {
                self.fill(wanted.name().unwrap_or("waiting"))?;
                continue;
            };
            if frame.kind == FrameKind::Method {
                let method = Method::decode(frame.payload)?;
                if method.id() == wanted {
                    let answer = read(&method);
                    self.inbox.consume(used);
                    return Ok(answer);
                }
                refuse_close(&method)?;
            }
            self.inbox.consume(used);
        }
    }

    /// Bytes read but not consumed.
    #[inline]
    pub(crate) fn unread(&self) -> &[u8] {
        self.inbox.unread()
    }

    /// Drops the first `count` unread bytes.
    #[inline]
    pub(crate) fn consume(&mut self, count: usize) {
        self.inbox.consume(count);
    }

    /// Reads once, waiting for bytes as long as the read timeout allows.
    #[inline]
    pub(crate) fn fill(&mut self, during: &'static str) -> Result<(), ClientError> {
        self.inbox.fill(&mut self.stream).map_err(|source| ClientError::io(during, source))
    }

    /// How long [`fill`](Self::fill) waits from now on.
    pub(crate) fn set_read_timeout(&self, timeout: Duration) -> Result<(), ClientError> {
        let set = self.stream.set_read_timeout(Some(timeout));
        set.map_err(|source| ClientError::io("setting a timeout", source))
    }

    /// Whether there is something to read within `timeout`, to the nanosecond (a socket's read
    /// timeout counts in the kernel's ticks).
    pub(crate) fn wait_readable(&self, timeout: Nanos) -> Result<bool, ClientError> {
        let timeout = timespec(timeout);
        let mut sockets = [PollFd::new(&self.stream, PollFlags::IN)];
        match poll(&mut sockets, Some(&timeout)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(ClientError::io("waiting", error.into())),
        }
    }

    /// Closes the connection in order.
    pub(crate) fn close(mut self) -> Result<(), ClientError> {
        self.say_goodbye()
    }

    /// Closes the connection in order, and leaves no trace of it in the kernel: thousands of
    /// connections a second would use up the ports otherwise.
    pub(crate) fn close_without_trace(mut self) -> Result<(), ClientError> {
        self.say_goodbye()?;
        let set = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        set.map_err(|source| ClientError::io("closing", source))
    }

    fn say_goodbye(&mut self) -> Result<(), ClientError> {
        let goodbye =
            connection::Close { reply_code: 200, reply_text: "Goodbye", class_id: 0, method_id: 0 };
        self.send(|out| goodbye.encode_frame(0, out))?;
        self.expect(connection::CloseOk::ID, |_| ())
    }

    /// Keeps the connection without the memory for using it.
    pub(crate) fn into_idle(self) -> TcpStream {
        self.stream
    }

    /// Why a write failed: what the broker said before it closed the socket, if it said something.
    #[cold]
    fn reason(&mut self, during: &'static str, source: io::Error) -> ClientError {
        let is_over =
            matches!(source.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
        if is_over
            && let Err(said @ ClientError::Closed { .. }) = self.expect(MethodId::NONE, |_| ())
        {
            return said;
        }
        ClientError::io(during, source)
    }
}

/// An error if the method is the broker's way to end the channel or the connection.
pub(crate) fn refuse_close(method: &Method<'_>) -> Result<(), ClientError> {
    let (code, text) = match method {
        Method::ConnectionClose(close) => (close.reply_code, close.reply_text),
        Method::ChannelClose(close) => (close.reply_code, close.reply_text),
        Method::BasicCancel(_) => return Err(ClientError::Cancelled),
        _ => return Ok(()),
    };
    Err(ClientError::Closed { code, text: text.to_owned() })
}

fn timespec(time: Nanos) -> Timespec {
    let time = time.to_duration();
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}
