//! A page that takes its time to make, and that anybody may ask for as often as they like.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use parking_lot::Mutex;

/// Makes one at a time, and half of the time none. Whoever asks meanwhile gets the next one, with all
/// others who do: nothing in it is older than their request.
#[derive(Default)]
pub(crate) struct SharedPage(Mutex<Option<Made>>);

struct Made {
    begun: Instant,
    ended: Instant,
    page: Arc<str>,
}

impl SharedPage {
    /// The page as `make` makes it, or has just made it for somebody else. For a thread that serves nobody else.
    pub(super) fn get(&self, make: impl FnOnce() -> String) -> Arc<str> {
        self.since(Instant::now(), make)
    }

    fn since(&self, asked: Instant, make: impl FnOnce() -> String) -> Arc<str> {
        let mut last = self.0.lock();
        if let Some(made) = &*last {
            if made.begun >= asked {
                return Arc::clone(&made.page);
            }
            let took = made.ended - made.begun;
            thread::sleep(took.saturating_sub(made.ended.elapsed()));
        }
        let begun = Instant::now();
        let page: Arc<str> = make().into();
        *last = Some(Made { begun, ended: Instant::now(), page: Arc::clone(&page) });
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_while_a_page_is_made_shares_the_next_one() {
        let shared = SharedPage::default();
        let mut count = 0;
        let mut since = |asked| {
            let page = shared.since(asked, || {
                count += 1;
                count.to_string()
            });
            page.to_string()
        };
        let first = Instant::now();
        assert_eq!(since(first), "1");
        let while_it_is_made = Instant::now();
        assert_eq!(since(first), "1");
        for _ in 0..16 {
            assert_eq!(since(while_it_is_made), "2");
        }
        assert_eq!(since(Instant::now()), "3");
    }
}
