//! Topics, the publishing half: send a line under a key of words, such as `kern.critical`.

use clap::Parser;
use lapin::options::{BasicPublishOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties, ExchangeKind};

#[derive(Parser)]
struct Args {
    #[arg(long, env = "AMQP_URL", default_value = "amqp://guest:guest@localhost:5672/%2f")]
    url: String,
    #[arg(default_value = "anonymous.info")]
    key: String,
    #[arg(default_value = "Hello World!")]
    text: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { url, key, text } = Args::parse();
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

    channel
        .basic_publish(
            "topic_logs".into(),
            key.as_str().into(),
            BasicPublishOptions::default(),
            text.as_bytes(),
            BasicProperties::default(),
        )
        .await?;
    println!("sent {key}: {text:?}");

    connection.close(200, "done".into()).await?;
    Ok(())
}
