//! The oldest tags of a channel, in chunks that can be small.

use std::collections::BTreeMap;

use leveret_engine::Folded;

use super::{Place, Slot, UnknownTag};

/// Tags in a chunk, at most.
pub(super) const CHUNK: usize = 256;
/// More settled tags than these are left out.
const GAP: usize = 8;

/// Tags before those of the deque, by the chunk. A chunk whose deliveries are all paged out is
/// **folded**, a few bytes each; what settles one of them unfolds it.
#[derive(Default)]
pub(super) struct Older {
    /// By their first tags. Tags between them are settled.
    chunks: BTreeMap<u64, Chunk>,
    /// Chunks that are not folded.
    open: usize,
    /// Deliveries that wait for their settlement.
    held: usize,
    /// What is in the open chunks takes in memory, about, in bytes.
    memory: u64,
}

/// Consecutive tags.
struct Chunk {
    len: usize,
    /// Those the client has not settled.
    unsettled: usize,
    content: Content,
}

enum Content {
    Open(Vec<Place>),
    Folded(Folded<Mark>),
}

/// What is in a place of a folded chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Settled,
    TakenBack,
    /// A delivery from this source.
    Held(u32),
}

impl Chunk {
    const fn is_open(&self) -> bool {
        matches!(self.content, Content::Open(_))
    }

    const fn open(&self) -> Option<&Vec<Place>> {
        match &self.content {
            Content::Open(places) => Some(places),
            Content::Folded(_) => None,
        }
    }
}

impl Older {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// How many deliveries wait for their settlement.
    pub(super) const fn held(&self) -> usize {
        self.held
    }

    /// What it takes in memory, about, in bytes; nothing for what is folded.
    pub(super) const fn memory(&self) -> u64 {
        self.memory
    }

    /// Whether the client has not settled a tag.
    pub(super) fn is_known(&self, tag: u64) -> bool {
        let Some((start, index)) = self.at(tag) else { return false };
        match self.chunks.get(&start).map(|chunk| &chunk.content) {
            Some(Content::Open(places)) => {
                places.get(index).is_some_and(|place| !place.is_settled())
            }
            Some(Content::Folded(folded)) => {
                folded.iter().nth(index).is_some_and(|(_, mark)| mark != Mark::Settled)
            }
            None => false,
        }
    }

    /// Deliveries that wait for their settlement, by tag, and where they came from.
    pub(super) fn sources(&self) -> impl Iterator<Item = (u64, u32)> {
        self.chunks.iter().flat_map(|(start, chunk)| {
            let (open, folded) = match &chunk.content {
                Content::Open(places) => (Some(places), None),
                Content::Folded(folded) => (None, Some(folded)),
            };
            let open = open.into_iter().flatten();
            let open = open.map(|place| place.slot().map(|slot| slot.source));
            let folded = folded.into_iter().flat_map(|folded| folded.iter());
            let folded = folded.map(|(_, mark)| match mark {
                Mark::Held(source) => Some(source),
                Mark::Settled | Mark::TakenBack => None,
            });
            let sources = (*start..).zip(open.chain(folded));
            sources.filter_map(|(tag, source)| Some((tag, source?)))
        })
    }

    /// Adds tags behind all others, the first of which is `start`. Where many in a row are settled they are left
    /// out: one that is not, among thousands, takes no more than a few places.
    pub(super) fn push(&mut self, start: u64, places: Vec<Place>) {
        let end = start + places.len() as u64;
        let mut run = Vec::new();
        let mut settled = 0;
        for (tag, place) in (start..).zip(places) {
            if place.is_settled() {
                settled += 1;
                continue;
            }
            if settled > GAP {
                self.push_run(tag - settled as u64, std::mem::take(&mut run));
            } else if !run.is_empty() {
                run.extend(std::iter::repeat_with(|| Place::Settled).take(settled));
            }
            settled = 0;
            run.push(place);
        }
        self.push_run(end - settled as u64, run);
    }

    /// Adds tags up to `end`.
    fn push_run(&mut self, end: u64, places: Vec<Place>) {
        let len = places.len();
        if len == 0 {
            return;
        }
        let held = places.iter().filter_map(Place::slot).count();
        let unsettled = places.iter().filter(|place| !place.is_settled()).count();
        let content = if held == 0 {
            Content::Folded(folded(&places))
        } else {
            self.open += 1;
            self.memory += places.iter().map(Place::memory).sum::<u64>();
            Content::Open(places)
        };
        self.held += held;
        let chunk = Chunk { len, unsettled, content };
        self.chunks.insert(end - len as u64, chunk);
    }

    /// Puts something else in the place of a tag that the client has not settled.
    pub(super) fn replace(&mut self, tag: u64, with: Place) -> Result<Option<Slot>, UnknownTag> {
        if !self.is_known(tag) {
            return Err(UnknownTag(tag));
        }
        let Some((start, index)) = self.at(tag) else { return Err(UnknownTag(tag)) };
        let is_settled = with.is_settled();
        let slot = self.place(start, index).and_then(|place| place.replace(with));
        if let Some(slot) = &slot {
            self.held -= 1;
            self.memory -= slot.entry.memory();
        }
        if is_settled {
            self.settled(start, 1);
        }
        Ok(slot)
    }

    /// Takes deliveries up to a tag, until about `left` are taken.
    pub(super) fn take_through(
        &mut self,
        tag: u64,
        left: &mut usize,
        mut each: impl FnMut(u64, Slot),
    ) {
        while let Some((&start, first)) = self.chunks.first_key_value()
            && start <= tag
            && *left > 0
        {
            let end = start + first.len as u64;
            let mut settled = 0;
            for (index, at) in (start..end.min(tag + 1)).enumerate() {
                let Some(place) = self.place(start, index) else { break };
                settled += usize::from(!place.is_settled());
                if let Some(slot) = place.replace(Place::Settled) {
                    self.held -= 1;
                    self.memory -= slot.entry.memory();
                    each(at, slot);
                }
            }
            *left = left.saturating_sub(settled);
            self.settled(start, settled);
            if end > tag {
                return;
            }
        }
    }

