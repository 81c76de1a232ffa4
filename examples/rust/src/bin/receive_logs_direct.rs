//! Routing, the subscribing half: get the lines of the severities asked for.

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
    severities: Vec<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { url, count, severities } = Args::parse();
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .exchange_declare(
            "direct_logs".into(),
            ExchangeKind::Direct,
            ExchangeDeclareOptions::default(),
            FieldTable::default(),
        )
        .await?;

    let queue = channel
        .queue_declare("".into(), QueueDeclareOptions::exclusive(), FieldTable::default())
        .await?;
    for severity in severities {
        channel
            .queue_bind(
                queue.name().clone(),
                "direct_logs".into(),
                severity.into(),
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
