//! Task queue, the giving half: put tasks that survive a broker restart into `task_queue`.
//!
//! Each dot in a task stands for a second of work, shortened by the worker's `--speed`.

use anyhow::ensure;
use clap::Parser;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};

/// The delivery mode of a message that is kept on disk.
const PERSISTENT: u8 = 2;

#[derive(Parser)]
struct Args {
    #[arg(long, env = "AMQP_URL", default_value = "amqp://guest:guest@localhost:5672/%2f")]
    url: String,
    #[arg(default_values = ["sweep the floor...", "water the plants.", "bake bread...."])]
    tasks: Vec<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { url, tasks } = Args::parse();
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .queue_declare("task_queue".into(), QueueDeclareOptions::durable(), FieldTable::default())
        .await?;

    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    for task in tasks {
        let confirmation = channel
            .basic_publish(
                "".into(),
                "task_queue".into(),
                BasicPublishOptions::default(),
                task.as_bytes(),
                BasicProperties::default().with_delivery_mode(PERSISTENT),
            )
            .await?
            // The first await sent the task, this one waits until the broker has it on disk.
            .await?;
        ensure!(confirmation.is_ack(), "the broker refused {task:?}");
        println!("queued {task:?}");
    }

    connection.close(200, "done".into()).await?;
    Ok(())
}
