//! Lists of objects: which columns, in which order, which page.
//!
//! An object is a table of named fields, each a function. A list only asks for what its request
//! wants to see: a page of a hundred thousand queues sorted by name looks at their names, and at the
//! numbers of those on the page.

use std::cmp::Ordering;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value, json};

use crate::answer::{Answer, Failure};
use crate::call::Call;

/// A field of an object: its name and how to get it; `None` where the object doesn't have it.
pub(crate) type Field<T> = (&'static str, fn(&T) -> Option<Value>);

const PAGE_SIZE: usize = 100;
const PAGE_SIZE_MAX: usize = 500;
/// How large a compiled pattern of a request may be, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Answers with a list.
///
/// # Errors
/// 400 for a page that can't be.
pub(crate) fn list<T>(call: &Call, items: Vec<T>, fields: &[Field<T>]) -> Result<Answer, Failure> {
    let order = Order::of(call);
    match Page::of(call)? {
        None => {
            let items = order.sort(items, fields);
            Ok(Answer::bytes(written(&items, fields, &Columns::of(call))))
        }
        Some(page) => page.answer(call, items, fields, &order),
    }
}

/// Answers with a list that RabbitMQ doesn't cut into pages.
pub(crate) fn unpaged<T>(call: &Call, items: Vec<T>, fields: &[Field<T>]) -> Answer {
    let items = Order::of(call).sort(items, fields);
    Answer::bytes(written(&items, fields, &Columns::of(call)))
}

/// Answers with a list in the order it has.
pub(crate) fn whole_list<T>(call: &Call, items: &[T], fields: &[Field<T>]) -> Answer {
    Answer::bytes(written(items, fields, &Columns::of(call)))
}

/// Answers with one object.
pub(crate) fn object<T>(call: &Call, item: &T, fields: &[Field<T>]) -> Answer {
    Answer::json(&to_json(call, item, fields))
}

/// One object as JSON, as far as the request wants it.
pub(crate) fn to_json<T>(call: &Call, item: &T, fields: &[Field<T>]) -> Value {
    Columns::of(call).object(item, fields)
}

fn written<T>(items: &[T], fields: &[Field<T>], columns: &Columns<'_>) -> Vec<u8> {
    let mut out = vec![b'['];
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        columns.write(item, fields, &mut out);
    }
    out.push(b']');
    out
}

/// The columns a request wants, each a path into the object; none for all.
struct Columns<'a> {
    paths: Option<Vec<Vec<&'a str>>>,
}

impl<'a> Columns<'a> {
    fn of(call: &'a Call) -> Self {
        let paths = call.parameter("columns");
        Self {
            paths: paths.map(|all| all.split(',').map(|path| path.split('.').collect()).collect()),
        }
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
        let wanted = paths.iter().filter_map(|path| {
            path.split_first().filter(|(first, _)| **first == name).map(|(_, rest)| rest)
        });
        let wanted: Vec<&[&str]> = wanted.collect();
        if wanted.is_empty() { None } else { pruned(&get()?, &wanted) }
    }
}

/// The parts of a value at the ends of these paths, in their places.
fn pruned(value: &Value, paths: &[&[&str]]) -> Option<Value> {
    if paths.iter().any(|path| path.is_empty()) {
        return Some(value.clone());
    }
    let mut kept = Map::new();
    for (name, value) in value.as_object()? {
        let rests = paths.iter().filter_map(|path| {
            path.split_first().filter(|(first, _)| *first == name).map(|(_, rest)| rest)
        });
        let rests: Vec<&[&str]> = rests.collect();
        if let Some(value) = pruned(value, &rests).filter(|_| !rests.is_empty()) {
            kept.insert(name.clone(), value);
        }
    }
    (!kept.is_empty()).then_some(Value::Object(kept))
}

/// The order a request wants.
struct Order<'a> {
    path: Option<Vec<&'a str>>,
    is_reversed: bool,
}

impl<'a> Order<'a> {
    fn of(call: &'a Call) -> Self {
        let path = call.parameter("sort").map(|path| path.split('.').collect());
        Self { path, is_reversed: call.flag("sort_reverse") }
    }

    /// Without a wish by vhost and name, as the items come.
    fn sort<T>(&self, items: Vec<T>, fields: &[Field<T>]) -> Vec<T> {
        let Some(path) = &self.path else {
            let mut items = items;
            if self.is_reversed {
                items.reverse();
            }
            return items;
        };
        let Some((first, rest)) = path.split_first() else { return items };
        let Some((_, get)) = fields.iter().find(|(name, _)| name == first) else { return items };
        let key = |item: &T| {
            let value = get(item)?;
            rest.iter().try_fold(&value, |value, name| value.get(name)).cloned()
        };
        let mut keyed: Vec<_> = items.into_iter().map(|item| (key(&item), item)).collect();
        keyed.sort_by(|(a, _), (b, _)| compare(a.as_ref(), b.as_ref()));
        if self.is_reversed {
            keyed.reverse();
        }
        keyed.into_iter().map(|(_, item)| item).collect()
    }
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
        items: Vec<T>,
        fields: &[Field<T>],
        order: &Order<'_>,
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
        let items = order.sort(items, fields);
        let first = (self.number - 1).saturating_mul(self.size);
        let items: Vec<T> = items.into_iter().skip(first).take(self.size).collect();
        let columns = Columns::of(call);
        let objects = items.iter().map(|item| columns.object(item, fields));
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

    #[test]
    fn columns_keep_their_places() {
        let value = json!({ "a": { "b": 1, "c": 2 }, "d": 3 });
        assert_eq!(pruned(&value, &[&["a", "b"]]), Some(json!({ "a": { "b": 1 } })));
        assert_eq!(pruned(&value, &[&["a"], &["d"]]), Some(value.clone()));
        assert_eq!(pruned(&value, &[&["x"]]), None);
    }

    #[test]
    fn filters_look_past_case() {
        assert!(Filter::new("Q", false).accepts("my-queue"));
        assert!(!Filter::new("^q", false).accepts("queue"));
        assert!(Filter::new("^Q", true).accepts("queue"));
        assert!(!Filter::new("(", true).accepts("("));
    }
}
