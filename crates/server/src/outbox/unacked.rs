//! Deliveries a client has not settled, by delivery tag.

mod older;
mod paging;

use std::collections::VecDeque;

use leveret_engine::AnyEntry;

use self::older::{CHUNK, Older};
pub(crate) use self::paging::SpillRun;

/// One unsettled delivery.
pub(crate) struct Slot {
    /// Index of where it came from, in the channel's sources.
    pub(crate) source: u32,
    pub(crate) entry: AnyEntry,
}

/// A channel's delivery tags: counted from 1, each given once, found again without hashing.
///
/// A deque over the tags from the oldest outstanding one on; settled and `no_ack` deliveries leave
/// holes that go when they reach the front. So do those that were taken back, once the client has
/// settled them, which then means nothing. When memory is short, or most are holes, the front of the deque is made
/// [smaller](Older).
#[derive(Default)]
pub(crate) struct Unacked {
    /// The tag of the first place, less one.
    base: u64,
    places: VecDeque<Place>,
    /// Deliveries in the places that wait for their settlement.
    held: usize,
    /// Tags before those of the places.
    older: Older,
    /// What the places take in memory, about, in bytes.
    memory: u64,
}

/// What became of a tag.
enum Place {
    /// Its delivery is settled.
    Settled,
    /// Its delivery waits for its settlement.
    Held(Slot),
    /// Its delivery went back to the queue, which the client need not know.
    TakenBack,
}

impl Place {
    fn slot(&self) -> Option<&Slot> {
        match self {
            Self::Held(slot) => Some(slot),
            Self::Settled | Self::TakenBack => None,
        }
    }

    fn is_settled(&self) -> bool {
        matches!(self, Self::Settled)
    }

    fn replace(&mut self, with: Self) -> Option<Slot> {
        match std::mem::replace(self, with) {
            Self::Held(slot) => Some(slot),
            Self::Settled | Self::TakenBack => None,
        }
    }

    fn memory(&self) -> u64 {
        self.slot().map_or(0, |slot| slot.entry.memory())
    }
}

/// The tag isn't outstanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownTag(pub(crate) u64);

/// What is left of a settlement that names more than is taken at once: all up to this tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rest(u64);

impl Unacked {
    /// The tag the next delivery gets.
    pub(crate) fn next_tag(&self) -> u64 {
        self.base + self.places.len() as u64 + 1
    }

    /// How many deliveries wait for their settlement.
    pub(crate) fn outstanding(&self) -> usize {
        self.held + self.older.held()
    }

