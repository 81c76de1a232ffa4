//! A broker under attack, watched.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use leveret_tests::tls::{self, Authority, Wanted};
use leveret_tests::{Api, Broker, Connection, Login, SetOnDrop, eventually};
use tempfile::TempDir;

use crate::worker::{MESSAGES_MIN, Pace, Work, Worker};

/// Where attackers come from, beside the well-behaved client of 127.0.0.1.
pub(crate) const ATTACKER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 66));
/// How often the broker's metrics are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// For how long the well-behaved client is measured before the attack, at most.
const USUAL_TIME: Duration = Duration::from_secs(10);
/// Of its throughput it keeps this part at least when an attack is measured.
const THROUGHPUT_MIN: f64 = 0.8;
/// And 99 of 100 messages take no longer.
const P99_MAX: Duration = Duration::from_millis(50);
/// How long each attack goes on, in seconds; without it they are as short as they can be.
const SECONDS: &str = "LEVERET_ATTACK_SECONDS";

/// An attack, and what it may cost.
pub(crate) struct Attack<'a> {
    pub(crate) name: &'a str,
    /// Settings of the broker, in sections.
    pub(crate) config: &'a str,
    /// How often the attackers do what they do, unless it is measured.
    pub(crate) rounds: u64,
    /// MiB it may hold more than before.
    pub(crate) memory_max: f64,
    /// Descriptors it may have open more than before.
    pub(crate) descriptors_max: f64,
}

/// What attackers know.
pub(crate) struct Target {
    address: SocketAddr,
    pub(crate) tls: SocketAddr,
    /// A client of TLS that trusts the broker.
    pub(crate) trusting: Arc<tls::ClientConfig>,
    /// Of the HTTP API.
    pub(crate) management: SocketAddr,
    /// The same over TLS.
    pub(crate) management_tls: SocketAddr,
    pub(crate) metrics: SocketAddr,
    rounds: u64,
    until: Option<Instant>,
    done: AtomicU64,
}

