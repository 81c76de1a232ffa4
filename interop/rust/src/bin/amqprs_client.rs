//! amqprs: what applications do with it, and the errors they match on.

use std::process::ExitCode;

use amqprs::callbacks::{ChannelCallback, DefaultConnectionCallback};
use amqprs::channel::{
    BasicAckArguments, BasicCancelArguments, BasicConsumeArguments, BasicGetArguments,
    BasicNackArguments, BasicPublishArguments, BasicQosArguments, BasicRejectArguments, Channel,
    ConfirmSelectArguments, ConsumerMessage, ExchangeDeclareArguments, QueueBindArguments,
    QueueDeclareArguments, QueueDeleteArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, FieldTable, FieldValue, Nack, Return};
use anyhow::{Context, ensure};
use async_trait::async_trait;
use leveret_interop::{check, run, unique, url};
use tokio::sync::mpsc::{self, Receiver, Sender, UnboundedReceiver};

type Result<T = ()> = anyhow::Result<T>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(vec![
        check("confirms", confirms()),
        check("returns_and_nacks", returns_and_nacks()),
        check("settles", settles()),
        check("prefetch", prefetch()),
        check("gets", gets()),
        check("headers_come_back", headers_come_back()),
        check("direct_replies", direct_replies()),
        check("topology_errors", topology_errors()),
        check("a_deleted_queue_cancels_its_consumer", a_deleted_queue_cancels_its_consumer()),
    ])
    .await
}

/// What may wait for a check to look at it.
const EVENTS: usize = 16;

/// What the broker says of itself on a channel, a line each.
struct Events(Sender<String>);

impl Events {
    async fn say(&self, what: String) {
        // Nobody listens any more once a check is over.
        let _ = self.0.send(what).await;
    }
}

#[async_trait]
impl ChannelCallback for Events {
    async fn close(
        &mut self,
        _: &Channel,
        close: CloseChannel,
    ) -> std::result::Result<(), amqprs::error::Error> {
        self.say(format!("close {} {}", close.reply_code(), close.reply_text())).await;
        Ok(())
    }

    async fn cancel(
        &mut self,
        _: &Channel,
        cancel: Cancel,
    ) -> std::result::Result<(), amqprs::error::Error> {
        self.say(format!("cancel {}", cancel.consumer_tag())).await;
        Ok(())
    }

    async fn flow(
        &mut self,
        _: &Channel,
        active: bool,
    ) -> std::result::Result<bool, amqprs::error::Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        self.say(format!("ack {} {}", ack.delivery_tag(), ack.mutiple())).await;
    }

    async fn publish_nack(&mut self, _: &Channel, nack: Nack) {
        self.say(format!("nack {} {}", nack.delivery_tag(), nack.multiple())).await;
    }

    async fn publish_return(
        &mut self,
        _: &Channel,
        returned: Return,
        _: BasicProperties,
        content: Vec<u8>,
    ) {
        let body = String::from_utf8_lossy(&content).into_owned();
        self.say(format!("return {} {} {body}", returned.reply_code(), returned.reply_text()))
            .await;
    }
}

/// A connection with a channel.
struct Client {
    connection: Connection,
    channel: Channel,
    events: Receiver<String>,
}

impl Client {
    async fn open() -> Result<Self> {
        let url = url();
        let (_, address) = url.split_once('@').context("user:password@host:port")?;
        let (host, port) = address.trim_end_matches("/%2f").split_once(':').context("a port")?;
        let login = OpenConnectionArguments::new(host, port.parse()?, "guest", "guest");
        let connection = Connection::open(&login).await?;
        connection.register_callback(DefaultConnectionCallback).await?;
        let (channel, events) = open_channel(&connection).await?;
        Ok(Self { connection, channel, events })
    }

    async fn queue(&self, arguments: FieldTable) -> Result<String> {
        let mut declare = QueueDeclareArguments::exclusive_server_named();
        declare.arguments(arguments);
        let declared = self.channel.queue_declare(declare.finish()).await?;
        Ok(declared.context("declare-ok")?.0)
    }

    async fn publish(&self, key: &str, body: &str, properties: BasicProperties) -> Result {
        let publish = BasicPublishArguments::new("", key).mandatory(true).finish();
        Ok(self.channel.basic_publish(properties, body.into(), publish).await?)
    }

    async fn consume(&self, queue: &str) -> Result<Deliveries> {
        let consume = BasicConsumeArguments::new(queue, "");
        let (tag, messages) = self.channel.basic_consume_rx(consume).await?;
        Ok(Deliveries { tag, messages })
    }

    async fn event(&mut self) -> Result<String> {
        self.events.recv().await.context("the channel is gone")
    }
}

async fn open_channel(connection: &Connection) -> Result<(Channel, Receiver<String>)> {
    let channel = connection.open_channel(None).await?;
    let (events, receiver) = mpsc::channel(EVENTS);
    channel.register_callback(Events(events)).await?;
    Ok((channel, receiver))
}

