//! Who may connect before it is known who they are, and how many connections an address may have.
//!
//! A connection is a **guest** from its acceptance until its `connection.open`: it costs a
//! descriptor and some memory, and nobody has logged in for that. There is room for so many guests
//! only. Where all places are taken a newcomer gets that of the guest who has waited longest, among
//! those of the address with the most guests; one from that very address is turned away. So an
//! attacker keeps out itself and whoever shares its address, and a crowd of clients that come back
//! at once from one machine doesn't throw its own members out again.

mod log_lines;
mod turned_away;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ahash::AHashMap;
use leveret_broker::access::network;
use leveret_broker::refusal;
use leveret_codec::AmqpError;
use leveret_engine::Millis;
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use self::log_lines::LogLines;
pub(crate) use self::log_lines::{ERRORS_MAX, LINES_MAX};
use self::turned_away::{Reason, TurnedAway};
use crate::config::AmqpConfig;
use crate::tls::Tls;
use crate::{clock, resources};

/// What a guest may hold in memory at worst, but for TLS: two frames of 8 KiB being read, the properties it
/// sent, its tasks. RabbitMQ has no such bound.
const GUEST_BYTES: u64 = 32 * 1024;
/// Guests may take this part of the memory at worst, unless the configuration says how many may come.
const MEMORY_PART: u64 = 16;
/// More than comes at once to the largest broker.
const GUESTS_MAX: u64 = 16_384;
/// Fewer would keep out those of a small machine's clients who come back together.
const GUESTS_MIN: u64 = 128;
/// Of eight descriptors one is for files and the HTTP API, whatever clients do, and of few this many:
/// a journal that can't go on ends the process.
const DESCRIPTORS_PART: u64 = 8;
const DESCRIPTORS_KEPT_MIN: u64 = 64;

/// Counts the connections of a broker.
#[derive(Debug)]
pub struct Admission {
    table: Mutex<Table>,
    /// What the log says of those who have not logged in.
    pub(crate) log_lines: LogLines,
    /// Connections that descriptors allow.
    places: u64,
    /// Bytes that there are for everything.
    memory: u64,
}

/// How many connections were turned away, and how many guests there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Admissions {
    /// Connections that have not opened yet.
    pub guests: u64,
    /// Turned away, or thrown out, because too many had not opened.
    pub refused_guests: u64,
    /// Refused at `connection.open`: their address had as many as it may.
    pub refused_addresses: u64,
    /// Turned away because the process would have had no descriptors left.
    pub refused_descriptors: u64,
}

#[derive(Debug, Default)]
struct Table {
    /// By the order they came in.
    guests: BTreeMap<u64, Seat>,
    /// Guests that memory allows.
    guests_auto: u64,
    /// Those without a connection are taken out.
    addresses: AHashMap<IpAddr, Address>,
    connections: u64,
    next: u64,
    /// Guests that lost their place before it was known which task serves them.
    ousted: Vec<u64>,
    refused: Admissions,
    /// For the log.
    turned_away: TurnedAway,
}

/// A guest's place.
#[derive(Debug)]
struct Seat {
    address: IpAddr,
    /// Ends it.
    task: Option<AbortHandle>,
}

/// The connections of one address.
#[derive(Debug, Default)]
struct Address {
    guests: u32,
    open: u32,
}

/// A connection's place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Guest {
    admission: Arc<Admission>,
    address: IpAddr,
    number: u64,
    stage: Stage,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Guest,
    Open,
    /// The client has left or been told to; its socket is still there.
    Closed,
}

impl Admission {
    pub(crate) fn new() -> Self {
        let memory = resources::memory_available().unwrap_or(u64::MAX);
        let guests_auto = guests_of(memory, GUEST_BYTES);
        Self {
            table: Mutex::new(Table { guests_auto, ..Table::default() }),
            log_lines: LogLines::default(),
            places: connections_of(resources::descriptors_max().unwrap_or(u64::MAX)),
            memory,
        }
    }

    /// Guests may come over this TLS from now on, if there is any. All are taken for such then.
    pub(crate) fn set_tls(&self, tls: Option<&Tls>) {
        let bytes = GUEST_BYTES + tls.map_or(0, Tls::connection_bytes);
        self.table.lock().guests_auto = guests_of(self.memory, bytes);
    }