    /// What the deliveries take in memory, about, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.memory + self.older.memory()
    }

    /// Where the deliveries came from that wait for their settlement, by tag.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (u64, u32)> {
        let places = (self.base + 1..).zip(&self.places);
        let newer = places.filter_map(|(tag, place)| Some((tag, place.slot()?.source)));
        self.older.sources().chain(newer)
    }

    /// Gives the next tag to a delivery that waits for its settlement.
    pub(crate) fn push(&mut self, slot: Slot) {
        self.held += 1;
        self.memory += slot.entry.memory();
        self.places.push_back(Place::Held(slot));
        self.leave_holes();
    }

    /// Uses up the next tag for a delivery that is settled already.
    pub(crate) fn skip(&mut self) {
        if self.places.is_empty() {
            self.base += 1;
        } else {
            self.places.push_back(Place::Settled);
            self.leave_holes();
        }
    }

    /// Takes one delivery out; nothing if it was taken back before.
    pub(crate) fn take(&mut self, tag: u64) -> Result<Option<Slot>, UnknownTag> {
        let slot = self.replace(tag, Place::Settled)?;
        self.trim();
        Ok(slot)
    }

    /// Takes one delivery out that its client may still settle, to no effect.
    pub(crate) fn take_back(&mut self, tag: u64) -> Option<Slot> {
        self.replace(tag, Place::TakenBack).ok()?
    }

    /// Takes all deliveries up to and including `tag`, which itself has to be outstanding; 0 takes
    /// all there are. Of more than about `most` the rest is answered, to be
    /// [taken](Self::take_rest) next.
    pub(crate) fn take_through(
        &mut self,
        tag: u64,
        most: usize,
        each: impl FnMut(u64, Slot),
    ) -> Result<Option<Rest>, UnknownTag> {
        if tag == 0 {
            return Ok(self.take_rest(Rest(self.next_tag() - 1), most, each));
        }
        let place = self.index(tag).and_then(|index| self.places.get(index));
        if !place.map_or_else(|| self.older.is_known(tag), |place| !place.is_settled()) {
            return Err(UnknownTag(tag));
        }
        Ok(self.take_rest(Rest(tag), most, each))
    }

    /// Goes on with what [`take_through`](Self::take_through) has left.
    pub(crate) fn take_rest(
        &mut self,
        rest: Rest,
        most: usize,
        mut each: impl FnMut(u64, Slot),
    ) -> Option<Rest> {
        let mut left = most;
        if !self.older.is_empty() {
            self.older.take_through(rest.0, &mut left, &mut each);
        }
        let wanted = self.index(rest.0).map_or(0, |index| index + 1);
        let count = wanted.min(left);
        for place in self.places.drain(..count) {
            self.base += 1;
            if let Place::Held(slot) = place {
                self.held -= 1;
                self.memory -= slot.entry.memory();
                each(self.base, slot);
            }
        }
        self.trim();
        (count < wanted || left == 0).then_some(rest)
    }

    /// Puts a taken delivery back under its tag: a transaction was rolled back.
    pub(crate) fn restore(&mut self, tag: u64, slot: Slot) {
        if tag <= self.base {
            self.older.restore(tag, slot);
            return;
        }
        self.held += 1;
        self.memory += slot.entry.memory();
        if let Some(place) = self.index(tag).and_then(|index| self.places.get_mut(index)) {
            debug_assert!(place.is_settled(), "only a taken delivery is put back");
            *place = Place::Held(slot);
        }
    }

    fn index(&self, tag: u64) -> Option<usize> {
        usize::try_from(tag.checked_sub(self.base + 1)?).ok()
    }

    /// Puts something else in the place of a tag that the client has not settled.
    fn replace(&mut self, tag: u64, with: Place) -> Result<Option<Slot>, UnknownTag> {
        let Some(index) = self.index(tag) else {
            return self.older.replace(tag, with);
        };
        let place = self.places.get_mut(index).filter(|place| !place.is_settled());
        let slot = place.ok_or(UnknownTag(tag))?.replace(with);
        if let Some(slot) = &slot {
            self.held -= 1;
            self.memory -= slot.entry.memory();
        }
        Ok(slot)
    }

    /// Of so many holes that the deliveries between them are few the front goes: one that stays must not keep a
    /// place for all that come behind it.
    fn leave_holes(&mut self) {
        while self.places.len() > 2 * CHUNK + 4 * self.held {
            self.make_front_older();
        }
    }

    /// Moves the first chunk out of the deque.
    fn make_front_older(&mut self) {
        let count = CHUNK.min(self.places.len());
        let chunk: Vec<Place> = self.places.drain(..count).collect();
        self.held -= chunk.iter().filter_map(Place::slot).count();
        self.memory -= chunk.iter().map(Place::memory).sum::<u64>();
        self.older.push(self.base + 1, chunk);
        self.base += count as u64;
    }

    fn trim(&mut self) {
        while let Some(Place::Settled) = self.places.front() {
            self.places.pop_front();
            self.base += 1;
        }
        if self.places.is_empty() && self.places.capacity() > IDLE_SLOTS {
            self.places.shrink_to(IDLE_SLOTS);
        }
    }
}

