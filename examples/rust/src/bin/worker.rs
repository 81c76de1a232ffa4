//! Task queue, the working half: take one task at a time, acknowledge it when it is done.
//!
//! Start several: tasks go to whoever is free, and a killed worker's task goes to another.

use std::time::Duration;

use clap::Parser;
use futures::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};

#[derive(Parser)]
struct Args {
    #[arg(long, env = "AMQP_URL", default_value = "amqp://guest:guest@localhost:5672/%2f")]
    url: String,
    /// Stop after this many tasks.
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    count: usize,
    /// Work this many times faster.
    #[arg(long, default_value_t = 1)]
    speed: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { url, count, speed } = Args::parse();
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .queue_declare("task_queue".into(), QueueDeclareOptions::durable(), FieldTable::default())
        .await?;

    // No second task before the first is acknowledged.
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let consumer = channel
        .basic_consume(
            "task_queue".into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    println!("waiting for tasks, CTRL+C ends");
    let mut deliveries = consumer.take(count);
    while let Some(delivery) = deliveries.next().await {
        let delivery = delivery?;
        let task = String::from_utf8_lossy(&delivery.data);
        println!("working on {task:?}");
        for _ in task.matches('.') {
            tokio::time::sleep(Duration::from_secs(1) / speed).await;
        }
        delivery.ack(BasicAckOptions::default()).await?;
        println!("done");
    }

    connection.close(200, "done".into()).await?;
    Ok(())
}
