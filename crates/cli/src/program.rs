//! The tools, and the names they are called by.

use std::ffi::OsStr;
use std::path::Path;

/// A tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `leveret ctl`: the commands of all the others but `rabbitmqadmin`.
    Leveret,
    /// `rabbitmqctl`
    Ctl,
    /// `rabbitmq-diagnostics`
    Diagnostics,
    /// `rabbitmq-plugins`
    Plugins,
    /// `rabbitmq-queues`
    Queues,
    /// `rabbitmq-streams`
    Streams,
    /// `rabbitmq-upgrade`
    Upgrade,
    /// `rabbitmqadmin`
    Admin,
}

impl Program {
    /// All there are.
    pub const ALL: [Self; 8] = [
        Self::Leveret,
        Self::Ctl,
        Self::Diagnostics,
        Self::Plugins,
        Self::Queues,
        Self::Streams,
        Self::Upgrade,
        Self::Admin,
    ];

    /// The tool a program's path names; `None` for any other name.
    pub fn called_as(path: &OsStr) -> Option<Self> {
        let name = Path::new(path).file_name()?.to_str()?;
        // `leveret` itself is the broker.
        Self::ALL.into_iter().filter(|one| *one != Self::Leveret).find(|one| one.name() == name)
    }

    /// As it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Leveret => "leveret ctl",
            Self::Ctl => "rabbitmqctl",
            Self::Diagnostics => "rabbitmq-diagnostics",
            Self::Plugins => "rabbitmq-plugins",
            Self::Queues => "rabbitmq-queues",
            Self::Streams => "rabbitmq-streams",
            Self::Upgrade => "rabbitmq-upgrade",
            Self::Admin => "rabbitmqadmin",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_has_a_link_for_each_tool() {
        let setup = include_str!("../../../packaging/docker/setup");
        for tool in Program::ALL.into_iter().filter(|tool| *tool != Program::Leveret) {
            assert!(setup.split_whitespace().any(|word| word.trim_end_matches(';') == tool.name()));
        }
    }

    #[test]
    fn the_last_part_of_the_path_counts() {
        let called = |path: &str| Program::called_as(OsStr::new(path));
        assert_eq!(called("/usr/bin/rabbitmqctl"), Some(Program::Ctl));
        assert_eq!(called("rabbitmq-diagnostics"), Some(Program::Diagnostics));
        assert_eq!(called("leveret"), None);
        assert_eq!(called("leveret ctl"), None);
        assert_eq!(called(""), None);
    }
}