/// Room kept when nothing is outstanding: a backlog once worked off gives its memory back.
const IDLE_SLOTS: usize = 4096;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, LazyLock};

    use leveret_engine::{Body, Entry, Lsn, Message, MessageArena, Millis, Spilled};
    use proptest::prelude::*;

    use super::*;

    /// Every third is not stored.
    fn slot(lsn: u64) -> Slot {
        static MESSAGE: LazyLock<Message> = LazyLock::new(|| {
            let properties = leveret_codec::Properties::default();
            let body = Body::Copy(b"x");
            MessageArena::new().message(Millis(0), "", "k", &properties, &[0, 0], body)
        });
        let message = MESSAGE.clone();
        let mut entry = Entry::new(Lsn(lsn), message);
        entry.stored = !lsn.is_multiple_of(3);
        let source = u32::try_from(lsn % 2).unwrap();
        Slot { source, entry: entry.into() }
    }

    #[derive(Clone, Debug)]
    enum Operation {
        Push(u64),
        Skip(u64),
        Take(u64),
        TakeThrough(u64, usize),
        TakeAndRestore(u64),
        TakeAllAndRestore(u64),
        TakeBack(u64),
        /// What is stored, up to a tag.
        PageOut(u64, usize),
        /// What is not. Some is settled while it is written.
        Spill(u64, u64),
    }

    fn operations() -> impl Strategy<Value = Vec<Operation>> {
        use Operation::*;
        let tag = || prop_oneof![0..40_u64, 0..1500_u64];
        let operation = prop_oneof![
            3 => Just(Push(1)),
            3 => (1..400_u64).prop_map(Push),
            1 => Just(Skip(1)),
            1 => (1..1000_u64).prop_map(Skip),
            3 => tag().prop_map(Take),
            1 => (tag(), 1..600_usize).prop_map(|(tag, most)| TakeThrough(tag, most)),
            1 => tag().prop_map(TakeAndRestore),
            1 => tag().prop_map(TakeAllAndRestore),
            1 => tag().prop_map(TakeBack),
            3 => (tag(), 1..900_usize).prop_map(|(tag, most)| PageOut(tag, most)),
            3 => (1..200_000_u64, tag()).prop_map(|(most, tag)| Spill(most, tag)),
        ];
        proptest::collection::vec(operation, 0..40)
    }

    /// By tag what is held, or `None` for what was taken back.
    #[derive(Default)]
    struct Pair {
        unacked: Unacked,
        model: BTreeMap<u64, Option<u64>>,
        next: u64,
    }

    impl Pair {
        fn take(&mut self, tag: u64) -> Result<(), TestCaseError> {
            let taken = self.unacked.take(tag).map(|slot| Some(slot?.entry.lsn().0)).ok();
            prop_assert_eq!(taken, self.model.remove(&tag));
            Ok(())
        }

        /// Takes all up to a tag, about so many at a time.
        fn take_through(
            &mut self,
            tag: u64,
            most: usize,
        ) -> Result<Vec<(u64, Slot)>, TestCaseError> {
            let Self { unacked, model, .. } = self;
            let mut taken = Vec::new();
            let first = unacked.take_through(tag, most, |tag, slot| taken.push((tag, slot)));
            if tag > 0 && !model.contains_key(&tag) {
                prop_assert_eq!(first, Err(UnknownTag(tag)));
                prop_assert!(taken.is_empty());
                return Ok(taken);
            }
            let mut rest = first.unwrap();
            while let Some(left) = rest {
                let before = taken.len();
                rest = unacked.take_rest(left, most, |tag, slot| taken.push((tag, slot)));
                prop_assert!(taken.len() - before <= most + 256);
            }
            let limit = if tag == 0 { u64::MAX } else { tag };
            let expected: Vec<_> =
                model.range(..=limit).filter_map(|(tag, lsn)| Some((*tag, (*lsn)?))).collect();
            model.retain(|tag, _| *tag > limit);
            let lsns: Vec<_> = taken.iter().map(|(tag, slot)| (*tag, slot.entry.lsn().0)).collect();
            prop_assert_eq!(lsns, expected);
            Ok(taken)
        }

        fn restore(&mut self, taken: Vec<(u64, Slot)>) {
            for (tag, slot) in taken {
                self.model.insert(tag, Some(slot.entry.lsn().0));
                self.unacked.restore(tag, slot);
            }
        }

        fn step(&mut self, operation: Operation) -> Result<(), TestCaseError> {
            match operation {
                Operation::Push(count) => {
                    for _ in 0..count {
                        prop_assert_eq!(self.unacked.next_tag(), self.next + 1);
                        self.next += 1;
                        self.unacked.push(slot(self.next));
                        self.model.insert(self.next, Some(self.next));
                    }
                }
                Operation::Skip(count) => {
                    (0..count).for_each(|_| self.unacked.skip());
                    self.next += count;
                }
                Operation::Take(tag) => self.take(tag)?,
                Operation::TakeThrough(tag, most) => drop(self.take_through(tag, most)?),
                Operation::TakeAndRestore(tag) => match self.unacked.take(tag) {
                    Ok(Some(slot)) => self.restore(vec![(tag, slot)]),
                    Ok(None) => prop_assert_eq!(self.model.remove(&tag), Some(None)),
                    Err(_) => prop_assert!(!self.model.contains_key(&tag)),
                },
                Operation::TakeAllAndRestore(tag) => {
                    let taken = self.take_through(tag, 100)?;
                    self.restore(taken);
                }
                Operation::TakeBack(tag) => {
                    let taken = self.unacked.take_back(tag).map(|slot| slot.entry.lsn().0);
                    let held = self.model.get_mut(&tag).and_then(Option::take);
                    prop_assert_eq!(taken, held);
                }
                Operation::PageOut(through, most) => {
                    let before = self.unacked.memory();
                    let mut gone = 0;
                    let can_go = |_: u32, entry: &Entry| entry.stored && entry.lsn.0 <= through;
                    self.unacked.page_out(can_go, most, |_, bytes| gone += bytes);
                    prop_assert!(gone <= most as u64);
                    prop_assert!(self.unacked.memory() <= before - gone);
                }
                Operation::Spill(most, tag) => {
                    let runs = self.unacked.spill(most);
                    self.take(tag)?;
                    let place: Spilled = Arc::new(());
                    for run in &runs {
                        prop_assert!(run.messages().all(|(lsn, _)| lsn.0.is_multiple_of(3)));
                        self.unacked.spilled(run, &place, |_, _| {});
                    }
                }
            }
            Ok(())
        }

        fn check(&self) -> Result<(), TestCaseError> {
            prop_assert_eq!(self.unacked.next_tag(), self.next + 1);
            let held = || self.model.iter().filter_map(|(tag, lsn)| Some((*tag, (*lsn)?)));
            prop_assert_eq!(self.unacked.outstanding(), held().count());
            prop_assert!(
                self.unacked.sources().eq(held().map(|(tag, lsn)| (tag, u32::from(lsn % 2 == 1))))
            );
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn behaves_like_a_map_of_tags(operations in operations()) {
            let mut pair = Pair::default();
            for operation in operations {
                pair.step(operation)?;
                pair.check()?;
            }
            // All that is paged out is as it was.
            let all = pair.take_through(0, 1000)?;
            for (_, Slot { source, entry }) in all {
                let now = entry.paged().map(|entry| (entry.lsn, entry.bytes, entry.stored));
                let before = slot(entry.lsn().0);
                prop_assert_eq!(source, before.source);
                let before = (entry.lsn(), before.entry.bytes(), before.entry.stored());
                prop_assert!(now.is_none_or(|now| now == before));
                let spilled = entry.paged().is_some_and(|entry| entry.spilled.is_some());
                prop_assert!(!spilled || !entry.stored());
            }
            prop_assert_eq!((pair.unacked.memory(), pair.unacked.outstanding()), (0, 0));
        }
    }

    #[test]
    fn one_that_is_never_settled_keeps_no_place_for_those_behind_it() {
        let mut unacked = Unacked::default();
        unacked.push(slot(1));
        for _ in 0..100_000 {
            let tag = unacked.next_tag();
            unacked.push(slot(tag));
            unacked.take(tag).unwrap();
            unacked.skip();
        }
        assert!(unacked.places.capacity() <= 8 * CHUNK, "{}", unacked.places.capacity());
        assert_eq!((unacked.older.chunk_lens(), unacked.outstanding()), (vec![1], 1));
        // Nor do those that were taken back, which their client does not settle.
        for _ in 0..100_000 {
            let tag = unacked.next_tag();
            unacked.push(slot(tag));
            unacked.take_back(tag).unwrap();
        }
        assert!(unacked.places.len() <= 4 * CHUNK);
        let memory = slot(1).entry.memory();
        assert_eq!((unacked.memory(), unacked.outstanding()), (memory, 1));
        let mut taken = Vec::new();
        assert_eq!(unacked.take_through(0, usize::MAX, |tag, _| taken.push(tag)), Ok(None));
        assert_eq!(taken, [1]);
    }

    #[test]
    fn of_many_a_few_that_stay_take_their_own_places() {
        let mut unacked = Unacked::default();
        for tag in 1..=100_000 {
            unacked.push(slot(tag));
            if tag % 100 > 0 {
                unacked.take(tag).unwrap();
            }
        }
        assert_eq!(unacked.outstanding(), 1000);
        let lens = unacked.older.chunk_lens();
        assert!(lens.iter().all(|len| *len == 1) && lens.len() > 900, "{lens:?}");
    }

    /// A transaction may be rolled back much later.
    #[test]
    fn what_is_put_back_brings_no_places_back_behind_it() {
        let mut unacked = Unacked::default();
        unacked.push(slot(1));
        let taken = unacked.take(1).unwrap().unwrap();
        (0..1_000_000).for_each(|_| unacked.skip());
        unacked.restore(1, taken);
        assert!(unacked.places.capacity() <= 8 * CHUNK);
        assert!(unacked.take(1).unwrap().is_some());
        assert_eq!(unacked.next_tag(), 1_000_002);
    }

    #[test]
    fn large_heads_are_written_few_at_a_time() {
        let mut unacked = Unacked::default();
        let (properties, head) = (leveret_codec::Properties::default(), vec![0; 100_000]);
        let message =
            MessageArena::new().message(Millis(0), "", "k", &properties, &head, Body::Copy(b"x"));
        for lsn in 1..=100 {
            let entry = Entry::new(Lsn(lsn), message.clone()).into();
            unacked.push(Slot { source: 0, entry });
        }
        let runs = unacked.spill(1 << 20);
        let counts: Vec<_> = runs.iter().map(|run| run.messages().count()).collect();
        assert_eq!(counts, [2, 2, 2, 2, 2, 1]);
        let memory: u64 = runs.iter().map(SpillRun::memory).sum();
        assert!((1 << 20..(1 << 20) + 101_000).contains(&memory), "{memory}");
    }

    #[test]
    fn deliveries_whose_messages_are_on_disk_take_next_to_nothing() {
        let mut unacked = Unacked::default();
        (1..=100_000).for_each(|lsn| unacked.push(slot(lsn)));
        let gone = |unacked: &mut Unacked| {
            unacked.page_out(|_, entry| entry.stored, usize::MAX, |_, _| {});
            for run in unacked.spill(u64::MAX) {
                let place: Spilled = Arc::new(());
                unacked.spilled(&run, &place, |_, _| {});
            }
        };
        gone(&mut unacked);
        assert!(unacked.memory() < 40_000, "{}", unacked.memory());
        // Also after some have been settled from here and there.
        for tag in (1..=100_000).step_by(200) {
            unacked.take(tag).unwrap();
        }
        assert!(unacked.memory() > 1_000_000);
        gone(&mut unacked);
        assert!(unacked.memory() < 40_000, "{}", unacked.memory());
    }
}
