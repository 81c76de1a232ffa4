//! A broker inside a test, spoken to by a stock client.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use futures::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use leveret::policy::Policy;
use leveret::{Resource, TestBroker, TestBrokerError};

async fn channel(broker: &TestBroker) -> Channel {
    let connection = Connection::connect(broker.url(), ConnectionProperties::default());
    connection.await.unwrap().create_channel().await.unwrap()
}

async fn declare(channel: &Channel) -> u32 {
    let options = QueueDeclareOptions::durable();
    let queue = channel.queue_declare("q".into(), options, FieldTable::default()).await;
    queue.unwrap().message_count()
}

async fn publish_confirmed(channel: &Channel, body: &[u8]) {
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    let confirm = channel.basic_publish("".into(), "q".into(), options, body, persistent).await;
    assert!(confirm.unwrap().await.unwrap().is_ack());
}

#[tokio::test]
async fn carries_a_message_in_an_async_test() {
    let broker = TestBroker::start().unwrap();
    let channel = channel(&broker).await;
    declare(&channel).await;
    publish_confirmed(&channel, b"hello").await;
    let mut consumer = channel
        .basic_consume("q".into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await
        .unwrap();
    let delivery = consumer.next().await.unwrap().unwrap();
    assert_eq!(delivery.data, b"hello");
    delivery.ack(BasicAckOptions::default()).await.unwrap();
    broker.stop();
}

#[test]
fn starts_and_stops_on_a_plain_thread() {
    let broker = TestBroker::start().unwrap();
    assert!(broker.address().ip().is_loopback());
    assert_eq!(broker.url(), format!("amqp://guest:guest@{}/%2F", broker.address()));
    std::net::TcpStream::connect(broker.address()).unwrap();
    let address = broker.address();
    drop(broker);
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn brokers_share_nothing() {
    let brokers: Vec<_> = (0..5).map(|_| TestBroker::start().unwrap()).collect();
    let mut ports: Vec<_> = brokers.iter().map(|broker| broker.address().port()).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 5);
}

#[tokio::test]
async fn a_directory_keeps_what_was_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let broker = TestBroker::on_directory(folder.path()).unwrap();
    let first = channel(&broker).await;
    declare(&first).await;
    publish_confirmed(&first, b"kept").await;
    assert!(matches!(TestBroker::on_directory(folder.path()), Err(TestBrokerError::Start(_))));
    broker.stop();

    let broker = TestBroker::on_directory(folder.path()).unwrap();
    assert_eq!(declare(&channel(&broker).await).await, 1);
}

#[tokio::test]
async fn the_default_user_of_the_settings_is_in_the_url() {
    let mut config = TestBroker::config();
    config.auth.default_user = "anna/1".into();
    config.auth.default_pass = "p@ss:word".into();
    config.auth.default_vhost = "shop 1".into();
    let broker = TestBroker::with_config(config).unwrap();
    declare(&channel(&broker).await).await;
}

#[test]
fn a_broker_that_cannot_start_says_why() {
    let mut config = TestBroker::config();
    config.listen = vec![];
    let error = TestBroker::with_config(config).unwrap_err();
    assert_eq!(error.to_string(), "a test broker needs an address to listen on");

    let first = TestBroker::start().unwrap();
    let mut config = TestBroker::config();
    config.listen = vec![first.address()];
    let error = TestBroker::with_config(config).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on {}", first.address())), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_waits_for_no_client() {
    let broker = TestBroker::start().unwrap();
    let silent = std::net::TcpStream::connect(broker.address()).unwrap();
    let refused = tokio::spawn({
        let url = broker.url().replace("guest:guest", "guest:wrong");
        async move { Connection::connect(&url, ConnectionProperties::default()).await.is_err() }
    });
    let idle = channel(&broker).await;
    let busy = channel(&broker).await;
    declare(&busy).await;
    let publisher = tokio::spawn(async move {
        let (body, properties) = ([0; 100], BasicProperties::default());
        let options = BasicPublishOptions::default();
        for published in 0.. {
            let sent =
                busy.basic_publish("".into(), "q".into(), options, &body, properties.clone());
            if sent.await.is_err() {
                return published;
            }
        }
        unreachable!("the broker stops before")
    });
    tokio::time::sleep(Duration::from_millis(200)).await;

    let asked = Instant::now();
    broker.stop();
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert!(publisher.await.unwrap() > 0);
    assert!(refused.await.unwrap());
    drop((silent, idle));
}

#[tokio::test]
async fn policies_are_set_and_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let broker = TestBroker::on_directory(folder.path()).unwrap();
    let first = channel(&broker).await;
    declare(&first).await;
    for body in [b"1", b"2", b"3"] {
        publish_confirmed(&first, body).await;
    }
    let limit =
        |length: u32| Policy::parse("^q$", &format!("{{\"max-length\": {length}}}")).unwrap();
    broker.set_policy("limit", limit(2)).unwrap();
    assert_eq!(declare(&first).await, 2);
    broker.set_operator_policy("cap", limit(1)).unwrap();
    assert_eq!(declare(&first).await, 1);
    let policies = broker.queue_policies("q").unwrap();
    assert_eq!(&**policies.operator_policy().unwrap().name(), "cap");
    assert_eq!(policies.effective_definition()["max-length"], 1);
    assert!(broker.queue_policies("missing").is_none());
    let wrong = Policy::parse("", r#"{"max-length": "x"}"#).unwrap();
    let refused = broker.set_policy("wrong", wrong).unwrap_err();
    assert_eq!(refused.to_string(), "<<\"x\">> is not a valid maximum length");
    broker.stop();

    let broker = TestBroker::on_directory(folder.path()).unwrap();
    let channel = channel(&broker).await;
    publish_confirmed(&channel, b"4").await;
    assert_eq!(declare(&channel).await, 1);
    broker.clear_operator_policy("cap").unwrap();
    publish_confirmed(&channel, b"5").await;
    assert_eq!(declare(&channel).await, 2);
    broker.clear_policy("limit").unwrap();
    assert!(broker.clear_policy("limit").is_err());
    publish_confirmed(&channel, b"6").await;
    assert_eq!(declare(&channel).await, 3);
}

#[tokio::test]
async fn publishers_wait_out_an_alarm() {
    let broker = TestBroker::start().unwrap();
    let (publisher, consumer) = (channel(&broker).await, channel(&broker).await);
    declare(&publisher).await;
    publisher.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let publish = |body: &'static [u8]| {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        publisher.basic_publish("".into(), "q".into(), options, body, properties)
    };
    assert!(publish(b"1").await.unwrap().await.unwrap().is_ack());
    broker.pretend(Resource::Memory, Some(u64::MAX));
    let mut waiting = std::pin::pin!(publish(b"2").await.unwrap());
    // A consumer takes what there is, and that is not it.
    let options = BasicConsumeOptions::default();
    let mut deliveries = consumer
        .basic_consume("q".into(), "".into(), options, FieldTable::default())
        .await
        .unwrap();
    let first = deliveries.next().await.unwrap().unwrap();
    first.ack(BasicAckOptions::default()).await.unwrap();
    assert_eq!(first.data, b"1");
    assert_eq!(declare(&consumer).await, 0);
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    broker.pretend(Resource::Memory, None);
    assert!(waiting.await.unwrap().is_ack());
    assert_eq!(deliveries.next().await.unwrap().unwrap().data, b"2");
    assert_eq!(broker.alarm(Resource::Memory).times_set, 1);
}
