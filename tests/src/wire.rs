use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use leveret_codec::{ContentHeader, FrameKind, Method, MethodId, split};

use crate::given::Declared;
use crate::tls::Stream;
use crate::{Answer, PATIENCE};

/// A socket to a broker and what was read from it, put together to answers.
pub(crate) struct Wire {
    stream: Stream,
    input: Vec<u8>,
    /// Where the bytes start that are not looked at yet.
    at: usize,
    inbox: VecDeque<(u16, Answer)>,
    incomplete: HashMap<u16, Incomplete>,
    end: Option<Answer>,
    frame_max: u32,
    declared: Arc<Declared>,
}

/// A method whose content has not come entirely.
struct Incomplete {
    method: Vec<u8>,
    properties: Vec<u8>,
    size: Option<u64>,
    body: Vec<u8>,
    body_frames: Vec<usize>,
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr, declared: Arc<Declared>) -> std::io::Result<Self> {
        Self::on(TcpStream::connect(address)?, declared)
    }

    /// On a socket that is connected.
    pub(crate) fn on(stream: TcpStream, declared: Arc<Declared>) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self::over(Stream::Plain(stream), declared))
    }

    /// Over a stream that is connected.
    pub(crate) fn over(stream: Stream, declared: Arc<Declared>) -> Self {
        Self {
            stream,
            input: Vec::new(),
            at: 0,
            inbox: VecDeque::new(),
            incomplete: HashMap::new(),
            end: None,
            frame_max: 131_072,
            declared,
        }
    }

    pub(crate) fn frame_max(&self) -> u32 {
        self.frame_max
    }

    pub(crate) fn set_frame_max(&mut self, frame_max: u32) {
        self.frame_max = frame_max;
    }

    pub(crate) fn local_address(&self) -> SocketAddr {
        self.stream.socket().local_addr().expect("a connected socket")
    }

    pub(crate) fn shut_down_writing(&self) {
        if let Err(error) = self.stream.socket().shutdown(Shutdown::Write) {
            assert_eq!(error.kind(), ErrorKind::NotConnected, "the broker was first");
        }
    }

    pub(crate) fn send(&mut self, channel: u16, method: &Method<'_>) {
        self.declared.note(method);
        let mut out = Vec::new();
        method.encode_frame(channel, &mut out);
        self.send_bytes(&out);
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        if let Err(error) = self.try_send_bytes(bytes) {
            // A broker that has closed the socket has said why before, which the test is to see.
            assert!(
                matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
                "the broker does not read: {error}"
            );
        }
    }

    pub(crate) fn try_send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Takes the first answer that is wanted; others stay for whoever wants them.
    pub(crate) fn recv_where(&mut self, wanted: impl Fn(u16, &Answer) -> bool) -> Answer {
        let mut seen = 0;
        loop {
            let found = self.inbox.iter().skip(seen).position(|(ch, answer)| wanted(*ch, answer));
            if let Some((_, answer)) = found.and_then(|at| self.inbox.remove(seen + at)) {
                return answer;
            }
            seen = self.inbox.len();
            if let Some(end) = &self.end {
                return end.clone();
            }
            self.pump();
        }
    }

    pub(crate) fn recv_any(&mut self) -> (u16, Answer) {
        loop {
            if let Some(next) = self.inbox.pop_front() {
                return next;
            }
            if let Some(end) = &self.end {
                return (0, end.clone());
            }
            self.pump();
        }
    }

    pub(crate) fn recv_bytes(&mut self, len: usize) -> Vec<u8> {
        while self.input.len() - self.at < len && self.end.is_none() {
            self.read();
        }
        let end = self.input.len().min(self.at + len);
        let bytes = self.input[self.at..end].to_vec();
        self.at = end;
        bytes
    }

    /// Takes in one frame, or the end.
    fn pump(&mut self) {
        while self.end.is_none() {
            let input = std::mem::take(&mut self.input);
            let frame = split(&input[self.at..], 0).expect("the broker sends frames");
            let taken = frame.map(|(frame, len)| {
                self.take_frame(frame.kind, frame.channel, frame.payload);
                len
            });
            self.input = input;
            match taken {
                Some(len) => {
                    self.at += len;
                    return;
                }
                None => self.read(),
            }
        }
    }

    fn read(&mut self) {
        self.input.drain(..self.at);
        self.at = 0;
        let mut chunk = [0; 65_536];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.end = Some(Answer::event("eof")),
            Ok(len) => self.input.extend_from_slice(&chunk[..len]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                self.end = Some(Answer::event("reset"));
            }
            Err(error) => panic!("nothing came: {error}; held back: {:?}", self.inbox),
        }
    }

    fn take_frame(&mut self, kind: FrameKind, channel: u16, payload: &[u8]) {
        match kind {
            FrameKind::Heartbeat => {
                self.inbox.push_back((0, Answer::event("heartbeat")));
                return;
            }
            FrameKind::Method => {
                let incomplete = Incomplete {
                    method: payload.to_vec(),
                    properties: Vec::new(),
                    size: (!carries_content(payload)).then_some(0),
                    body: Vec::new(),
                    body_frames: Vec::new(),
                };
                let interrupted = self.incomplete.insert(channel, incomplete);
                assert!(interrupted.is_none(), "a method amid content on channel {channel}");
            }
            FrameKind::Header => {
                let header = ContentHeader::decode(payload).expect("a content header");
                let incomplete = self.expecting_content(channel);
                assert!(incomplete.size.is_none(), "a second header on channel {channel}");
                incomplete.size = Some(header.body_size);
                incomplete.properties = header.properties.to_vec();
            }
            FrameKind::Body => {
                let incomplete = self.expecting_content(channel);
                assert!(incomplete.size.is_some(), "a body before its header on {channel}");
                incomplete.body.extend_from_slice(payload);
                incomplete.body_frames.push(payload.len());
            }
        }
        self.deliver_if_complete(channel);
    }

    fn expecting_content(&mut self, channel: u16) -> &mut Incomplete {
        self.incomplete.get_mut(&channel).expect("content follows a method")
    }

    fn deliver_if_complete(&mut self, channel: u16) {
        let is_complete = |incomplete: &Incomplete| {
            incomplete.size.is_some_and(|size| incomplete.body.len() as u64 >= size)
        };
        if self.incomplete.get(&channel).is_some_and(is_complete)
            && let Some(whole) = self.incomplete.remove(&channel)
        {
            let answer = Answer::new(whole.method, whole.properties, whole.body, whole.body_frames);
            self.inbox.push_back((channel, answer));
        }
    }
}

fn carries_content(payload: &[u8]) -> bool {
    let &[c0, c1, m0, m1, ..] = payload else { return false };
    let (class, method) = (u16::from_be_bytes([c0, c1]), u16::from_be_bytes([m0, m1]));
    MethodId { class, method }.carries_content()
}