struct Deliveries {
    tag: String,
    messages: UnboundedReceiver<ConsumerMessage>,
}

/// A delivery: its tag, whether it was redelivered, its body and its properties.
struct Delivered {
    tag: u64,
    redelivered: bool,
    body: String,
    properties: BasicProperties,
}

impl Deliveries {
    async fn next(&mut self) -> Result<Delivered> {
        let message = self.messages.recv().await.context("the consumer has ended")?;
        let deliver = message.deliver.context("a delivery")?;
        Ok(Delivered {
            tag: deliver.delivery_tag(),
            redelivered: deliver.redelivered(),
            body: String::from_utf8(message.content.context("a body")?)?,
            properties: message.basic_properties.context("properties")?,
        })
    }
}

fn nothing() -> BasicProperties {
    BasicProperties::default()
}

async fn confirms() -> Result {
    const COUNT: u64 = 1000;
    let mut client = Client::open().await?;
    let queue = client.queue(FieldTable::new()).await?;
    client.channel.confirm_select(ConfirmSelectArguments::default()).await?;
    for number in 0..COUNT {
        client.publish(&queue, &number.to_string(), nothing()).await?;
    }
    let mut confirmed = 0;
    while confirmed < COUNT {
        let event = client.event().await?;
        let words: Vec<&str> = event.split(' ').collect();
        let ["ack", tag, multiple] = words.as_slice() else { anyhow::bail!("{event}") };
        let tag: u64 = tag.parse()?;
        ensure!(tag == confirmed + 1 || (*multiple == "true" && tag > confirmed), "{event}");
        confirmed = tag;
    }
    Ok(())
}

async fn returns_and_nacks() -> Result {
    let mut client = Client::open().await?;
    client.channel.confirm_select(ConfirmSelectArguments::default()).await?;
    client.publish(&unique("nowhere"), "lost", nothing()).await?;
    ensure!(client.event().await? == "return 312 NO_ROUTE lost");
    ensure!(client.event().await? == "ack 1 false");
    let mut arguments = FieldTable::new();
    arguments.insert("x-max-length".try_into()?, FieldValue::I(1));
    arguments.insert("x-overflow".try_into()?, FieldValue::S("reject-publish".try_into()?));
    let full = client.queue(arguments).await?;
    client.publish(&full, "1", nothing()).await?;
    ensure!(client.event().await? == "ack 2 false");
    client.publish(&full, "2", nothing()).await?;
    let event = client.event().await?;
    ensure!(event == "nack 3 false", "{event}");
    Ok(())
}

async fn settles() -> Result {
    let client = Client::open().await?;
    let queue = client.queue(FieldTable::new()).await?;
    for body in ["1", "2", "3", "4"] {
        client.publish(&queue, body, nothing()).await?;
    }
    let mut deliveries = client.consume(&queue).await?;
    for number in 1..=4 {
        let delivered = deliveries.next().await?;
        ensure!(!delivered.redelivered && delivered.body == number.to_string());
        ensure!(delivered.tag == number);
    }
    client.channel.basic_reject(BasicRejectArguments::new(3, true)).await?;
    let again = deliveries.next().await?;
    ensure!(again.redelivered && again.body == "3" && again.tag == 5);
    client.channel.basic_nack(BasicNackArguments::new(2, true, true)).await?;
    for body in ["1", "2"] {
        let again = deliveries.next().await?;
        ensure!(again.redelivered && again.body == body);
    }
    client.channel.basic_ack(BasicAckArguments::new(7, true)).await?;
    client.channel.basic_cancel(BasicCancelArguments::new(&deliveries.tag)).await?;
    ensure!(client.channel.basic_get(BasicGetArguments::new(&queue)).await?.is_none());
    Ok(())
}

async fn prefetch() -> Result {
    let client = Client::open().await?;
    let queue = client.queue(FieldTable::new()).await?;
    client.channel.basic_qos(BasicQosArguments::new(0, 2, false)).await?;
    let mut slow = client.consume(&queue).await?;
    let mut other = client.consume(&queue).await?;
    for number in 0..5 {
        client.publish(&queue, &number.to_string(), nothing()).await?;
    }
    let mut held = 0;
    for _ in 0..2 {
        slow.next().await?;
        held = other.next().await?.tag;
    }
    // The fifth waits for one of them.
    let passive = QueueDeclareArguments::new(&queue).passive(true).finish();
    let waiting = client.channel.queue_declare(passive).await?.context("declare-ok")?;
    ensure!(waiting.1 == 1, "{} messages", waiting.1);
    client.channel.basic_ack(BasicAckArguments::new(held, false)).await?;
    ensure!(other.next().await?.body == "4");
    Ok(())
}