impl Target {
    /// What is to be done again and again.
    pub(crate) fn rounds(&self) -> impl Iterator<Item = u64> + '_ {
        let goes_on = move |round: &u64| match self.until {
            None => *round < self.rounds,
            Some(until) => Instant::now() < until,
        };
        (0..).take_while(goes_on).inspect(|_| {
            self.done.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// A socket, nothing sent.
    pub(crate) fn dial(&self) -> Connection {
        self.dial_at(self.address)
    }

    /// The same at another of its listeners.
    pub(crate) fn dial_at(&self, address: SocketAddr) -> Connection {
        Connection::dial_from(ATTACKER, address).expect("the broker listens")
    }

    /// An open connection.
    pub(crate) fn connect(&self) -> Connection {
        let connection = self.dial();
        connection.open(&Login::default()).unwrap_or_else(|refused| panic!("{refused}"));
        connection
    }

    /// An open connection of somebody who means well, over TLS.
    pub(crate) fn connect_within_tls(&self) -> Connection {
        let stream = tls::connect(self.tls, &self.trusting, "localhost").expect("a handshake");
        let connection = Connection::within(stream);
        connection.open(&Login::default()).unwrap_or_else(|refused| panic!("{refused}"));
        connection
    }

    /// Clients that have the broker keep things until it has had enough of them, and don't agree to be
    /// closed for that: as many at a time as there are rounds unless it is measured.
    pub(crate) fn hoard(&self, send: fn(&Connection)) -> VecDeque<Connection> {
        let mut held = VecDeque::new();
        for _ in self.rounds() {
            let connection = self.connect();
            send(&connection);
            let answer = loop {
                let (_, answer) = connection.recv_any();
                if answer != "channel.open-ok" {
                    break answer;
                }
            };
            assert!(answer.starts_with("connection.close 506 "), "{answer}");
            held.push_back(connection);
            if held.len() as u64 > self.rounds {
                held.pop_front();
            }
        }
        held
    }

    /// The HTTP API, as an administrator.
    pub(crate) fn api(&self) -> Api {
        Api::new(self.management)
    }

    /// Waits until the broker has counted so many: attackers may be done before it has seen all of them.
    pub(crate) fn await_count(&self, metric: &str, min: f64) {
        eventually(|| metrics_at(self.metrics)[metric] >= min);
    }
}

/// A broker after an attack.
pub(crate) struct Aftermath {
    pub(crate) broker: Broker,
    /// What its metrics said while the attackers still held what they had.
    pub(crate) metrics: Metrics,
    /// As attackers had it.
    pub(crate) trusting: Arc<tls::ClientConfig>,
}

/// Metrics by name and labels.
pub(crate) type Metrics = BTreeMap<String, f64>;

impl Attack<'_> {
    /// Has the attackers at it, whose spoils are held until all is measured; `None` if the tests are
    /// to use a given broker.
    pub(crate) fn run<Spoils>(self, attack: fn(&Target) -> Spoils) -> Option<Aftermath> {
        let (home, authority) = (TempDir::new().expect("a directory"), Authority::new("root"));
        let wanted = Wanted { name: "localhost", hosts: &["localhost"], days: 1 };
        let (certificate, key) = authority.sign(&wanted).write(home.path(), "server");
        let listeners = ["listen", "listen_tls", "management", "management_tls", "metrics"];
        let listeners = listeners.map(|name| format!("{name} = \"127.0.0.1:0\"\n")).concat();
        let config = format!(
            "{listeners}[tls]\ncert_file = {certificate:?}\nkey_file = {key:?}\n\
             [log]\nlevel = \"warning\"\n{}",
            self.config
        );
        let broker = Broker::configured(&config, "is attacked, and watched by its metrics")?;
        let seconds = std::env::var(SECONDS).ok().map(|text| text.parse().expect("seconds"));
        let seconds = seconds.map(Duration::from_secs);
        let usual = seconds.map(|time| usual(&broker, time.min(USUAL_TIME)));
        let before = metrics(&broker);
        let target = Target {
            address: broker.address(),
            tls: broker.address_of("AMQP over TLS"),
            trusting: tls::client(&authority.pem(), None),
            management: broker.management_address(),
            management_tls: broker.address_of("management over TLS"),
            metrics: broker.metrics_address(),
            rounds: self.rounds,
            until: seconds.map(|time| Instant::now() + time),
            done: AtomicU64::new(0),
        };
        let is_over = AtomicBool::new(false);
        let begun = Instant::now();
        let half = begun + seconds.unwrap_or_default() / 2;
        let (mut peak, mut last) = (before.clone(), before.clone());
        let (work, attacked_for) = std::thread::scope(|scope| {
            let worker = Worker::start(scope, broker.address(), &is_over, half);
            let attack_over = SetOnDrop(&is_over);
            let (done, is_done) = sync_channel(1);
            let (release, released) = sync_channel::<()>(1);
            let target = &target;
            let attackers = scope.spawn(move || {
                let spoils = attack(target);
                // Nobody waits for it, or measures any more, once a look has failed.
                let _ = done.send(());
                let _ = released.recv();
                drop(spoils);
            });
            let mut look = || {
                last = metrics(&broker);
                for (name, value) in &last {
                    let highest = peak.entry(name.clone()).or_default();
                    *highest = highest.max(*value);
                }
            };
            while !attackers.is_finished() && is_done.recv_timeout(LOOK).is_err() {
                look();
            }
            let attacked_for = begun.elapsed();
            drop(attack_over);
            let work = worker.join();
            look();
            drop(release);
            attackers.join().expect("the attackers met what they expect");
            (work, attacked_for)
        });
        let cost = self.check_cost(&before, &peak);
        assert!(work.at_once.messages() >= MESSAGES_MIN);
        if let Some(usual) = usual {
            let per_second = target.done.into_inner() as f64 / attacked_for.as_secs_f64();
            print!("| {} | {per_second:.0} | {cost} ", self.name);
            check_work(&work, &usual);
        }
        Some(Aftermath { broker, metrics: last, trusting: target.trusting })
    }

    /// Asserts what it cost the broker, and says how much that was.
    fn check_cost(&self, before: &Metrics, peak: &Metrics) -> String {
        let more = |name: &str| peak[name] - before[name];
        let memory = more("rabbitmq_process_resident_memory_bytes") / f64::from(1 << 20);
        let descriptors = more("rabbitmq_process_open_fds");
        println!("{}: {memory:.1} MiB and {descriptors} descriptors more", self.name);
        assert!(memory <= self.memory_max, "{memory:.1} MiB more than before");
        assert!(descriptors <= self.descriptors_max, "{descriptors} more descriptors than before");
        format!("{memory:.1} | {descriptors}")
    }
}

/// What the well-behaved client does while nobody attacks: alone at the pace of a service, and as fast as it
/// can beside one that means well, too, and is busy. Whoever works takes a part of the processors, and more
/// than a fair one nobody is owed.
fn usual(broker: &Broker, time: Duration) -> Work {
    let (is_over, half) = (AtomicBool::new(false), Instant::now() + time / 2);
    // As while there is an attack.
    let look_until = |until| {
        while Instant::now() < until {
            std::thread::sleep(LOOK);
            metrics(broker);
        }
    };
    std::thread::scope(|scope| {
        let all_over = SetOnDrop(&is_over);
        let worker = Worker::start(scope, broker.address(), &is_over, half);
        look_until(half);
        let busy = Worker::start_busy(scope, broker.address(), &is_over);
        look_until(half + time / 2);
        drop(all_over);
        busy.join().expect("the busy client did its work");
        worker.join()
    })
}

/// Says how well it does under attack, and asserts that it is well enough.
fn check_work(work: &Work, usual: &Work) {
    let part = |pace: fn(&Work) -> &Pace| pace(work).per_second() / pace(usual).per_second();
    let (steady, at_once) = (part(|work| &work.steady), part(|work| &work.at_once));
    let [median, p99] = [50, 99].map(|percent| work.steady.percentile(percent));
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "| {:.0} % | {:.1}, {:.1} | {:.0} of {:.0} | {:.0} % |",
        steady * 100.0,
        ms(median),
        ms(p99),
        work.at_once.per_second(),
        usual.at_once.per_second(),
        at_once * 100.0,
    );
    assert!(steady >= THROUGHPUT_MIN, "the well-behaved client does {steady:.2} of its work");
    for p99 in [p99, work.at_once.percentile(99)] {
        assert!(p99 <= P99_MAX, "99 of 100 messages of the well-behaved client take {p99:?}");
    }
}

/// What the broker says of itself.
pub(crate) fn metrics(broker: &Broker) -> Metrics {
    metrics_at(broker.metrics_address())
}

fn metrics_at(address: SocketAddr) -> Metrics {
    let reply = Api::new(address).send("GET", "/metrics", &[], "");
    let samples = reply.text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    samples.filter_map(sample).collect()
}
