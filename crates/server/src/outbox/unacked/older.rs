//! The oldest tags of a channel, in chunks that can be small.

use std::collections::VecDeque;

use leveret_engine::Folded;

use super::{Place, Slot, UnknownTag};

/// Tags in a chunk.
pub(super) const CHUNK: usize = 256;

/// Tags before those of the deque, by the chunk. A chunk whose deliveries are all paged out is
/// **folded**, a few bytes each; what settles one of them unfolds it.
#[derive(Default)]
pub(super) struct Older {
    /// By their tags. Tags between them are settled.
    chunks: VecDeque<Chunk>,
    /// Chunks that are not folded.
    open: usize,
    /// What is in those takes in memory, about, in bytes.
    memory: u64,
}

/// Consecutive tags.
struct Chunk {
    /// The first.
    start: u64,
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
    /// The tag behind its last.
    const fn end(&self) -> u64 {
        self.start + self.len as u64
    }
}

impl Older {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// What it takes in memory, about, in bytes; nothing for what is folded.
    pub(super) const fn memory(&self) -> u64 {
        self.memory
    }

    /// Its last tag, or 0.
    pub(super) fn last_tag(&self) -> u64 {
        self.chunks.back().map_or(0, |last| last.end() - 1)
    }

    /// Whether the client has not settled a tag.
    pub(super) fn is_known(&self, tag: u64) -> bool {
        let chunk = self.at(tag).and_then(|at| self.chunks.get(at));
        let Some((chunk, index)) = chunk.and_then(|chunk| Some((chunk, index(chunk, tag)?))) else {
            return false;
        };
        match &chunk.content {
            Content::Open(places) => places.get(index).is_some_and(|place| !place.is_settled()),
            Content::Folded(folded) => {
                folded.iter().nth(index).is_some_and(|(_, mark)| mark != Mark::Settled)
            }
        }
    }

    /// Deliveries that wait for their settlement, by tag, and where they came from.
    pub(super) fn sources(&self) -> impl Iterator<Item = (u64, u32)> {
        self.chunks.iter().flat_map(|chunk| {
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
            let sources = (chunk.start..).zip(open.chain(folded));
            sources.filter_map(|(tag, source)| Some((tag, source?)))
        })
    }

    /// Adds tags behind all others, the first of which is `start`.
    pub(super) fn push(&mut self, start: u64, places: Vec<Place>) {
        let len = places.len();
        let unsettled = places.iter().filter(|place| !place.is_settled()).count();
        if unsettled == 0 {
            return;
        }
        self.memory += places.iter().map(Place::memory).sum::<u64>();
        self.open += 1;
        self.chunks.push_back(Chunk { start, len, unsettled, content: Content::Open(places) });
    }

    /// Puts something else in the place of a tag that the client has not settled.
    pub(super) fn replace(&mut self, tag: u64, with: Place) -> Result<Option<Slot>, UnknownTag> {
        let Some(at) = self.at(tag) else { return Err(UnknownTag(tag)) };
        if !self.is_known(tag) {
            return Err(UnknownTag(tag));
        }
        let is_settled = with.is_settled();
        let slot = self.place(at, tag).and_then(|place| place.replace(with));
        if let Some(slot) = &slot {
            self.memory -= slot.entry.memory();
        }
        if is_settled {
            self.settled(at, 1);
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
        while let Some(first) = self.chunks.front()
            && first.start <= tag
            && *left > 0
        {
            let (start, end) = (first.start, first.end());
            let mut settled = 0;
            for at in start..end.min(tag + 1) {
                let Some(place) = self.place(0, at) else { break };
                settled += usize::from(!place.is_settled());
                if let Some(slot) = place.replace(Place::Settled) {
                    self.memory -= slot.entry.memory();
                    each(at, slot);
                }
            }
            *left = left.saturating_sub(settled);
            self.settled(0, settled);
            if end > tag {
                return;
            }
        }
    }

    /// Puts a taken delivery back under its tag, which is not above the last.
    pub(super) fn restore(&mut self, tag: u64, slot: Slot) {
        self.memory += slot.entry.memory();
        let at = self.chunks.partition_point(|chunk| chunk.start <= tag);
        let before = at.checked_sub(1).and_then(|before| self.chunks.get_mut(before));
        if let (Some(chunk), Some(before)) = (before, at.checked_sub(1)) {
            if tag < chunk.end() {
                chunk.unsettled += 1;
                if let Some(place) = self.place(before, tag) {
                    debug_assert!(place.is_settled(), "only a taken delivery is put back");
                    *place = Place::Held(slot);
                }
                return;
            }
            if let Content::Open(places) = &mut chunk.content
                && tag == chunk.start + chunk.len as u64
                && chunk.len < CHUNK
            {
                chunk.unsettled += 1;
                chunk.len += 1;
                places.push(Place::Held(slot));
                return;
            }
        }
        self.open += 1;
        let content = Content::Open(vec![Place::Held(slot)]);
        self.chunks.insert(at, Chunk { start: tag, len: 1, unsettled: 1, content });
    }

    /// The places of chunks that are not folded.
    pub(super) fn open_places_mut(&mut self) -> impl Iterator<Item = &mut Place> {
        let open = self.chunks.iter_mut().filter_map(|chunk| match &mut chunk.content {
            Content::Open(places) => Some(places),
            Content::Folded(_) => None,
        });
        open.take(self.open).flatten()
    }

    /// The places of chunks that are not folded, with their tags.
    pub(super) fn open_places(&self) -> impl Iterator<Item = (u64, &Place)> {
        let open = self.chunks.iter().filter_map(|chunk| match &chunk.content {
            Content::Open(places) => Some((chunk.start..).zip(places)),
            Content::Folded(_) => None,
        });
        open.take(self.open).flatten()
    }

    /// The place of a tag, if its chunk is not folded.
    pub(super) fn open_place(&mut self, tag: u64) -> Option<&mut Place> {
        let chunk = self.at(tag).and_then(|at| self.chunks.get_mut(at))?;
        let index = index(chunk, tag)?;
        match &mut chunk.content {
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
        let mut open = self.open;
        for chunk in &mut self.chunks {
            if open == 0 {
                return;
            }
            let Content::Open(places) = &chunk.content else { continue };
            open -= 1;
            let is_hot = |place: &Place| place.slot().is_some_and(|slot| !slot.entry.is_paged());
            if places.iter().any(is_hot) {
                continue;
            }
            self.memory -= places.iter().map(Place::memory).sum::<u64>();
            self.open -= 1;
            chunk.content = Content::Folded(folded(places));
        }
    }

    /// The chunk a tag is in, if it is in one.
    fn at(&self, tag: u64) -> Option<usize> {
        let at = self.chunks.partition_point(|chunk| chunk.start <= tag).checked_sub(1)?;
        self.chunks.get(at).filter(|chunk| tag < chunk.end())?;
        Some(at)
    }

    /// A place in a chunk, which is unfolded.
    fn place(&mut self, at: usize, tag: u64) -> Option<&mut Place> {
        let chunk = self.chunks.get_mut(at)?;
        let index = index(chunk, tag)?;
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
    fn settled(&mut self, at: usize, count: usize) {
        let Some(chunk) = self.chunks.get_mut(at) else { return };
        chunk.unsettled = chunk.unsettled.saturating_sub(count);
        if chunk.unsettled == 0 {
            self.open -= usize::from(matches!(chunk.content, Content::Open(_)));
            self.chunks.remove(at);
        }
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new();
        }
    }
}

fn index(chunk: &Chunk, tag: u64) -> Option<usize> {
    usize::try_from(tag.checked_sub(chunk.start)?).ok()
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
