//! Publish/subscribe, the subscribing half: each subscriber gets every line.

use clap::Parser;
use futures::StreamExt;
use lapin::options::{
    BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties, ExchangeKind};

#[derive(Parser)]
struct Args {
    #[arg(long, env = "AMQP_URL", default_value = "amqp://guest:guest@localhost:5672/%2f")]
    url: String,
    /// Stop after this many lines.
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    count: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { url, count } = Args::parse();
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .exchange_declare(
            "logs".into(),
            ExchangeKind::Fanout,
            ExchangeDeclareOptions::default(),
            FieldTable::default(),
        )
        .await?;

    // The broker names the queue; it lives as long as this connection.
    let queue = channel
        .queue_declare("".into(), QueueDeclareOptions::exclusive(), FieldTable::default())
        .await?;
    channel
        .queue_bind(
            queue.name().clone(),
            "logs".into(),
            "".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let consumer = channel
        .basic_consume(
            queue.name().clone(),
            "".into(),
            BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() },
            FieldTable::default(),
        )
        .await?;
    println!("waiting for logs, CTRL+C ends");
    let mut deliveries = consumer.take(count);
    while let Some(delivery) = deliveries.next().await {
        println!("received {:?}", String::from_utf8_lossy(&delivery?.data));
    }

    connection.close(200, "done".into()).await?;
    Ok(())
}
