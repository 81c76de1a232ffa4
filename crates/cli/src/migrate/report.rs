//! What is said at the end.

use super::mover::Moved;
use super::progress::shown;

/// What became of a migration, or would.
pub(super) struct Report {
    pub(super) queues: Vec<Moved>,
    pub(super) was_stopped: bool,
    pub(super) differences: Vec<String>,
    pub(super) dry_run: bool,
}

impl Report {
    /// Whether nothing stayed that could have been moved.
    pub(super) fn is_complete(&self) -> bool {
        self.dry_run || (!self.was_stopped && self.queues.iter().all(Moved::is_complete))
    }

    /// The reason why it is not.
    pub(super) fn verdict(&self) -> String {
        if self.was_stopped {
            return "It was interrupted: run it again to go on.".to_owned();
        }
        let unfinished = self.queues.iter().filter(|one| !one.is_complete()).count();
        format!("{unfinished} queues have messages that stayed: run it again to go on.")
    }

    /// All of it.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let named: Vec<&Moved> = self
            .queues
            .iter()
            .filter(|one| one.waiting > 0 || one.moved > 0 || one.failure.is_some())
            .collect();
        let width = named.iter().map(|one| shown(&one.queue).chars().count()).max();
        let width = width.unwrap_or_default().max("queue".len());
        if !named.is_empty() {
            text += &format!("{:width$}  {:>10}", "queue", "ready");
            text += if self.dry_run { "\n" } else { "       moved      stayed\n" };
        }
        for one in &named {
            text += &format!("{:width$}  {:>10}", shown(&one.queue), one.waiting);
            if !self.dry_run {
                text += &format!("  {:>10}  {:>10}", one.moved, one.left);
            }
            if one.queue.is_stream() {
                text += "  a stream, which keeps its messages there";
            }
            if let Some(failure) = &one.failure {
                text += &format!("  {failure}");
            }
            text.push('\n');
        }
        let sum = |of: fn(&Moved) -> u64| self.queues.iter().map(of).sum::<u64>();
        text += &match self.dry_run {
            true => format!("{} messages would be moved\n", sum(|one| one.waiting)),
            false => format!("{} messages moved\n", sum(|one| one.moved)),
        };
        if !self.differences.is_empty() {
            text += "What differs:\n";
        }
        for difference in &self.differences {
            text += &format!("- {difference}\n");
        }
        text
    }
}

impl Moved {
    /// Whether nothing of it stayed that could have been moved.
    fn is_complete(&self) -> bool {
        self.failure.is_none() && (self.queue.is_stream() || self.left == 0)
    }
}
