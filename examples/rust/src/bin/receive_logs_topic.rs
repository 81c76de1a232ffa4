//! Topics, the subscribing half: get the lines whose key matches a pattern.
//!
//! In a pattern `*` stands for one word and `#` for any number of words, also none.

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
    #[arg(required = true)]
    patterns: Vec<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { url, count, patterns } = Args::parse();
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .exchange_declare(
            "topic_logs".into(),
            ExchangeKind::Topic,
            ExchangeDeclareOptions::default(),
            FieldTable::default(),
        )
        .await?;

    let queue = channel
        .queue_declare("".into(), QueueDeclareOptions::exclusive(), FieldTable::default())
        .await?;
    for pattern in patterns {
        channel
            .queue_bind(
                queue.name().clone(),
                "topic_logs".into(),
                pattern.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
    }
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
        let delivery = delivery?;
        let text = String::from_utf8_lossy(&delivery.data);
        println!("received {}: {text:?}", delivery.routing_key);
    }

    connection.close(200, "done".into()).await?;
    Ok(())
}