    /// Puts a taken delivery back under its tag.
    pub(super) fn restore(&mut self, tag: u64, slot: Slot) {
        self.held += 1;
        self.memory += slot.entry.memory();
        if let Some((start, index)) = self.at(tag) {
            if let Some(chunk) = self.chunks.get_mut(&start) {
                chunk.unsettled += 1;
            }
            if let Some(place) = self.place(start, index) {
                debug_assert!(place.is_settled(), "only a taken delivery is put back");
                *place = Place::Held(slot);
            }
            return;
        }
        if let Some((start, chunk)) = self.chunks.range_mut(..tag).next_back()
            && let Content::Open(places) = &mut chunk.content
            && tag == start + chunk.len as u64
            && chunk.len < CHUNK
        {
            chunk.unsettled += 1;
            chunk.len += 1;
            places.push(Place::Held(slot));
            return;
        }
        self.open += 1;
        let content = Content::Open(vec![Place::Held(slot)]);
        self.chunks.insert(tag, Chunk { len: 1, unsettled: 1, content });
    }

    /// The places of chunks that are not folded.
    pub(super) fn open_places_mut(&mut self) -> impl Iterator<Item = &mut Place> {
        let open = self.chunks.values_mut().filter_map(|chunk| match &mut chunk.content {
            Content::Open(places) => Some(places),
            Content::Folded(_) => None,
        });
        open.take(self.open).flatten()
    }

    /// The places of chunks that are not folded, with their tags.
    pub(super) fn open_places(&self) -> impl Iterator<Item = (u64, &Place)> {
        let open =
            self.chunks.iter().filter_map(|(start, chunk)| Some((*start..).zip(chunk.open()?)));
        open.take(self.open).flatten()
    }

    /// The place of a tag, if its chunk is not folded.
    pub(super) fn open_place(&mut self, tag: u64) -> Option<&mut Place> {
        let (start, index) = self.at(tag)?;
        match &mut self.chunks.get_mut(&start)?.content {
            Content::Open(places) => places.get_mut(index),
            Content::Folded(_) => None,
        }
    }

    /// So much less is taken in memory by what is in the open chunks.
    pub(super) const fn shrank(&mut self, bytes: u64) {
        self.memory = self.memory.saturating_sub(bytes);
    }

    /// Folds what has no message in memory.
    pub(super) fn fold(&mut self) {
        let open = self.chunks.values_mut().filter(|chunk| chunk.is_open()).take(self.open);
        let mut folded_now = 0;
        for chunk in open {
            let Content::Open(places) = &chunk.content else { continue };
            let is_hot = |place: &Place| place.slot().is_some_and(|slot| !slot.entry.is_paged());
            if places.iter().any(is_hot) {
                continue;
            }
            self.memory -= places.iter().map(Place::memory).sum::<u64>();
            folded_now += 1;
            chunk.content = Content::Folded(folded(places));
        }
        self.open -= folded_now;
    }

    /// How many tags are in each chunk.
    #[cfg(test)]
    pub(super) fn chunk_lens(&self) -> Vec<usize> {
        self.chunks.values().map(|chunk| chunk.len).collect()
    }

    /// The chunk a tag is in, if it is in one, and where.
    fn at(&self, tag: u64) -> Option<(u64, usize)> {
        let (start, chunk) = self.chunks.range(..=tag).next_back()?;
        let index = usize::try_from(tag - start).ok().filter(|index| *index < chunk.len)?;
        Some((*start, index))
    }

    /// A place in a chunk, which is unfolded.
    fn place(&mut self, start: u64, index: usize) -> Option<&mut Place> {
        let chunk = self.chunks.get_mut(&start)?;
        if let Content::Folded(folded) = &chunk.content {
            let places: Vec<Place> = unfolded(folded).collect();
            self.memory += places.iter().map(Place::memory).sum::<u64>();
            self.open += 1;
            chunk.content = Content::Open(places);
        }
        match &mut chunk.content {
            Content::Open(places) => places.get_mut(index),
            Content::Folded(_) => None,
        }
    }

    /// Places of a chunk have been settled; it goes when all are.
    fn settled(&mut self, start: u64, count: usize) {
        let Some(chunk) = self.chunks.get_mut(&start) else { return };
        chunk.unsettled = chunk.unsettled.saturating_sub(count);
        if chunk.unsettled == 0 {
            self.open -= usize::from(chunk.is_open());
            self.chunks.remove(&start);
        }
    }
}

fn folded(places: &[Place]) -> Folded<Mark> {
    let mut folded = Folded::default();
    for place in places {
        match place {
            Place::Settled => folded.push(None, Mark::Settled),
            Place::TakenBack => folded.push(None, Mark::TakenBack),
            Place::Held(slot) => folded.push(slot.entry.paged(), Mark::Held(slot.source)),
        }
    }
    folded.seal();
    folded
}

fn unfolded(folded: &Folded<Mark>) -> impl Iterator<Item = Place> {
    folded.iter().map(|(entry, mark)| match (mark, entry) {
        (Mark::Held(source), Some(entry)) => Place::Held(Slot { source, entry: entry.into() }),
        (Mark::TakenBack, _) => Place::TakenBack,
        (Mark::Settled | Mark::Held(_), _) => Place::Settled,
    })
}
