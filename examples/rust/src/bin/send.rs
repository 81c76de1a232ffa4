//! Hello world, the sending half: put one message into the queue `hello`.

use clap::Parser;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};

#[derive(Parser)]
struct Args {
    #[arg(long, env = "AMQP_URL", default_value = "amqp://guest:guest@localhost:5672/%2f")]
    url: String,
    #[arg(default_value = "Hello World!")]
    text: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { url, text } = Args::parse();
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .queue_declare("hello".into(), QueueDeclareOptions::durable(), FieldTable::default())
        .await?;

    // The default exchange routes by queue name: nothing to declare or bind.
    channel
        .basic_publish(
            "".into(),
            "hello".into(),
            BasicPublishOptions::default(),
            text.as_bytes(),
            BasicProperties::default(),
        )
        .await?;
    println!("sent {text:?}");

    connection.close(200, "done".into()).await?;
    Ok(())
}
