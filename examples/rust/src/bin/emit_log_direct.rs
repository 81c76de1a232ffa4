//! Routing, the publishing half: send a line under its severity.

use clap::Parser;
use lapin::options::{BasicPublishOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties, ExchangeKind};

#[derive(Parser)]
struct Args {
    #[arg(long, env = "AMQP_URL", default_value = "amqp://guest:guest@localhost:5672/%2f")]
    url: String,
    #[arg(default_value = "info")]
    severity: String,
    #[arg(default_value = "Hello World!")]
    text: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { url, severity, text } = Args::parse();
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

    channel
        .basic_publish(
            "direct_logs".into(),
            severity.as_str().into(),
            BasicPublishOptions::default(),
            text.as_bytes(),
            BasicProperties::default(),
        )
        .await?;
    println!("sent {severity}: {text:?}");

    connection.close(200, "done".into()).await?;
    Ok(())
}
