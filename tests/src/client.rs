use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;

use leveret_codec::{
    Method, PROTOCOL_HEADER, Properties, TableBuf, Value, channel, connection, encode_content,
};

use socket2::{Domain, Socket, Type};

use crate::given::Declared;
use crate::tls::Stream;
use crate::wire::Wire;
use crate::{Answer, Request, request};

/// Who logs in how: `guest` with all capabilities into `/` by default, without heartbeats.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// The SASL mechanism.
    pub mechanism: &'a str,
    /// What the mechanism asks for.
    pub response: &'a [u8],
    /// Whether the client announces RabbitMQ's capabilities.
    pub capabilities: bool,
    /// What to answer to `connection.tune`; by default the offered limits without heartbeats.
    pub tune: Option<connection::TuneOk>,
    /// The virtual host to open.
    pub vhost: &'a str,
}

impl Default for Login<'_> {
    fn default() -> Self {
        Self {
            mechanism: "PLAIN",
            response: b"\0guest\0guest",
            capabilities: true,
            tune: None,
            vhost: "/",
        }
    }
}

/// A client connection that sends what it is told and shows all that comes. Clones share it.
#[derive(Clone)]
pub struct Connection {
    wire: Rc<RefCell<Wire>>,
}

impl Connection {
    /// Connects the socket and sends nothing.
    ///
    /// # Panics
    /// If nobody listens.
    #[must_use]
    pub fn dial(address: SocketAddr) -> Self {
        Self::try_dial(address).expect("the broker listens")
    }

    /// Connects the socket and sends nothing.
    ///
    /// # Errors
    /// If nobody listens.
    pub fn try_dial(address: SocketAddr) -> std::io::Result<Self> {
        Self::dial_noting(address, Arc::default())
    }

    /// As [`try_dial`](Self::try_dial), from another address of this machine's, such as 127.0.0.2.
    ///
    /// # Errors
    /// If nobody listens, or the address is none of this machine's.
    pub fn dial_from(source: IpAddr, address: SocketAddr) -> std::io::Result<Self> {
        let wire = Wire::on(socket_from(source, address)?, Arc::default())?;
        Ok(Self { wire: Rc::new(RefCell::new(wire)) })
    }

    pub(crate) fn dial_noting(
        address: SocketAddr,
        declared: Arc<Declared>,
    ) -> std::io::Result<Self> {
        let wire = Wire::connect(address, declared)?;
        Ok(Self { wire: Rc::new(RefCell::new(wire)) })
    }

    /// A connection within TLS.
    #[must_use]
    pub fn within(stream: Stream) -> Self {
        Self { wire: Rc::new(RefCell::new(Wire::over(stream, Arc::default()))) }
    }

    /// Sends the protocol header and takes `connection.start`.
    pub fn greet(&self) -> Answer {
        self.send_bytes(&PROTOCOL_HEADER);
        self.recv()
    }

    /// Answers `connection.start`; the next thing is `connection.tune` if the login is good.
    pub fn log_in(&self, login: &Login<'_>) -> Answer {
        let capabilities = client_capabilities();
        let properties = if login.capabilities {
            request::table([("capabilities", Value::Table(capabilities.as_table()))])
        } else {
            TableBuf::default()
        };
        self.call(&connection::StartOk {
            client_properties: properties.as_table(),
            mechanism: login.mechanism,
            response: login.response,
            locale: "en_US",
        })
    }

    /// Goes from the header to `connection.open-ok`.
    ///
    /// # Errors
    /// What the broker sent instead of the next step.
    pub fn open(&self, login: &Login<'_>) -> Result<(), Answer> {
        expect(self.greet(), "connection.start ")?;
        let answer = expect(self.log_in(login), "connection.tune ")?;
        let Method::ConnectionTune(offered) = answer.method() else { unreachable!() };
        let tune = login.tune.unwrap_or(connection::TuneOk {
            channel_max: offered.channel_max,
            frame_max: offered.frame_max,
            heartbeat: 0,
        });
        self.send(&tune);
        self.wire.borrow_mut().set_frame_max(tune.frame_max);
        expect(self.call(&connection::Open { virtual_host: login.vhost }), "connection.open-ok")?;
        Ok(())
    }

    /// Opens a channel.
    #[must_use]
    pub fn channel(&self, number: u16) -> Channel {
        let channel = self.unopened(number);
        assert_eq!(channel.call(&channel::Open {}), "channel.open-ok");
        channel
    }

    /// A channel that was not opened.
    #[must_use]
    pub fn unopened(&self, number: u16) -> Channel {
        Channel { connection: self.clone(), number }
    }

    /// Sends a method on channel 0.
    pub fn send(&self, request: &(impl Request + ?Sized)) {
        self.wire.borrow_mut().send(0, &request.method());
    }

    /// Sends a method on channel 0 and takes the next thing that comes there.
    pub fn call(&self, request: &(impl Request + ?Sized)) -> Answer {
        self.send(request);
        self.recv()
    }