    /// What there is, and what was turned away.
    pub fn counts(&self) -> Admissions {
        let table = self.table.lock();
        Admissions { guests: table.guests.len() as u64, ..table.refused }
    }

    /// Logs how many were turned away or not let in, when it is time to.
    pub(crate) fn tick(&self, now: Millis) {
        self.log_lines.tick(now);
        let line = self.table.lock().turned_away.tick(now);
        if let Some(line) = line {
            line.log();
        }
    }

    /// Whether the log has room for a line about a login over HTTP that was refused: whoever can connect causes
    /// them. One that it has none for is counted, and told of later.
    pub fn may_log_http_login(&self) -> bool {
        self.log_lines.http.have_room(clock::now())
    }

    /// Logs what there would be to log later.
    pub(crate) fn stop(&self) {
        self.log_lines.stop();
    }

    /// A place for a new connection, if there is one. It may be that of another guest.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr, amqp: &AmqpConfig) -> Option<Guest> {
        let address = network(address);
        let mut table = self.table.lock();
        let guests_max = amqp.handshake_max.map_or(table.guests_auto, u64::from);
        let guests = table.guests.len() as u64;
        if table.connections >= self.places {
            table.refused.refused_descriptors += 1;
            table.report(Reason::Descriptors(self.places));
            return None;
        }
        if guests >= guests_max {
            table.refused.refused_guests += 1;
            table.report(Reason::Handshakes(guests));
            if !table.make_room(address) {
                return None;
            }
        }
        let number = table.next;
        table.next += 1;
        table.connections += 1;
        table.guests.insert(number, Seat { address, task: None });
        table.addresses.entry(address).or_default().guests += 1;
        Some(Guest { admission: Arc::clone(self), address, number, stage: Stage::Guest })
    }

    /// Says which task serves a guest of this number, so that it can be ended.
    pub(crate) fn serve(&self, number: u64, task: AbortHandle) {
        let mut table = self.table.lock();
        if let Some(seat) = table.guests.get_mut(&number) {
            seat.task = Some(task);
        } else if let Some(at) = table.ousted.iter().position(|ousted| *ousted == number) {
            table.ousted.swap_remove(at);
            task.abort();
        }
    }
}

impl Table {
    /// Throws a guest out for a newcomer of this address. `false` if it would have to be one of its
    /// own.
    fn make_room(&mut self, newcomer: IpAddr) -> bool {
        let own = self.addresses.get(&newcomer).map_or(0, |address| address.guests);
        let crowd = self.addresses.iter().max_by_key(|(_, address)| address.guests);
        let Some((&crowd, _)) = crowd.filter(|(_, address)| address.guests > own) else {
            return false;
        };
        let longest = self.guests.iter().find(|(_, seat)| seat.address == crowd);
        let Some((&number, _)) = longest else { return false };
        let Some(seat) = self.leave(number) else { return false };
        match seat.task {
            Some(task) => task.abort(),
            None => self.ousted.push(number),
        }
        true
    }

    /// A guest's place is free again.
    fn leave(&mut self, number: u64) -> Option<Seat> {
        let seat = self.guests.remove(&number)?;
        self.connections = self.connections.saturating_sub(1);
        self.uncount(seat.address, |address| address.guests = address.guests.saturating_sub(1));
        Some(seat)
    }

    fn uncount(&mut self, address: IpAddr, change: impl FnOnce(&mut Address)) {
        let Some(counts) = self.addresses.get_mut(&address) else { return };
        change(counts);
        if counts.guests == 0 && counts.open == 0 {
            self.addresses.remove(&address);
        }
    }

    fn report(&mut self, reason: Reason) {
        if let Some(line) = self.turned_away.count(reason, clock::now()) {
            line.log();
        }
    }
}

impl Guest {
    /// Which one it is.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// A proxy has said whose connection it is.
    pub(crate) fn comes_from(&mut self, address: IpAddr) {
        let address = network(address);
        let mut table = self.admission.table.lock();
        let Some(seat) = table.guests.get_mut(&self.number) else { return };
        let proxy = std::mem::replace(&mut seat.address, address);
        table.uncount(proxy, |counts| counts.guests = counts.guests.saturating_sub(1));
        table.addresses.entry(address).or_default().guests += 1;
        drop(table);
        self.address = address;
    }

