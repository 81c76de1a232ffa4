//! Lists of objects: which columns, in which order, which page.
//!
//! An object is a table of named fields, each a function. A list only asks for what its request
//! wants to see: a page of a hundred thousand queues sorted by name looks at their names, and at the
//! numbers of those on the page.

use std::cmp::Ordering;
use std::ops::Range;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value, json};

use crate::answer::{Answer, FREE, Failure, Outcome};
use crate::call::Call;
use crate::space::Space;

/// A field of an object: its name and how to get it; `None` where the object doesn't have it.
pub(crate) type Field<T> = (&'static str, Get<T>);

type Get<T> = fn(&T) -> Option<Value>;

const PAGE_SIZE: usize = 100;
pub(crate) const PAGE_SIZE_MAX: usize = 500;
/// How large a compiled pattern of a request may be, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// The order of items whose request names none, where they come in any.
pub(crate) type Usual<T> = fn(&T, &T) -> Ordering;

/// What items are sorted by.
pub(crate) type SortKey<'a, T> = Box<dyn Fn(&T) -> Option<Value> + 'a>;

/// How items that come in any order are sorted.
pub(crate) struct Sorting<T> {
    /// The order if the request names none, and of what is the same in what it names.
    pub(crate) usual: Usual<T>,
    /// What the path that a request names stands for, where that is found with less work than by the
    /// field it begins with.
    pub(crate) key: fn(&str) -> Option<SortKey<'static, T>>,
}

/// Answers with a list of what comes in order.
///
/// # Errors
/// 400 for a page that can't be, 503 when others leave no room for the list.
pub(crate) fn list<T>(call: &Call, items: Vec<T>, fields: &[Field<T>]) -> Result<Answer, Failure> {
    listed(call, &items, fields, None, Space::of(call))
}

/// Answers with a list of what comes in any order.
///
/// # Errors
/// 400 for a page that can't be, 503 when others leave no room for the list beside the items, which may have
/// taken some of this space.
pub(crate) fn list_unordered<T>(
    call: &Call,
    items: &[T],
    fields: &[Field<T>],
    sorting: &Sorting<T>,
    space: Space,
) -> Result<Answer, Failure> {
    listed(call, items, fields, Some(sorting), space)
}

fn listed<T>(
    call: &Call,
    items: &[T],
    fields: &[Field<T>],
    sorting: Option<&Sorting<T>>,
    space: Space,
) -> Result<Answer, Failure> {
    let order = Order::of(call, fields, sorting);
    match Page::of(call)? {
        None => {
            let items = order.at(0..items.len(), items.iter().collect());
            written(call, items.into_iter(), fields, space)
        }
        Some(page) => page.answer(call, items.iter().collect(), fields, &order),
    }
}

/// Answers with a list that RabbitMQ doesn't cut into pages.
///
/// # Errors
/// 503 when others leave no room for it beside the items, which have taken some of this space.
pub(crate) fn unpaged<T>(call: &Call, items: &[T], fields: &[Field<T>], space: Space) -> Outcome {
    let order = Order::of(call, fields, None);
    let items = order.at(0..items.len(), items.iter().collect());
    written(call, items.into_iter(), fields, space)
}

/// Answers with a list in the order it has.
///
/// # Errors
/// 503 when others leave no room for it.
pub(crate) fn whole_list<T>(call: &Call, items: &[T], fields: &[Field<T>]) -> Outcome {
    written(call, items.iter(), fields, Space::of(call))
}

/// Answers with one object.
pub(crate) fn object<T>(call: &Call, item: &T, fields: &[Field<T>]) -> Answer {
    Answer::json(&to_json(call, item, fields))
}

/// One object as JSON, as far as the request wants it.
pub(crate) fn to_json<T>(call: &Call, item: &T, fields: &[Field<T>]) -> Value {
    Columns::of(call).object(item, fields)
}

/// These fields of an object as JSON.
pub(crate) fn some_of<T>(item: &T, fields: &[Field<T>], names: &[&str]) -> Value {
    Columns::at(names.iter().copied()).object(item, fields)
}

fn written<'i, T: 'i>(
    call: &Call,
    items: impl Iterator<Item = &'i T>,
    fields: &[Field<T>],
    mut space: Space,
) -> Outcome {
    let columns = Columns::of(call);
    let (mut out, mut counted) = (vec![b'['], 0);
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        columns.write(item, fields, &mut out);
        // It grows to as much as twice its length; short ones are free all the same.
        let size = if out.len() < FREE { out.len() } else { out.capacity() };
        space.take(size - counted)?;
        counted = size;
    }
    out.push(b']');
    Ok(space.answer(out))
}