    /// Sends a frame of any type, sound or not.
    pub fn send_frame(&self, kind: u8, channel: u16, payload: &[u8]) {
        let size = u32::try_from(payload.len()).unwrap();
        let mut frame = vec![kind];
        frame.extend_from_slice(&channel.to_be_bytes());
        frame.extend_from_slice(&size.to_be_bytes());
        frame.extend_from_slice(payload);
        frame.push(leveret_codec::FRAME_END);
        self.send_bytes(&frame);
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&self, bytes: &[u8]) {
        self.wire.borrow_mut().send_bytes(bytes);
    }

    /// Sends bytes as they are, as long as the broker takes them.
    ///
    /// # Errors
    /// If the broker has closed the socket or does not take them within a second.
    pub fn try_send_bytes(&self, bytes: &[u8]) -> std::io::Result<()> {
        self.wire.borrow_mut().try_send_bytes(bytes)
    }

    /// The next thing that comes on channel 0: methods, heartbeats, the end.
    pub fn recv(&self) -> Answer {
        self.wire.borrow_mut().recv_where(|channel, _| channel == 0)
    }

    /// The next thing that comes on any channel.
    pub fn recv_any(&self) -> (u16, Answer) {
        self.wire.borrow_mut().recv_any()
    }

    /// The next `len` bytes as they come, or fewer if the broker closes the socket first.
    pub fn recv_bytes(&self, len: usize) -> Vec<u8> {
        self.wire.borrow_mut().recv_bytes(len)
    }

    /// Closes the connection as a client should.
    pub fn close(self) {
        let close =
            connection::Close { reply_code: 200, reply_text: "done", class_id: 0, method_id: 0 };
        assert_eq!(self.call(&close), "connection.close-ok");
    }

    /// Stops sending, as a peer that died half-way; reading still works.
    pub fn shut_down_writing(&self) {
        self.wire.borrow().shut_down_writing();
    }

    /// The client's own address.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.wire.borrow().local_address()
    }
}

/// A channel of a [`Connection`]. Clones share it.
#[derive(Clone)]
pub struct Channel {
    connection: Connection,
    number: u16,
}

impl Channel {
    /// The connection it is on.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Sends a method.
    pub fn send(&self, request: &(impl Request + ?Sized)) {
        self.connection.wire.borrow_mut().send(self.number, &request.method());
    }

    /// Sends a method and takes the next thing that comes on the channel.
    pub fn call(&self, request: &(impl Request + ?Sized)) -> Answer {
        self.send(request);
        self.recv()
    }

    /// Publishes without properties.
    pub fn publish(&self, exchange: &str, routing_key: &str, body: impl AsRef<[u8]>) {
        self.publish_with(
            &request::publish(exchange, routing_key),
            &Properties::default(),
            body.as_ref(),
        );
    }

    /// Publishes a message that survives a restart, to a queue.
    pub fn publish_persistent(&self, queue: &str, body: impl AsRef<[u8]>) {
        let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
        self.publish_with(&request::publish("", queue), &properties, body.as_ref());
    }

    /// Publishes a message.
    pub fn publish_with(
        &self,
        publish: &leveret_codec::basic::Publish<'_>,
        properties: &Properties<'_>,
        body: &[u8],
    ) {
        let mut encoded = Vec::new();
        properties.encode(&mut encoded);
        let mut wire = self.connection.wire.borrow_mut();
        let mut out = Vec::new();
        publish.encode_frame(self.number, &mut out);
        encode_content(self.number, &encoded, body, wire.frame_max(), &mut out);
        wire.send_bytes(&out);
    }

    /// Sends a frame of any type, sound or not.
    pub fn send_frame(&self, kind: u8, payload: &[u8]) {
        self.connection.send_frame(kind, self.number, payload);
    }

    /// The next thing that comes on the channel, or the end of the connection.
    pub fn recv(&self) -> Answer {
        let number = self.number;
        self.connection.wire.borrow_mut().recv_where(|channel, answer| {
            channel == number || (channel == 0 && answer.ends_connection())
        })
    }

    /// The next `count` things that come on the channel.
    pub fn recv_many(&self, count: usize) -> Vec<Answer> {
        (0..count).map(|_| self.recv()).collect()
    }

    /// Opens the channel again after the broker has closed it.
    pub fn reopen(&self) {
        self.send(&channel::CloseOk {});
        assert_eq!(self.call(&channel::Open {}), "channel.open-ok");
    }

    /// Closes the channel as a client should.
    pub fn close(&self) {
        let close =
            channel::Close { reply_code: 200, reply_text: "done", class_id: 0, method_id: 0 };
        assert_eq!(self.call(&close), "channel.close-ok");
    }
}

/// A socket that is connected, from one of this machine's addresses.
pub(crate) fn socket_from(source: IpAddr, address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect(&address.into())?;
    Ok(socket.into())
}

fn client_capabilities() -> TableBuf {
    request::table(
        [
            "authentication_failure_close",
            "basic.nack",
            "connection.blocked",
            "consumer_cancel_notify",
            "exchange_exchange_bindings",
            "publisher_confirms",
        ]
        .map(|name| (name, Value::Bool(true))),
    )
}

fn expect(answer: Answer, start: &str) -> Result<Answer, Answer> {
    if answer.starts_with(start) { Ok(answer) } else { Err(answer) }
}
