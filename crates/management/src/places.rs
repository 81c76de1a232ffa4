//! Whose connections a listener has room for.
//!
//! A connection **waits** until it has sent a whole request, and again once that is answered: it may
//! be about to ask for something, or an attacker's that never will. Where all places are taken one
//! of the address with the most connections makes room for a newcomer: the one that has waited
//! longest. Only if each of them is being answered does the newcomer's own address matter, which
//! then has to have fewer. So silent connections keep nobody out, and neither do those that a
//! browser or a proxy keeps for later.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ahash::AHashMap;
use hyper::body::{Body, Frame, SizeHint};
use leveret_broker::access::network;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::seldom::Seldom;

/// How many of those that made room may still be closing when another comes, and how long it waits for
/// them at most.
const LEAVING_MAX: usize = 8;
const LEAVING_WAIT: Duration = Duration::from_millis(100);

/// The connections of a listener.
#[derive(Debug, Default)]
pub(crate) struct Places {
    table: Mutex<Table>,
    /// One of those that made room has closed.
    closed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    seats: AHashMap<u64, Seat>,
    /// Connections without a seat any more that are still closing.
    leaving: usize,
    /// Numbers seats, and what happens to them.
    next: u64,
}

#[derive(Debug)]
struct Seat {
    address: IpAddr,
    is_answered: bool,
    /// When it became so, by the table's numbers.
    since: u64,
    end: CancellationToken,
}

/// A connection's place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    end: CancellationToken,
}

impl Places {
    /// A place for a connection from an address, of this many. Others may have lost theirs for it, which
    /// counts as well as having found none.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        max: usize,
        turned_away: &Seldom,
    ) -> Option<Place> {
        let address = network(address);
        let mut table = self.table.lock();
        while table.seats.len() >= max {
            if let Some(count) = turned_away.count(Instant::now()) {
                tracing::warn!(
                    "{max} HTTP connections of a listener are open, as many as web.connection_max \
                     allows: some are turned away, {count} since the start"
                );
            }
            let number = table.who_makes_room(address)?;
            if let Some(seat) = table.seats.remove(&number) {
                seat.end.cancel();
                table.leaving += 1;
            }
        }
        let (number, end) = (table.number(), CancellationToken::new());
        let seat = Seat { address, is_answered: false, since: number, end: end.clone() };
        table.seats.insert(number, seat);
        Some(Place { places: Arc::clone(self), number, end })
    }

    /// Resolves when few of those that made room are still closing: they have descriptors until then.
    pub(crate) async fn settle(&self) {
        let settled = async {
            while self.table.lock().leaving > LEAVING_MAX {
                self.closed.notified().await;
            }
        };
        // What one of them is doing must not keep others out.
        let _ = timeout(LEAVING_WAIT, settled).await;
    }
}

impl Table {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn who_makes_room(&self, newcomer: IpAddr) -> Option<u64> {
        let mut counts: AHashMap<IpAddr, usize> = AHashMap::new();
        for seat in self.seats.values() {
            *counts.entry(seat.address).or_default() += 1;
        }
        let most = counts.values().copied().max()?;
        let crowd = self.seats.iter().filter(|(_, seat)| counts.get(&seat.address) == Some(&most));
        let (number, seat) = crowd.min_by_key(|(_, seat)| (seat.is_answered, seat.since))?;
        let after = counts.get(&newcomer).map_or(1, |own| own + 1);
        (!seat.is_answered || after < most).then_some(*number)
    }
}

impl Place {
    /// Resolves when the connection is to make room.
    pub(crate) async fn lost(&self) {
        self.end.cancelled().await;
    }

    /// A whole request has come.
    pub(crate) fn is_answered(&self) {
        self.change(true);
    }

    /// There is no request that has come whole.
    pub(crate) fn waits(&self) {
        self.change(false);
    }

