//! RPC, the answering half: compute Fibonacci numbers for whoever asks on `rpc_queue`.

use clap::Parser;
use futures::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};

#[derive(Parser)]
struct Args {
    #[arg(long, env = "AMQP_URL", default_value = "amqp://guest:guest@localhost:5672/%2f")]
    url: String,
    /// Stop after this many requests.
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    count: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { url, count } = Args::parse();
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .queue_declare("rpc_queue".into(), QueueDeclareOptions::durable(), FieldTable::default())
        .await?;
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let consumer = channel
        .basic_consume(
            "rpc_queue".into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    println!("waiting for requests, CTRL+C ends");

    let mut requests = consumer.take(count);
    while let Some(request) = requests.next().await {
        let request = request?;
        let answer = match String::from_utf8_lossy(&request.data).parse() {
            Ok(n) => {
                let answer = fibonacci(n);
                println!("fib({n}) = {answer}");
                answer.to_string()
            }
            Err(error) => format!("not a number: {error}"),
        };
        if let Some(reply_to) = request.properties.reply_to() {
            let mut properties = BasicProperties::default();
            // The asker tells requests apart by the id, so it goes back unchanged.
            if let Some(id) = request.properties.correlation_id() {
                properties = properties.with_correlation_id(id.clone());
            }
            channel
                .basic_publish(
                    "".into(),
                    reply_to.clone(),
                    BasicPublishOptions::default(),
                    answer.as_bytes(),
                    properties,
                )
                .await?;
        }
        request.ack(BasicAckOptions::default()).await?;
    }

    connection.close(200, "done".into()).await?;
    Ok(())
}

fn fibonacci(n: u32) -> u128 {
    let (mut a, mut b) = (0u128, 1u128);
    for _ in 0..n {
        (a, b) = (b, a.saturating_add(b));
    }
    a
}
