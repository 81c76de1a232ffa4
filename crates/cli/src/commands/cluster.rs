//! The cluster, which is one node.

use serde_json::json;

use super::node;
use crate::call::Call;
use crate::command::{Command, Run};
use crate::failure::{DATA, Failure, TIMEOUT};
use crate::output::Output;
use crate::program::Program::Ctl;

const CLUSTER: Command = Command::of("Cluster", &[Ctl]);

pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "await_online_nodes",
        arguments: "<count>",
        about: "Waits until so many nodes are up, of which there is one",
        example: "await_online_nodes 1",
        banner: Some(|call| {
            format!(
                "Will wait for at least {} nodes to join the cluster of {}. Timeout: {} seconds.",
                call.argument(0),
                call.node(),
                call.options.timeout.unwrap_or(300)
            )
        }),
        run: Run::With(await_nodes),
        ..CLUSTER
    },
    Command {
        name: "set_cluster_name",
        arguments: "<name>",
        about: "Gives the cluster a name, which clients see",
        example: "set_cluster_name warehouse",
        banner: Some(|call| format!("Setting cluster name to {} ...", call.argument(0))),
        run: Run::With(|call| {
            call.broker.put("/api/cluster-name", &json!({ "name": call.argument(0) }))?;
            Ok(Output::Nothing)
        }),
        ..CLUSTER
    },
];

fn await_nodes(call: &Call) -> Result<Output, Failure> {
    let count: u32 =
        call.argument(0).parse().ok().filter(|count| *count > 0).ok_or_else(|| {
            call.misused(DATA, "Bad argument: the count should be a positive number")
        })?;
    node::await_up(call, 300)?;
    if count == 1 {
        return Ok(Output::Nothing);
    }
    let why = format!("{count} nodes will not come: {} is the only node there is", call.node());
    Err(Failure::error(TIMEOUT, why))
}