/// The columns a request wants, each a path into the object; none for all.
///
/// A request may name thousands, and each field of each object asks for those that begin with it. So they
/// are sorted, where those are found at once.
struct Columns<'a> {
    paths: Option<Vec<Path<'a>>>,
}

/// The names of a field, of a field in it, and so on.
type Path<'a> = Vec<&'a str>;

impl<'a> Columns<'a> {
    fn of(call: &'a Call) -> Self {
        let paths = call.parameter("columns");
        paths.map_or(Self { paths: None }, |paths| Self::at(paths.split(',')))
    }

    fn at(paths: impl Iterator<Item = &'a str>) -> Self {
        let mut paths: Vec<Path<'a>> = paths.map(|path| path.split('.').collect()).collect();
        paths.sort_unstable();
        paths.dedup();
        Self { paths: Some(paths) }
    }

    fn object<T>(&self, item: &T, fields: &[Field<T>]) -> Value {
        let all = fields.iter().filter_map(|(name, get)| {
            let value = self.select(name, || get(item))?;
            Some(((*name).to_owned(), value))
        });
        Value::Object(all.collect())
    }

    fn write<T>(&self, item: &T, fields: &[Field<T>], out: &mut Vec<u8>) {
        out.push(b'{');
        let mut is_first = true;
        for (name, get) in fields {
            let Some(value) = self.select(name, || get(item)) else { continue };
            if !std::mem::take(&mut is_first) {
                out.push(b',');
            }
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            // Writing a value to memory doesn't fail.
            let written = serde_json::to_writer(&mut *out, &value);
            debug_assert!(written.is_ok(), "a value is written to memory");
        }
        out.push(b'}');
    }

    /// A field as far as it is wanted.
    fn select(&self, name: &str, get: impl FnOnce() -> Option<Value>) -> Option<Value> {
        let Some(paths) = &self.paths else { return get() };
        let wanted = below(paths, 0, name);
        if wanted.is_empty() { None } else { pruned(&get()?, wanted, 1) }
    }
}

/// Those of sorted paths that have this name at this depth, where they are the same up to there.
fn below<'p, 'a>(paths: &'p [Path<'a>], depth: usize, name: &str) -> &'p [Path<'a>] {
    let start = paths.partition_point(|path| path.get(depth).copied() < Some(name));
    let end = paths.partition_point(|path| path.get(depth).copied() <= Some(name));
    paths.get(start..end).unwrap_or_default()
}

/// The parts of a value at the ends of these paths, which lead to it down to this depth, in their places.
fn pruned(value: &Value, paths: &[Path<'_>], depth: usize) -> Option<Value> {
    // The shortest is the first.
    if paths.first()?.len() == depth {
        return Some(value.clone());
    }
    let kept = value.as_object()?.iter().filter_map(|(name, value)| {
        Some((name.clone(), pruned(value, below(paths, depth, name), depth + 1)?))
    });
    let kept: Map<_, _> = kept.collect();
    (!kept.is_empty()).then_some(Value::Object(kept))
}

/// The order a request wants.
struct Order<'a, T> {
    by: Option<SortKey<'a, T>>,
    is_reversed: bool,
    /// What decides else; `None` if the items come in their order.
    usual: Option<Usual<T>>,
}

