//! RPC, the asking half: have the server compute Fibonacci numbers.

use anyhow::Context;
use clap::Parser;
use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};

#[derive(Parser)]
struct Args {
    #[arg(long, env = "AMQP_URL", default_value = "amqp://guest:guest@localhost:5672/%2f")]
    url: String,
    #[arg(default_value = "30")]
    numbers: Vec<u32>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { url, numbers } = Args::parse();
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let mut client = FibonacciClient::new(&connection).await?;
    for n in numbers {
        println!("fib({n}) = {}", client.call(n).await?);
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// Sends a request to `rpc_queue` and waits for the answer in a queue of its own.
struct FibonacciClient {
    channel: Channel,
    replies: Consumer,
    reply_to: ShortString,
    requests: u64,
}

impl FibonacciClient {
    async fn new(connection: &Connection) -> anyhow::Result<Self> {
        let channel = connection.create_channel().await?;
        // The server need not be up yet: requests wait for it.
        channel
            .queue_declare(
                "rpc_queue".into(),
                QueueDeclareOptions::durable(),
                FieldTable::default(),
            )
            .await?;
        let queue = channel
            .queue_declare("".into(), QueueDeclareOptions::exclusive(), FieldTable::default())
            .await?;
        let reply_to = queue.name().clone();
        let replies = channel
            .basic_consume(
                reply_to.clone(),
                "".into(),
                BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() },
                FieldTable::default(),
            )
            .await?;
        Ok(Self { channel, replies, reply_to, requests: 0 })
    }

    async fn call(&mut self, n: u32) -> anyhow::Result<String> {
        self.requests += 1;
        let id = ShortString::from(self.requests.to_string());
        self.channel
            .basic_publish(
                "".into(),
                "rpc_queue".into(),
                BasicPublishOptions::default(),
                n.to_string().as_bytes(),
                BasicProperties::default()
                    .with_reply_to(self.reply_to.clone())
                    .with_correlation_id(id.clone()),
            )
            .await?;
        loop {
            let reply = self.replies.next().await.context("the reply queue is gone")??;
            // A late answer to an earlier request carries another id: ignore it.
            if reply.properties.correlation_id().as_ref() == Some(&id) {
                return Ok(String::from_utf8(reply.data)?);
            }
        }
    }
}