    fn change(&self, is_answered: bool) {
        let mut table = self.places.table.lock();
        let since = table.number();
        if let Some(seat) = table.seats.get_mut(&self.number) {
            (seat.is_answered, seat.since) = (is_answered, since);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.places.table.lock();
        if table.seats.remove(&self.number).is_none() {
            table.leaving -= 1;
            drop(table);
            self.places.closed.notify_one();
        }
    }
}

/// A body, and what is to happen when it has gone by or is not wanted any more.
pub(crate) struct Followed<B> {
    body: B,
    at_end: Option<Box<dyn FnOnce() + Send>>,
}

impl<B: Body> Followed<B> {
    pub(crate) fn new(body: B, at_end: impl FnOnce() + Send + 'static) -> Self {
        let mut followed = Self { body, at_end: Some(Box::new(at_end)) };
        if followed.body.is_end_stream() {
            followed.end();
        }
        followed
    }
}

impl<B> Followed<B> {
    fn end(&mut self) {
        if let Some(at_end) = self.at_end.take() {
            at_end();
        }
    }
}

impl<B: Body + Unpin> Body for Followed<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.end();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Followed<B> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    struct Listener {
        places: Arc<Places>,
        turned_away: Seldom,
    }

    impl Listener {
        fn new() -> Self {
            Self { places: Arc::default(), turned_away: Seldom::default() }
        }

        fn admit(&self, address: IpAddr) -> Option<Place> {
            self.places.admit(address, 4, &self.turned_away)
        }

        fn crowd(&self) -> Vec<Place> {
            (0..4).map(|_| self.admit(A).unwrap()).collect()
        }
    }

    fn lost(places: &[Place]) -> Vec<bool> {
        places.iter().map(|place| place.end.is_cancelled()).collect()
    }

    #[test]
    fn who_has_waited_longest_makes_room() {
        let listener = Listener::new();
        let crowd = listener.crowd();
        crowd[0].is_answered();
        crowd[1].is_answered();
        crowd[1].waits();
        let _others = [B, A].map(|address| listener.admit(address).unwrap());
        assert_eq!(lost(&crowd), [false, false, true, true]);
        let _another = listener.admit(B).unwrap();
        assert_eq!(lost(&crowd), [false, true, true, true]);
        assert_eq!(listener.turned_away.counted(), 3);
    }

    #[tokio::test]
    async fn newcomers_wait_until_others_have_closed() {
        let listener = Listener::new();
        let mut crowd: Vec<_> = (0..4 + LEAVING_MAX).map(|_| listener.admit(A).unwrap()).collect();
        let mut context = Context::from_waker(Waker::noop());
        let mut settled = Box::pin(listener.places.settle());
        assert!(settled.as_mut().poll(&mut context).is_ready());
        crowd.push(listener.admit(A).unwrap());
        let mut settled = Box::pin(listener.places.settle());
        assert!(settled.as_mut().poll(&mut context).is_pending());
        // One of those that stay says nothing.
        crowd.pop();
        assert!(settled.as_mut().poll(&mut context).is_pending());
        crowd.remove(0);
        assert!(settled.as_mut().poll(&mut context).is_ready());
        // Not for ever.
        let _others = [(); 2].map(|()| listener.admit(A).unwrap());
        listener.places.settle().await;
        assert!(listener.places.table.lock().leaving > LEAVING_MAX);
        drop(crowd);
        assert_eq!(listener.places.table.lock().leaving, 0);
    }

    #[test]
    fn those_of_others_stay_while_a_crowd_has_more() {
        let listener = Listener::new();
        let other = listener.admit(B).unwrap();
        let _crowd: Vec<_> = (0..100).map(|_| listener.admit(A).unwrap()).collect();
        assert!(!other.end.is_cancelled());
    }

    #[test]
    fn who_is_answered_makes_room_for_those_with_fewer_only() {
        let listener = Listener::new();
        let crowd = listener.crowd();
        crowd.iter().for_each(Place::is_answered);
        assert!(listener.admit(A).is_none());
        let others = [B, B].map(|address| listener.admit(address).unwrap());
        others.iter().for_each(Place::is_answered);
        assert_eq!(lost(&crowd), [true, true, false, false]);
        assert!(listener.admit(B).is_none(), "no more than the crowd has");
        drop(crowd);
        assert!(listener.admit(B).is_some(), "places are given back");
    }

    #[test]
    fn fewer_may_be_allowed_while_there_are_more() {
        let listener = Listener::new();
        let crowd = listener.crowd();
        let _other = listener.places.admit(B, 2, &listener.turned_away).unwrap();
        assert_eq!(lost(&crowd), [true, true, true, false]);
    }
}