impl<'a, T: 'a> Order<'a, T> {
    fn of(call: &'a Call, fields: &[Field<T>], sorting: Option<&Sorting<T>>) -> Self {
        let usual = sorting.map(|sorting| sorting.usual);
        let by = call.parameter("sort").and_then(|path| {
            let quick = sorting.and_then(|sorting| (sorting.key)(path));
            quick.map(|key| key as SortKey<'a, T>).or_else(|| by_field(fields, path))
        });
        // What there is not turns nothing around.
        let is_reversed =
            call.flag("sort_reverse") && (by.is_some() || call.parameter("sort").is_none());
        Self { by, is_reversed, usual }
    }

    /// What an item is sorted by.
    fn key(&self, item: &T) -> Option<Value> {
        self.by.as_ref().and_then(|key| key(item))
    }

    /// The items that stand at these places of the order. Those of a page are found without putting all
    /// the others in order.
    fn at<'i>(&self, places: Range<usize>, mut items: Vec<&'i T>) -> Vec<&'i T> {
        let count = items.len();
        let end = places.end.min(count);
        let start = places.start.min(end);
        if start == end {
            return Vec::new();
        }
        let (start, end) = match self.is_reversed {
            true => (count - end, count - start),
            false => (start, end),
        };
        if self.by.is_some() || self.usual.is_some() {
            let keyed = items.into_iter().enumerate();
            let keyed = keyed.map(|(number, item)| (self.key(item), number, item));
            let mut keyed: Vec<_> = keyed.collect();
            let order = |(key, number, item): &(_, usize, &T), other: &(_, usize, &T)| {
                let by_key = compare(Option::as_ref(key), Option::as_ref(&other.0));
                let usual = || self.usual.map_or(Ordering::Equal, |usual| usual(item, other.2));
                by_key.then_with(usual).then_with(|| number.cmp(&other.1))
            };
            if end < count {
                keyed.select_nth_unstable_by(end, order);
                keyed.truncate(end);
            }
            if start > 0 {
                keyed.select_nth_unstable_by(start, order);
            }
            let mut shown = keyed.split_off(start);
            shown.sort_unstable_by(order);
            items = shown.into_iter().map(|(_, _, item)| item).collect();
        } else {
            items.truncate(end);
            items.drain(..start);
        }
        if self.is_reversed {
            items.reverse();
        }
        items
    }
}

/// By a field, or by something in it.
fn by_field<'a, T: 'a>(fields: &[Field<T>], path: &'a str) -> Option<SortKey<'a, T>> {
    let mut path = path.split('.');
    let first = path.next().unwrap_or_default();
    let (_, get) = *fields.iter().find(|(name, _)| *name == first)?;
    let rest: Vec<&str> = path.collect();
    Some(Box::new(move |item| {
        let value = get(item)?;
        rest.iter().try_fold(&value, |value, name| value.get(name)).cloned()
    }))
}

/// Values in the order of Erlang's terms, what is missing before all.
fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    let rank = |value: Option<&Value>| match value {
        None => 0,
        Some(Value::Number(_)) => 1,
        Some(Value::Bool(_) | Value::Null) => 2,
        Some(Value::Object(_)) => 3,
        Some(Value::Array(_)) => 4,
        Some(Value::String(_)) => 5,
    };
    match (a, b) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => {
                let value = |number: &serde_json::Number| number.as_f64().unwrap_or_default();
                value(a).total_cmp(&value(b))
            }
        },
        (Some(Value::String(a)), Some(Value::String(b))) => a.cmp(b),
        (Some(Value::Bool(a)), Some(Value::Bool(b))) => a.cmp(b),
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

/// The page a request wants.
struct Page {
    number: usize,
    size: usize,
    filter: Option<Filter>,
}

/// Which names are wanted.
enum Filter {
    /// Those that contain this, in lower case.
    Contains(String),
    /// Those that match; none do for a pattern that is none.
    Matches(Option<Regex>),
}

