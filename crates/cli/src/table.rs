//! The table of all commands, one part a topic.

use crate::command::Command;
use crate::commands::{
    access, alerts, checks, cluster, connections, definitions, features, limits, lists, node,
    parameters, plugins, policies, queues, refused, status, tool, users, vhosts,
};

/// Every command there is, in the order of the help.
pub(crate) static COMMANDS: &[&[Command]] = &[
    tool::COMMANDS,
    node::COMMANDS,
    cluster::COMMANDS,
    users::COMMANDS,
    access::COMMANDS,
    status::COMMANDS,
    lists::COMMANDS,
    checks::COMMANDS,
    parameters::COMMANDS,
    policies::COMMANDS,
    vhosts::COMMANDS,
    limits::COMMANDS,
    definitions::COMMANDS,
    features::COMMANDS,
    connections::COMMANDS,
    queues::COMMANDS,
    alerts::COMMANDS,
    plugins::COMMANDS,
    refused::COMMANDS,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::parse::command_line;
    use crate::program::Program;

    #[test]
    fn every_tool_has_a_consistent_command_line() {
        for tool in Program::ALL.into_iter().filter(|tool| *tool != Program::Admin) {
            command_line(tool).debug_assert();
            let own = COMMANDS.iter().copied().flatten();
            let names: Vec<&str> =
                own.filter(|command| command.tools.contains(&tool)).map(|one| one.name).collect();
            let distinct: BTreeSet<&str> = names.iter().copied().collect();
            assert_eq!(names.len(), distinct.len(), "{tool:?}");
        }
    }

    #[test]
    fn every_command_says_what_it_does_and_how_it_is_used() {
        for command in COMMANDS.iter().copied().flatten() {
            assert!(command.about.len() > 10 && !command.about.ends_with('.'), "{}", command.name);
            let takes_arguments = !command.arguments.is_empty();
            let is_refused = matches!(command.run, crate::command::Run::Refused(..));
            assert!(
                !takes_arguments || is_refused || !command.example.is_empty(),
                "{}",
                command.name
            );
            for line in command.example.lines() {
                assert!(line.contains(command.name), "{}", command.name);
            }
        }
    }
}
