//! Publisher confirms three ways: wait for each message, for each batch, or for none.
//!
//! A confirm means that the broker has the message on disk. The sooner the next message may
//! follow, the faster: waiting for each costs a round trip and a disk write per message.

use std::time::Instant;

use anyhow::ensure;
use clap::{Parser, ValueEnum};
use futures::{StreamExt, TryStreamExt, stream};
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, PublisherConfirm};

/// The delivery mode of a message that is kept on disk.
const PERSISTENT: u8 = 2;

#[derive(Parser)]
struct Args {
    #[arg(long, env = "AMQP_URL", default_value = "amqp://guest:guest@localhost:5672/%2f")]
    url: String,
    /// Messages per mode.
    #[arg(long, default_value_t = 5000)]
    count: usize,
    /// All of them by default.
    mode: Option<Mode>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    Individual,
    Batch,
    Async,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { url, count, mode } = Args::parse();
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    for mode in mode.as_ref().map_or_else(Mode::value_variants, std::slice::from_ref) {
        let channel = connection.create_channel().await?;
        let publisher = Publisher::new(channel).await?;
        let start = Instant::now();
        match mode {
            Mode::Individual => publisher.individual(count).await?,
            Mode::Batch => publisher.batch(count).await?,
            Mode::Async => publisher.asynchronous(count).await?,
        }
        let seconds = start.elapsed().as_secs_f64();
        println!("{mode:?}: {count} messages confirmed in {seconds:.2} s");
        publisher.close().await?;
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// A channel in confirm mode and a durable queue to publish to.
struct Publisher {
    channel: Channel,
    queue: ShortString,
}

impl Publisher {
    async fn new(channel: Channel) -> anyhow::Result<Self> {
        let queue = channel
            .queue_declare("".into(), QueueDeclareOptions::durable(), FieldTable::default())
            .await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { channel, queue: queue.name().clone() })
    }

    /// Publishes and waits for the confirm, message by message.
    async fn individual(&self, count: usize) -> anyhow::Result<()> {
        for n in 0..count {
            expect_ack(self.publish(n).await?).await?;
        }
        Ok(())
    }

    /// Publishes a hundred, waits until all are confirmed, publishes the next hundred.
    async fn batch(&self, count: usize) -> anyhow::Result<()> {
        let mut batch = Vec::with_capacity(100);
        for n in 0..count {
            batch.push(self.publish(n).await?);
            if batch.len() == 100 || n + 1 == count {
                for confirm in batch.drain(..) {
                    expect_ack(confirm).await?;
                }
            }
        }
        Ok(())
    }

    /// Keeps publishing while confirms arrive, with at most a thousand on the way.
    async fn asynchronous(&self, count: usize) -> anyhow::Result<()> {
        stream::iter(0..count)
            .then(|n| self.publish(n))
            .map_ok(expect_ack)
            .try_buffer_unordered(1000)
            .try_collect()
            .await
    }

    /// Sends one message; the result resolves once the broker has answered for it.
    async fn publish(&self, n: usize) -> anyhow::Result<PublisherConfirm> {
        let confirm = self
            .channel
            .basic_publish(
                "".into(),
                self.queue.clone(),
                BasicPublishOptions::default(),
                n.to_string().as_bytes(),
                BasicProperties::default().with_delivery_mode(PERSISTENT),
            )
            .await?;
        Ok(confirm)
    }

    async fn close(self) -> anyhow::Result<()> {
        self.channel.queue_delete(self.queue, QueueDeleteOptions::default()).await?;
        self.channel.close(200, "done".into()).await?;
        Ok(())
    }
}

async fn expect_ack(confirm: PublisherConfirm) -> anyhow::Result<()> {
    ensure!(confirm.await?.is_ack(), "the broker refused a message");
    Ok(())
}