    /// The connection opens: it is no guest any more, and counts among those of its address, of
    /// which there may be this many.
    ///
    /// # Errors
    /// 530 when there are as many; also when it has lost its place, which ends its task anyway.
    pub(crate) fn open(&mut self, of_address_max: Option<u32>) -> Result<(), AmqpError> {
        let mut table = self.admission.table.lock();
        let open = table.addresses.get(&self.address).map_or(0, |counts| counts.open);
        if let Some(limit) = of_address_max.filter(|max| open >= *max) {
            table.refused.refused_addresses += 1;
            return Err(refusal::address_connection_limit(self.address, limit));
        }
        if table.leave(self.number).is_none() {
            return Err(AmqpError::internal_error("the connection has lost its place"));
        }
        table.connections += 1;
        table.addresses.entry(self.address).or_default().open += 1;
        self.stage = Stage::Open;
        Ok(())
    }

    /// The connection is over, but for its socket.
    pub(crate) fn close(&mut self) {
        if self.stage == Stage::Open {
            self.stage = Stage::Closed;
            let mut table = self.admission.table.lock();
            table.uncount(self.address, |counts| counts.open = counts.open.saturating_sub(1));
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.close();
        let mut table = self.admission.table.lock();
        if self.stage == Stage::Closed {
            table.connections = table.connections.saturating_sub(1);
        } else if table.leave(self.number).is_none() {
            table.ousted.retain(|ousted| *ousted != self.number);
        }
    }
}

/// How many guests of so many bytes may come to a machine with this much memory.
fn guests_of(memory: u64, bytes: u64) -> u64 {
    (memory / MEMORY_PART / bytes).clamp(GUESTS_MIN, GUESTS_MAX)
}

/// What a guest may hold, without TLS, with it, and with TLS that asks for certificates.
#[cfg(test)]
const GUESTS_BYTES: [u64; 3] = [
    GUEST_BYTES,
    GUEST_BYTES + crate::tls::connection_bytes(false),
    GUEST_BYTES + crate::tls::connection_bytes(true),
];

/// What they may take of so much memory by default, in bytes, whatever they come over.
#[cfg(test)]
pub(crate) fn most_of_guests(memory: u64) -> u64 {
    let all = GUESTS_BYTES.map(|bytes| guests_of(memory, bytes) * bytes);
    all.into_iter().max().unwrap_or_default()
}

/// How many connections there may be with this many descriptors.
fn connections_of(descriptors: u64) -> u64 {
    let kept = (descriptors / DESCRIPTORS_PART).max(DESCRIPTORS_KEPT_MIN);
    descriptors.saturating_sub(kept).max(1)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::SocketAddr;

    use tempfile::TempDir;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::Server;
    use crate::config::{Config, Storage, TlsConfig};

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn admission(places: u64) -> Arc<Admission> {
        let table = Table { guests_auto: 4, ..Table::default() };
        let log_lines = LogLines::default();
        Arc::new(Admission { table: Mutex::new(table), log_lines, places, memory: 0 })
    }

    fn amqp() -> AmqpConfig {
        Config::default().amqp
    }

    /// A guest with a task that goes on until it is thrown out.
    fn serve(admission: &Admission, guest: &Guest) -> JoinHandle<()> {
        let task = tokio::spawn(std::future::pending());
        admission.serve(guest.number(), task.abort_handle());
        task
    }

    #[tokio::test]
    async fn the_longest_waiting_guest_of_a_crowd_makes_room() {
        let admission = admission(100);
        let admit = |address| admission.admit(address, &amqp());
        let crowd: Vec<_> = (0..4).map(|_| admit(A).unwrap()).collect();
        let mut tasks: Vec<_> = crowd.iter().map(|guest| serve(&admission, guest)).collect();
        assert!(admit(A).is_none(), "one of the crowd itself");
        let _first = admit(B).unwrap();
        assert!(tasks.remove(0).await.unwrap_err().is_cancelled());
        let _second = admit(B).unwrap();
        assert!(tasks.remove(0).await.unwrap_err().is_cancelled());
        assert!(admit(B).is_none(), "no more than the crowd has");
        assert!(tasks.iter().all(|task| !task.is_finished()));
        let counts = Admissions { guests: 4, refused_guests: 4, ..Admissions::default() };
        assert_eq!(admission.counts(), counts);
    }

    #[tokio::test]
    async fn who_lost_their_place_does_not_open() {
        let admission = admission(100);
        let admit = |address| admission.admit(address, &amqp()).unwrap();
        let mut crowd: Vec<_> = (0..4).map(|_| admit(A)).collect();
        let _other = admit(B);
        assert!(crowd[0].open(None).is_err());
        crowd[1].open(None).unwrap();
        // Its task began only then.
        assert!(serve(&admission, &crowd[0]).await.unwrap_err().is_cancelled());
        drop(crowd);
        let table = admission.table.lock();
        assert_eq!((table.connections, table.guests.len(), table.addresses.len()), (1, 1, 1));
        assert!(table.ousted.is_empty());
    }

    #[test]
    fn an_address_has_so_many_connections() {
        let admission = admission(100);
        let admit = |address| admission.admit(address, &amqp()).unwrap();
        let (mut one, mut two, mut other) = (admit(A), admit(A), admit(B));
        one.open(Some(1)).unwrap();
        let refused = two.open(Some(1)).unwrap_err();
        assert_eq!(
            refused.reply_text(),
            "NOT_ALLOWED - connection refused: connection limit of address '192.0.2.1' (1) is \
             reached"
        );
        other.open(Some(1)).unwrap();
        drop(one);
        two.open(Some(1)).unwrap();
        // A proxy's connections are those of its clients.
        let mut proxied = admit(B);
        proxied.comes_from(A);
        assert!(proxied.open(Some(1)).is_err());
        drop((two, other, proxied));
        assert!(admission.table.lock().addresses.is_empty());
    }

    #[test]
    fn descriptors_are_left_for_files() {
        let admission = admission(2);
        let mut guests: Vec<_> = (0..2).map(|_| admission.admit(A, &amqp()).unwrap()).collect();
        guests[0].open(None).unwrap();
        assert!(admission.admit(B, &amqp()).is_none());
        assert_eq!(admission.counts().refused_descriptors, 1);
        guests.pop();
        assert!(admission.admit(B, &amqp()).is_some());
        assert_eq!([1024, 96, 10].map(connections_of), [896, 32, 1]);
    }

    #[test]
    fn guests_take_a_part_of_the_memory() {
        let of = |memory| GUESTS_BYTES.map(|bytes| guests_of(memory, bytes));
        assert_eq!(of(1 << 30), [2048, 585, 273]);
        assert_eq!(of(0), [GUESTS_MIN; 3]);
        assert_eq!(of(u64::MAX), [GUESTS_MAX; 3]);
    }

    #[tokio::test]
    async fn guests_count_for_what_the_tls_of_the_settings_has_them_hold() {
        let folder = TempDir::new().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(&cert, identity.cert.pem()).unwrap();
        fs::write(&key, identity.signing_key.serialize_pem()).unwrap();
        let somewhere = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let mut config = Config {
            listen: somewhere.clone(),
            storage: Storage::Ephemeral,
            tls: TlsConfig {
                cert_files: vec![cert.clone()],
                key_files: vec![key],
                ca_file: Some(cert),
                ..TlsConfig::default()
            },
            ..Config::default()
        };
        let counts_for = |server: &Server, bytes| {
            let admission = server.admission();
            admission.table.lock().guests_auto == guests_of(admission.memory, bytes)
        };
        let server = Server::start(config.clone()).await.unwrap();
        assert!(counts_for(&server, GUESTS_BYTES[0]));
        server.stop().await;
        config.listen_tls = somewhere;
        let server = Server::start(config.clone()).await.unwrap();
        assert!(counts_for(&server, GUESTS_BYTES[1]));
        config.tls.verify = true;
        server.reload(&config);
        assert!(counts_for(&server, GUESTS_BYTES[2]));
        server.stop().await;
    }
}