impl Page {
    /// `None` when the request asks for no page.
    fn of(call: &Call) -> Result<Option<Self>, Failure> {
        let Some(number) = call.parameter("page") else { return Ok(None) };
        let size = call.parameter("page_size");
        let integer = |text: &str| {
            let invalid = || Failure::bad_request("Pagination parameters are invalid");
            text.parse::<i64>().map_err(|_| invalid())
        };
        let number = integer(number)?;
        let size = size.map(integer).transpose()?;
        let checked = (usize::try_from(number), usize::try_from(size.unwrap_or(PAGE_SIZE as i64)));
        let (Ok(number @ 1..), Ok(size @ 1..=PAGE_SIZE_MAX)) = checked else {
            let size = size.map_or_else(|| "undefined".to_owned(), |size| size.to_string());
            let reason =
                format!("Invalid pagination parameters: page number {number}, page size {size}");
            return Err(Failure::Named("invalid_pagination_parameters", reason));
        };
        let name = call.parameter("name").filter(|name| !name.is_empty());
        let filter = name.map(|name| Filter::new(name, call.flag("use_regex")));
        Ok(Some(Self { number, size, filter }))
    }

    fn answer<T>(
        &self,
        call: &Call,
        items: Vec<&T>,
        fields: &[Field<T>],
        order: &Order<'_, T>,
    ) -> Result<Answer, Failure> {
        let total = items.len();
        let name = fields.iter().find(|(name, _)| *name == "name").map(|(_, get)| get);
        let mut items = items;
        if let (Some(filter), Some(name)) = (&self.filter, name) {
            items.retain(|item| {
                let name = name(item);
                name.as_ref().and_then(Value::as_str).is_some_and(|name| filter.accepts(name))
            });
        }
        let filtered = items.len();
        let pages = filtered.div_ceil(self.size);
        if self.number > pages.max(1) {
            let (page, size) = (self.number, self.size);
            let reason =
                format!("Page out of range, page: {page} page size: {size}, len: {filtered}");
            return Err(Failure::Named("page_out_of_range", reason));
        }
        let first = (self.number - 1).saturating_mul(self.size);
        let items = order.at(first..first.saturating_add(self.size), items);
        let columns = Columns::of(call);
        let objects = items.iter().map(|&item| columns.object(item, fields));
        Ok(Answer::json(&json!({
            "filtered_count": filtered,
            "item_count": items.len(),
            "items": objects.collect::<Vec<_>>(),
            "page": self.number,
            "page_count": pages,
            "page_size": self.size,
            "total_count": total,
        })))
    }
}

impl Filter {
    fn new(name: &str, is_regex: bool) -> Self {
        if is_regex {
            let regex = RegexBuilder::new(name)
                .case_insensitive(true)
                .size_limit(PATTERN_BYTES_MAX)
                .build();
            return Self::Matches(regex.ok());
        }
        Self::Contains(name.to_lowercase())
    }

