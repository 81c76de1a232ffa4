//! The one place that looks at a table nobody has checked. No recursion, no allocation.

use super::raw::{self, Layout};
use super::{TableError, TableLimits};

/// Checks the bytes of a table.
pub(super) fn table(bytes: &[u8], limits: &TableLimits) -> Result<(), TableError> {
    check(Container::Table, bytes, limits)
}

/// Checks the bytes of an array.
pub(super) fn array(bytes: &[u8], limits: &TableLimits) -> Result<(), TableError> {
    check(Container::Array, bytes, limits)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Table,
    Array,
}

/// A container that has been entered: what it is, and what of it comes after the one inside.
type Open<'a> = (Container, &'a [u8]);

/// How many fields there may be, and how many more.
#[derive(Clone, Copy)]
struct Fields {
    left: usize,
    max: usize,
}

fn check(kind: Container, bytes: &[u8], limits: &TableLimits) -> Result<(), TableError> {
    let max_depth = limits.max_depth.min(TableLimits::DEEPEST);
    if max_depth == 0 {
        return Err(TableError::TooDeep(max_depth));
    }
    let mut fields = Fields { left: limits.max_fields, max: limits.max_fields };
    let mut outermost = (kind, bytes);
    match next_container(&mut outermost, &mut fields)? {
        Some(inner) => check_nested(outermost, inner, fields, max_depth),
        None => Ok(()),
    }
}

/// Goes on at the first container inside the outermost one. Apart from the flat case for its stack,
/// which costs more to set up than a small table takes to read.
#[inline(never)]
fn check_nested<'a>(
    outermost: Open<'a>,
    inner: Open<'a>,
    mut fields: Fields,
    max_depth: usize,
) -> Result<(), TableError> {
    let mut stack = [(Container::Table, &[][..]); TableLimits::DEEPEST];
    let mut depth = 0;
    let mut current = outermost;
    let mut entered = Some(inner);
    loop {
        if let Some(inner) = entered {
            let slot = stack.get_mut(depth).ok_or(TableError::TooDeep(max_depth))?;
            *slot = std::mem::replace(&mut current, inner);
            depth += 1;
            if depth >= max_depth {
                return Err(TableError::TooDeep(max_depth));
            }
        } else {
            let Some(outer) = depth.checked_sub(1) else { return Ok(()) };
            depth = outer;
            current = stack.get(outer).copied().ok_or(TableError::TooDeep(max_depth))?;
        }
        entered = next_container(&mut current, &mut fields)?;
    }
}

/// Checks fields up to the next one that is itself a container, and steps over that; `None` at the
/// end.
fn next_container<'a>(
    (kind, rest): &mut Open<'a>,
    fields: &mut Fields,
) -> Result<Option<Open<'a>>, TableError> {
    while !rest.is_empty() {
        fields.left = fields.left.checked_sub(1).ok_or(TableError::TooManyFields(fields.max))?;
        if *kind == Container::Table {
            *rest = raw::key(rest).ok_or(TableError::Truncated)?.1;
        }
        let (&tag, value) = rest.split_first().ok_or(TableError::Truncated)?;
        let container = match Layout::of(tag).ok_or(TableError::UnknownType(tag))? {
            Layout::Fixed(len) => {
                *rest = value.get(len..).ok_or(TableError::Truncated)?;
                continue;
            }
            Layout::Bytes => None,
            Layout::Array => Some(Container::Array),
            Layout::Table => Some(Container::Table),
        };
        let (inside, after) = raw::long_bytes(value).ok_or(TableError::Truncated)?;
        *rest = after;
        if let Some(container) = container {
            return Ok(Some((container, inside)));
        }
    }
    Ok(None)
}
