//! Names that strangers give, as the log shows them.

/// Characters of a name that a line shows.
const SHOWN_MAX: usize = 100;

/// A name as a line of the log shows it: without control characters, and cut if it is long. Who has
/// not logged in gives any, as long as a frame or a request.
#[must_use]
pub fn name_in_log(name: &str) -> String {
    let end = name.char_indices().nth(SHOWN_MAX).map(|(end, _)| end);
    match end.and_then(|end| name.get(..end)) {
        Some(shown) => format!("{}...", shown.escape_debug()),
        None => name.escape_debug().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_whole_unless_they_are_long() {
        assert_eq!(name_in_log("anna"), "anna");
        assert_eq!(name_in_log("a\nb"), "a\\nb");
        let most = "ä".repeat(100);
        assert_eq!(name_in_log(&most), most);
        assert_eq!(name_in_log(&(most.clone() + "b")), most + "...");
        assert!(name_in_log(&"\u{10ffff}".repeat(100_000)).len() < 1100);
    }
}
