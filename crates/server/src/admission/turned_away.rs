//! What the log says of connections that are turned away.
//!
//! Under attack the log is not to fill the disk: there is a line when it begins, one a minute while
//! it goes on, and one when a minute has passed without.

use std::fmt;

use leveret_engine::Millis;

/// Between two lines.
const PERIOD: Millis = Millis(60_000);

/// Counts those that are turned away for the log.
#[derive(Debug, Default)]
pub(super) struct TurnedAway {
    /// While it goes on.
    spell: Option<Spell>,
}

#[derive(Debug)]
struct Spell {
    began: Millis,
    told: Millis,
    since_told: Reasons,
    in_all: Reasons,
}

/// How many were turned away, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reasons {
    handshakes: u64,
    descriptors: u64,
}

/// Why a connection is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// So many have not opened yet.
    Handshakes(u64),
    /// So many are open.
    Descriptors(u64),
}

/// What is to be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Warning(String),
    Info(String),
}

impl Line {
    pub(super) fn log(self) {
        match self {
            Self::Warning(text) => tracing::warn!("{text}"),
            Self::Info(text) => tracing::info!("{text}"),
        }
    }
}

impl TurnedAway {
    /// A connection is turned away. There is a line for the first.
    pub(super) fn count(&mut self, reason: Reason, now: Millis) -> Option<Line> {
        if let Some(spell) = &mut self.spell {
            spell.since_told.add(reason);
            return None;
        }
        let mut in_all = Reasons::default();
        in_all.add(reason);
        self.spell = Some(Spell { began: now, told: now, since_told: Reasons::default(), in_all });
        Some(Line::Warning(format!("turning AMQP connections away: {reason}")))
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Millis) -> Option<Line> {
        let spell = self.spell.as_mut().filter(|spell| now >= spell.told.saturating_add(PERIOD))?;
        let recent = std::mem::take(&mut spell.since_told);
        if recent == Reasons::default() {
            let seconds = spell.told.0.saturating_sub(spell.began.0) / 1000;
            let line = format!(
                "AMQP connections are not turned away any more; within {seconds} s there were {}",
                spell.in_all
            );
            self.spell = None;
            return Some(Line::Info(line));
        }
        spell.told = now;
        spell.in_all.join(recent);
        Some(Line::Warning(format!("still turning AMQP connections away: {recent} in a minute")))
    }
}

impl Reasons {
    fn add(&mut self, reason: Reason) {
        match reason {
            Reason::Handshakes(_) => self.handshakes += 1,
            Reason::Descriptors(_) => self.descriptors += 1,
        }
    }

    fn join(&mut self, others: Self) {
        self.handshakes += others.handshakes;
        self.descriptors += others.descriptors;
    }
}

impl fmt::Display for Reasons {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { handshakes, descriptors } = self;
        match (handshakes, descriptors) {
            (_, 0) => write!(out, "{handshakes} because of amqp.handshake_max"),
            (0, _) => write!(out, "{descriptors} for want of descriptors"),
            _ => write!(
                out,
                "{handshakes} because of amqp.handshake_max, {descriptors} for want of descriptors"
            ),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshakes(guests) => {
                write!(out, "{guests} have not opened yet, as many as amqp.handshake_max allows")
            }
            Self::Descriptors(places) => {
                write!(out, "{places} are open, and files need the descriptors that are left")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_line_a_minute_however_many_are_turned_away() {
        let mut turned_away = TurnedAway::default();
        let mut lines = Vec::new();
        // For two minutes, each millisecond; now and then one of those that wait leaves.
        for now in 1..=120_000 {
            lines.extend(turned_away.count(Reason::Handshakes(50), Millis(now)));
            lines.extend(turned_away.tick(Millis(now)));
        }
        lines.extend(turned_away.count(Reason::Descriptors(900), Millis(120_100)));
        for now in 120_100..400_000 {
            lines.extend(turned_away.tick(Millis(now)));
        }
        let expected = [
            Line::Warning(
                "turning AMQP connections away: 50 have not opened yet, as many as \
                 amqp.handshake_max allows"
                    .to_owned(),
            ),
            Line::Warning(
                "still turning AMQP connections away: 60000 because of amqp.handshake_max in a \
                 minute"
                    .to_owned(),
            ),
            Line::Warning(
                "still turning AMQP connections away: 59999 because of amqp.handshake_max, 1 for \
                 want of descriptors in a minute"
                    .to_owned(),
            ),
            Line::Info(
                "AMQP connections are not turned away any more; within 120 s there were 120000 \
                 because of amqp.handshake_max, 1 for want of descriptors"
                    .to_owned(),
            ),
        ];
        assert_eq!(lines, expected);
        // And if it begins anew it is told anew.
        let again = turned_away.count(Reason::Descriptors(900), Millis(400_000));
        assert_eq!(
            again,
            Some(Line::Warning(
                "turning AMQP connections away: 900 are open, and files need the descriptors \
                 that are left"
                    .to_owned()
            ))
        );
    }
}
