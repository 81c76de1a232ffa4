//! lapin: what applications do with it, and the errors they match on.

use std::process::ExitCode;

use anyhow::{Context, ensure};
use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions,
    BasicPublishOptions, BasicQosOptions, BasicRejectOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ErrorKind,
    ExchangeKind,
};
use leveret_interop::{check, run, unique, url};

type Result<T = ()> = anyhow::Result<T>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(vec![
        check("confirms", confirms()),
        check("returns", returns()),
        check("settles", settles()),
        check("prefetch", prefetch()),
        check("gets", gets()),
        check("headers_come_back", headers_come_back()),
        check("direct_replies", direct_replies()),
        check("topology_errors", topology_errors()),
        check("a_deleted_queue_ends_its_consumer", a_deleted_queue_ends_its_consumer()),
    ])
    .await
}

async fn open() -> Result<(Connection, Channel)> {
    let connection = Connection::connect(&url(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

/// A queue of this connection's.
async fn queue(channel: &Channel, arguments: FieldTable) -> Result<ShortString> {
    let declared =
        channel.queue_declare("".into(), QueueDeclareOptions::exclusive(), arguments).await?;
    Ok(declared.name().clone())
}

async fn publish(channel: &Channel, key: &ShortString, body: &str) -> Result<Confirmation> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default();
    let sent = channel.basic_publish("".into(), key.clone(), options, body.as_bytes(), properties);
    Ok(sent.await?.await?)
}

async fn consume(channel: &Channel, queue: &ShortString) -> Result<Consumer> {
    let options = BasicConsumeOptions::default();
    Ok(channel.basic_consume(queue.clone(), "".into(), options, FieldTable::default()).await?)
}

async fn next(consumer: &mut Consumer) -> Result<Delivery> {
    Ok(consumer.next().await.context("the consumer has ended")??)
}

async fn confirms() -> Result {
    let (_connection, channel) = open().await?;
    let queue = queue(&channel, FieldTable::default()).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut waiting = Vec::new();
    for number in 0..1000 {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let body = number.to_string();
        waiting.push(
            channel
                .basic_publish("".into(), queue.clone(), options, body.as_bytes(), properties)
                .await?,
        );
    }
    for confirm in waiting {
        ensure!(confirm.await? == Confirmation::Ack(None));
    }
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::exclusive() };
    let declared = channel.queue_declare(queue, passive, FieldTable::default()).await?;
    ensure!(declared.message_count() == 1000, "{} messages", declared.message_count());
    Ok(())
}

async fn returns() -> Result {
    let (_connection, channel) = open().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let confirmation = publish(&channel, &unique("nowhere").into(), "lost").await?;
    let Confirmation::Ack(Some(returned)) = confirmation else {
        anyhow::bail!("not returned: {confirmation:?}");
    };
    ensure!(returned.data == b"lost");
    // A queue that is full refuses.
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let full = queue(&channel, arguments).await?;
    ensure!(publish(&channel, &full, "1").await? == Confirmation::Ack(None));
    ensure!(publish(&channel, &full, "2").await? == Confirmation::Nack(None));
    Ok(())
}

async fn settles() -> Result {
    let (_connection, channel) = open().await?;
    let queue = queue(&channel, FieldTable::default()).await?;
    for body in ["1", "2", "3", "4"] {
        publish(&channel, &queue, body).await?;
    }
    let mut consumer = consume(&channel, &queue).await?;
    let mut deliveries = Vec::new();
    for body in ["1", "2", "3", "4"] {
        let delivery = next(&mut consumer).await?;
        ensure!(!delivery.redelivered && delivery.data == body.as_bytes());
        deliveries.push(delivery);
    }
    let [_, second, third, fourth] = deliveries.as_slice() else { anyhow::bail!("four") };
    third.acker.reject(BasicRejectOptions { requeue: true }).await?;
    let again = next(&mut consumer).await?;
    ensure!(again.redelivered && again.data == b"3");
    let all = BasicNackOptions { multiple: true, requeue: true };
    second.acker.nack(all).await?;
    for body in ["1", "2"] {
        let again = next(&mut consumer).await?;
        ensure!(again.redelivered && again.data == body.as_bytes());
        again.acker.ack(BasicAckOptions::default()).await?;
    }
    again.acker.ack(BasicAckOptions::default()).await?;
    fourth.acker.ack(BasicAckOptions::default()).await?;
    channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?;
    let left = channel.basic_get(queue, BasicGetOptions::default()).await?;
    ensure!(left.is_none(), "{left:?}");
    Ok(())
}

async fn prefetch() -> Result {
    let (_connection, channel) = open().await?;
    let queue = queue(&channel, FieldTable::default()).await?;
    channel.basic_qos(2, BasicQosOptions::default()).await?;
    let (mut slow, mut other) =
        (consume(&channel, &queue).await?, consume(&channel, &queue).await?);
    for number in 0..5 {
        publish(&channel, &queue, &number.to_string()).await?;
    }
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(next(&mut slow).await?);
        held.push(next(&mut other).await?);
    }
    // The fifth waits for one of them.
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::exclusive() };
    let waiting = channel.queue_declare(queue, passive, FieldTable::default()).await?;
    ensure!(waiting.message_count() == 1, "{} messages", waiting.message_count());
    let one = held.pop().context("a delivery")?;
    one.acker.ack(BasicAckOptions::default()).await?;
    ensure!(next(&mut other).await?.data == b"4");
    Ok(())
}