    fn accepts(&self, name: &str) -> bool {
        match self {
            Self::Contains(part) => name.to_lowercase().contains(part.as_str()),
            Self::Matches(regex) => regex.as_ref().is_some_and(|regex| regex.is_match(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_among_however_many() {
        let item = json!({ "a": { "b": 1, "c": { "d": 2, "e": 3 } }, "f": [4], "g": 5 });
        let fields: &[Field<Value>] = &[
            ("a", |item| item.get("a").cloned()),
            ("f", |item| item.get("f").cloned()),
            ("g", |item| item.get("g").cloned()),
        ];
        let wanted = |text: &str| Columns::at(text.split(',')).object(&item, fields);
        assert_eq!(wanted("g,nothing,g"), json!({ "g": 5 }));
        assert_eq!(wanted("a.c.e,a.b"), json!({ "a": { "b": 1, "c": { "e": 3 } } }));
        assert_eq!(wanted("a.c.d,a.c,a.b.x"), json!({ "a": { "c": { "d": 2, "e": 3 } } }));
        assert_eq!(wanted("a.x,f.0,g.x,"), json!({}));

        let repeated = "a.c,".repeat(10_000);
        assert_eq!(Columns::at(repeated.split(',')).paths.unwrap(), [vec![""], vec!["a", "c"]]);
        let many: Vec<String> = (0..10_000).map(|number| format!("a.{number}")).collect();
        let columns = Columns::at(many.iter().map(String::as_str));
        let paths = columns.paths.unwrap();
        // No more of them are looked at than these.
        assert_eq!(below(&paths, 0, "a").len(), 10_000);
        assert_eq!(below(below(&paths, 0, "a"), 1, "77"), [vec!["a", "77"]]);
        assert_eq!((below(&paths, 0, "b").len(), below(&paths, 1, "x").len()), (0, 0));
    }

    #[test]
    fn values_sort_as_erlang_sorts_them() {
        let sorted = [
            None,
            Some(json!(-1)),
            Some(json!(2.5)),
            Some(json!(true)),
            Some(json!({})),
            Some(json!("a")),
        ];
        for pair in sorted.windows(2) {
            assert_eq!(compare(pair[0].as_ref(), pair[1].as_ref()), Ordering::Less, "{pair:?}");
        }
        assert_eq!(
            compare(
                Some(&json!(9_007_199_254_740_993_i64)),
                Some(&json!(9_007_199_254_740_992_i64))
            ),
            Ordering::Greater
        );
    }

    /// Pages of a list, found by themselves, are those of the whole list in order.
    #[test]
    fn a_page_is_what_stands_there_in_the_whole_order() {
        type Item = (i64, &'static str);
        let items: Vec<Item> = vec![(2, "c"), (1, "b"), (2, "a"), (1, "d"), (3, "e"), (2, "b")];
        let fields: [Field<Item>; 1] = [("number", |item| Some(item.0.into()))];
        let by_name: Usual<Item> = |a, b| a.1.cmp(b.1);
        let number = || by_field(&fields, "number");
        for (by, usual, is_reversed, expected) in [
            (None, None, false, ["2c", "1b", "2a", "1d", "3e", "2b"]),
            (None, None, true, ["2b", "3e", "1d", "2a", "1b", "2c"]),
            (None, Some(by_name), false, ["2a", "1b", "2b", "2c", "1d", "3e"]),
            (number(), None, false, ["1b", "1d", "2c", "2a", "2b", "3e"]),
            (number(), Some(by_name), false, ["1b", "1d", "2a", "2b", "2c", "3e"]),
            (number(), Some(by_name), true, ["3e", "2c", "2b", "2a", "1d", "1b"]),
        ] {
            let order = Order { by, is_reversed, usual };
            for start in 0..=items.len() {
                for end in start..=items.len() + 1 {
                    let found = order.at(start..end, items.iter().collect());
                    let found: Vec<_> = found.iter().map(|(a, b)| format!("{a}{b}")).collect();
                    assert_eq!(found, expected[start..end.min(items.len())], "{start}..{end}");
                }
            }
        }
    }

    #[test]
    fn columns_keep_their_places() {
        let value = json!({ "a": { "b": 1, "c": 2 }, "d": 3 });
        assert_eq!(pruned(&value, &[vec!["a", "b"]], 0), Some(json!({ "a": { "b": 1 } })));
        assert_eq!(pruned(&value, &[vec!["a"], vec!["d"]], 0), Some(value.clone()));
        assert_eq!(pruned(&value, &[vec!["x"]], 0), None);
    }

    #[test]
    fn filters_look_past_case() {
        assert!(Filter::new("Q", false).accepts("my-queue"));
        assert!(!Filter::new("^q", false).accepts("queue"));
        assert!(Filter::new("^Q", true).accepts("queue"));
        assert!(!Filter::new("(", true).accepts("("));
    }
}
