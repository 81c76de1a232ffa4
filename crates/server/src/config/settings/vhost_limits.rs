//! What new vhosts may hold: RabbitMQ's `default_limits.vhosts`.

use leveret_broker::access::Pattern;
use leveret_broker::{DefaultVhostLimits, VhostLimits};

use super::{Refused, Setting, texts};

pub(super) const DEFAULTS: Setting = Setting {
    key: "amqp.default_vhost_limits",
    about: "What new vhosts may hold whose names match; of several the first counts",
    live: false,
    allowed: "a list such as [\"^customer- max_queues=100 max_connections=50\"], or \"none\"",
    apply: |config, value| {
        let texts = value.texts()?;
        let all = texts.iter().map(|text| read(text).ok_or(Refused::NotAllowed));
        config.amqp.default_vhost_limits = all.collect::<Result<_, _>>()?;
        Ok(())
    },
    show: |config| match config.amqp.default_vhost_limits.as_slice() {
        [] => "none".into(),
        all => texts(all.iter().map(show)),
    },
};

const CONNECTIONS: &str = "max_connections";
const QUEUES: &str = "max_queues";

/// A pattern, and behind it limits.
fn read(text: &str) -> Option<DefaultVhostLimits> {
    let (mut pattern, mut limits) = (text.trim(), VhostLimits::default());
    while let Some((before, last)) = pattern.rsplit_once(char::is_whitespace) {
        let Some((name, number)) = last.split_once('=') else { break };
        let limit = match name {
            CONNECTIONS => &mut limits.max_connections,
            QUEUES => &mut limits.max_queues,
            _ => return None,
        };
        *limit = Some(number.parse().ok()?);
        pattern = before.trim_end();
    }
    let is_limited = limits != VhostLimits::default() && !pattern.is_empty();
    let pattern = Pattern::new(pattern).ok().filter(|_| is_limited)?;
    Some(DefaultVhostLimits { pattern, limits })
}

fn show(one: &DefaultVhostLimits) -> String {
    let VhostLimits { max_connections, max_queues } = one.limits;
    let mut text = one.pattern.as_str().to_owned();
    for (name, limit) in [(CONNECTIONS, max_connections), (QUEUES, max_queues)] {
        if let Some(limit) = limit {
            text += &format!(" {name}={limit}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_stand_behind_a_pattern() {
        let shown = |text| read(text).map(|one| show(&one));
        let both = "^a max_connections=1 max_queues=-1";
        assert_eq!(shown("^a  max_queues=-1 max_connections=1").as_deref(), Some(both));
        assert_eq!(shown("a b max_queues=2").as_deref(), Some("a b max_queues=2"));
        for bad in ["", "^a", "max_queues=1", "^a max_users=1", "^a max_queues=x", "( max_queues=1"]
        {
            assert_eq!(shown(bad), None, "{bad}");
        }
    }
}