async fn gets() -> Result {
    let client = Client::open().await?;
    let queue = client.queue(FieldTable::new()).await?;
    for body in ["1", "2"] {
        client.publish(&queue, body, nothing()).await?;
    }
    let mut get = BasicGetArguments::new(&queue);
    let got = client.channel.basic_get(get.clone()).await?;
    let (ok, _, body) = got.context("a message")?;
    ensure!(ok.message_count() == 1 && body == b"1");
    client.channel.basic_ack(BasicAckArguments::new(ok.delivery_tag(), false)).await?;
    let got = client.channel.basic_get(get.no_ack(true).finish()).await?;
    ensure!(got.context("a message")?.2 == b"2");
    ensure!(client.channel.basic_get(BasicGetArguments::new(&queue)).await?.is_none());
    Ok(())
}

async fn headers_come_back() -> Result {
    let client = Client::open().await?;
    let queue = client.queue(FieldTable::new()).await?;
    let mut headers = FieldTable::new();
    headers.insert("text".try_into()?, FieldValue::S("ü".try_into()?));
    headers.insert("long".try_into()?, FieldValue::l(-(1 << 40)));
    headers.insert("yes".try_into()?, FieldValue::t(true));
    headers.insert("none".try_into()?, FieldValue::V);
    let mut properties = nothing();
    properties
        .with_headers(headers)
        .with_content_type("text/plain")
        .with_persistence(true)
        .with_priority(3)
        .with_message_id("id")
        .with_expiration("60000");
    client.publish(&queue, "m", properties.clone()).await?;
    let delivered = client.consume(&queue).await?.next().await?;
    let (delivered, sent) = (delivered.properties, properties);
    ensure!(delivered.headers() == sent.headers(), "{delivered}");
    ensure!(delivered.content_type() == sent.content_type(), "{delivered}");
    ensure!(delivered.delivery_mode() == sent.delivery_mode(), "{delivered}");
    ensure!(delivered.priority() == sent.priority(), "{delivered}");
    ensure!(delivered.message_id() == sent.message_id(), "{delivered}");
    ensure!(delivered.expiration() == sent.expiration(), "{delivered}");
    Ok(())
}

async fn direct_replies() -> Result {
    const REPLY_TO: &str = "amq.rabbitmq.reply-to";
    let (client, server) = (Client::open().await?, Client::open().await?);
    let requests = server.queue(FieldTable::new()).await?;
    let mut consume = BasicConsumeArguments::new(REPLY_TO, "");
    consume.no_ack = true;
    let (tag, messages) = client.channel.basic_consume_rx(consume).await?;
    let mut replies = Deliveries { tag, messages };
    let asking = nothing().with_reply_to(REPLY_TO).finish();
    client.publish(&requests, "ask", asking).await?;
    let request = server.consume(&requests).await?.next().await?;
    let reply_to = request.properties.reply_to().context("whom to answer")?;
    server.publish(reply_to, "answer", nothing()).await?;
    ensure!(replies.next().await?.body == "answer");
    Ok(())
}

async fn topology_errors() -> Result {
    let mut client = Client::open().await?;
    let missing = unique("missing");
    let bind = QueueBindArguments::new(&missing, "amq.topic", "#");
    ensure!(client.channel.queue_bind(bind).await.is_err());
    let text = format!("close 404 NOT_FOUND - no queue '{missing}' in vhost '/'");
    ensure!(client.event().await? == text);

    (client.channel, client.events) = open_channel(&client.connection).await?;
    let queue = unique("own");
    let declare = QueueDeclareArguments::new(&queue).exclusive(true).finish();
    client.channel.queue_declare(declare.clone()).await?;
    let auto_delete = declare.clone().auto_delete(true).finish();
    ensure!(client.channel.queue_declare(auto_delete).await.is_err());
    let event = client.event().await?;
    ensure!(event.starts_with("close 406 PRECONDITION_FAILED - inequivalent arg"), "{event}");

    (client.channel, client.events) = open_channel(&client.connection).await?;
    let declare = ExchangeDeclareArguments::new("x", "no-such-type");
    ensure!(client.channel.exchange_declare(declare).await.is_err());
    let event = client.event().await?;
    ensure!(event.contains("unknown exchange type 'no-such-type'"), "{event}");

    let mut other = Client::open().await?;
    ensure!(other.consume(&queue).await.is_err());
    let event = other.event().await?;
    ensure!(event.starts_with("close 405 RESOURCE_LOCKED - cannot obtain"), "{event}");
    ensure!(client.connection.is_open() && other.connection.is_open(), "connections go on");
    Ok(())
}

async fn a_deleted_queue_cancels_its_consumer() -> Result {
    let mut client = Client::open().await?;
    let queue = client.queue(FieldTable::new()).await?;
    let deliveries = client.consume(&queue).await?;
    let (other, _events) = open_channel(&client.connection).await?;
    other.queue_delete(QueueDeleteArguments::new(&queue)).await?;
    ensure!(client.event().await? == format!("cancel {}", deliveries.tag));
    Ok(())
}