async fn gets() -> Result {
    let (_connection, channel) = open().await?;
    let queue = queue(&channel, FieldTable::default()).await?;
    for body in ["1", "2"] {
        publish(&channel, &queue, body).await?;
    }
    let got = channel.basic_get(queue.clone(), BasicGetOptions { no_ack: true }).await?;
    let got = got.context("a message")?;
    ensure!(got.data == b"1" && got.message_count == 1);
    let got = channel.basic_get(queue.clone(), BasicGetOptions::default()).await?;
    got.context("a message")?.acker.ack(BasicAckOptions::default()).await?;
    ensure!(channel.basic_get(queue, BasicGetOptions::default()).await?.is_none());
    Ok(())
}

async fn headers_come_back() -> Result {
    let (_connection, channel) = open().await?;
    let queue = queue(&channel, FieldTable::default()).await?;
    let mut headers = FieldTable::default();
    headers.insert("text".into(), AMQPValue::LongString("ü".into()));
    headers.insert("long".into(), AMQPValue::LongLongInt(-(1 << 40)));
    headers.insert("yes".into(), AMQPValue::Boolean(true));
    headers.insert("time".into(), AMQPValue::Timestamp(1_700_000_000));
    headers.insert("none".into(), AMQPValue::Void);
    let sent = BasicProperties::default()
        .with_headers(headers)
        .with_content_type("text/plain".into())
        .with_delivery_mode(2)
        .with_priority(3)
        .with_message_id("id".into())
        .with_expiration("60000".into());
    let options = BasicPublishOptions::default();
    channel.basic_publish("".into(), queue.clone(), options, b"m", sent.clone()).await?;
    let delivery = next(&mut consume(&channel, &queue).await?).await?;
    ensure!(delivery.properties == sent, "{:?}", delivery.properties);
    Ok(())
}

async fn direct_replies() -> Result {
    const REPLY_TO: &str = "amq.rabbitmq.reply-to";
    let (_connection, client) = open().await?;
    let (_server_connection, server) = open().await?;
    let requests = queue(&server, FieldTable::default()).await?;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut replies =
        client.basic_consume(REPLY_TO.into(), "".into(), options, FieldTable::default()).await?;
    let asking = BasicProperties::default().with_reply_to(REPLY_TO.into());
    let options = BasicPublishOptions::default();
    client.basic_publish("".into(), requests.clone(), options, b"ask", asking).await?;
    let request = next(&mut consume(&server, &requests).await?).await?;
    let reply_to = request.properties.reply_to().clone().context("whom to answer")?;
    let properties = BasicProperties::default();
    server.basic_publish("".into(), reply_to, options, b"answer", properties).await?;
    ensure!(next(&mut replies).await?.data == b"answer");
    Ok(())
}

/// The code and the text that an operation closes its channel with.
fn refusal<T>(result: lapin::Result<T>) -> Result<(u16, String)> {
    let error = result.err().context("no error")?;
    let ErrorKind::ProtocolError(error) = error.kind() else { anyhow::bail!("{error}") };
    Ok((error.get_id(), error.get_message().to_string()))
}

async fn topology_errors() -> Result {
    let (connection, channel) = open().await?;
    let missing = ShortString::from(unique("missing"));
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let refused = channel.queue_declare(missing.clone(), passive, FieldTable::default()).await;
    let text = format!("NOT_FOUND - no queue '{missing}' in vhost '/'");
    ensure!(refusal(refused)? == (404, text));

    let channel = connection.create_channel().await?;
    let queue = ShortString::from(unique("own"));
    let exclusive = QueueDeclareOptions::exclusive();
    channel.queue_declare(queue.clone(), exclusive, FieldTable::default()).await?;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::exclusive() };
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    let refused = channel.queue_declare(queue.clone(), durable, arguments).await;
    let (code, text) = refusal(refused)?;
    ensure!(code == 406 && text.contains("inequivalent arg"), "{code} {text}");

    let channel = connection.create_channel().await?;
    let options = ExchangeDeclareOptions::default();
    let kind = ExchangeKind::Custom("no-such-type".to_owned());
    let refused = channel.exchange_declare("x".into(), kind, options, FieldTable::default()).await;
    let (code, text) = refusal(refused)?;
    ensure!(code == 406 && text.contains("unknown exchange type"), "{code} {text}");

    let other = open().await?;
    let options = BasicConsumeOptions::default();
    let refused = other.1.basic_consume(queue, "".into(), options, FieldTable::default()).await;
    let (code, text) = refusal(refused)?;
    ensure!(code == 405 && text.contains("cannot obtain exclusive access"), "{code} {text}");
    ensure!(connection.status().connected(), "the connection goes on");
    Ok(())
}

async fn a_deleted_queue_ends_its_consumer() -> Result {
    let (connection, channel) = open().await?;
    let queue = queue(&channel, FieldTable::default()).await?;
    let mut consumer = consume(&channel, &queue).await?;
    let other = connection.create_channel().await?;
    other.queue_delete(queue, lapin::options::QueueDeleteOptions::default()).await?;
    ensure!(consumer.next().await.is_none());
    Ok(())
}
