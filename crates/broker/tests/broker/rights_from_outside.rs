//! What somebody outside decides: how often a session has to be gone through for it.

use std::pin::Pin;
use std::sync::Arc;

use leveret_broker::access::{Authority, Decision, Principal, Question, Rights, User};
use leveret_broker::{Publish, Session, UserLimits};
use leveret_codec::{ArrayBuilder, Properties, Value};
use leveret_engine::Body;
use parking_lot::Mutex;

use crate::world::{World, table};

/// Allows all keys but one, and keeps what it was asked.
#[derive(Debug, Default)]
struct Outside(Mutex<Vec<Question>>);

impl Authority for Outside {
    fn ask<'a>(
        &'a self,
        _vhost: &'a str,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Decision> + Send + 'a>> {
        Box::pin(async { self.ask_and_wait("", question) })
    }

    fn ask_and_wait(&self, _vhost: &str, question: &Question) -> Decision {
        self.0.lock().push(question.clone());
        let is_denied =
            matches!(question, Question::Topic { routing_key, .. } if **routing_key == *"denied");
        Decision::of(!is_denied)
    }
}

fn session(world: &World, outside: &Arc<Outside>) -> Session {
    let limits = UserLimits::default();
    let user = User { name: "anna".into(), password_hash: None, tags: Vec::new(), limits };
    let rights = Rights::Remote(Arc::clone(outside) as Arc<dyn Authority>);
    let principal = Principal { user: Arc::new(user), own: None, rights };
    let entry = Some(Decision::Allowed);
    Session::open(&world.broker, principal, "/", "outside".into(), entry).unwrap()
}

/// Publishes to `amq.topic` with copies for these keys. Gives how often the session was gone through, and
/// how that ended.
fn publish(session: &mut Session, keys: &[&str]) -> (usize, Result<(), String>) {
    let keys = keys.iter().fold(ArrayBuilder::new(), |keys, key| keys.push(*key)).build();
    let headers = table(&[("CC", Value::Array(keys.as_array()))]);
    let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
    let mut raw_properties = Vec::new();
    properties.encode(&mut raw_properties);
    for pass in 1.. {
        let publish = Publish {
            channel: 1,
            exchange: "amq.topic",
            routing_key: "first",
            properties: &properties,
            raw_properties: &raw_properties,
            body: Body::Copy(b"x"),
            replies_to: None,
        };
        let published = session.publish(publish, None);
        let mut was_open = false;
        while let Some((authority, question)) = session.open_question() {
            let decision = authority.ask_and_wait("/", question);
            session.answer(decision);
            was_open = true;
        }
        if !was_open {
            session.settle_answers();
            return (pass, published.map(drop).map_err(|error| error.reply_text()));
        }
    }
    unreachable!("it ends with what is not open")
}

/// And not each by itself: a message may have thousands of them.
#[test]
fn all_keys_of_a_message_are_asked_about_at_once() {
    let world = World::new();
    let outside = Arc::new(Outside::default());
    let mut session = session(&world, &outside);
    let keys: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    let mut keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    keys.push("first");
    keys.push("7");
    // Whether it may write to the exchange, then all that is left.
    assert_eq!(publish(&mut session, &keys), (3, Ok(())));
    assert_eq!(outside.0.lock().len(), 1 + 1001, "none of them twice");
    keys.insert(1, "denied");
    let (passes, published) = publish(&mut session, &keys);
    assert_eq!(passes, 3);
    assert!(published.unwrap_err().contains("write access to topic 'denied'"));
}
