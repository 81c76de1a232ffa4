//! Guessing where tokens let in.

use leveret_tests::{Answer, Api, Broker, Connection, Login};
use serde_json::json;

use crate::oauth2::{ALL, Provider, Signer, claims};
use crate::{REFUSED, log_in};

/// More than are free, and far fewer than a guesser needs.
const GUESSES: usize = 50;

/// A token of its own each time, signed by whoever has the key.
fn token(provider: &Provider, key: &Signer, number: usize) -> String {
    let mut claims = claims(&format!("{ALL} rabbitmq.tag:administrator"));
    claims["jti"] = json!(number);
    provider.sign(key, &claims)
}

fn whoami(api: &Api, user: &str, password: &str) -> u16 {
    let login = format!("{user}:{password}");
    api.with_login(Some(&login)).send("GET", "/api/whoami", &[], "").status
}

/// The next in the chain is asked about them.
#[test]
fn passwords_that_look_like_tokens_are_guesses() {
    let provider = Provider::start();
    let _key = provider.key("one");
    let forger = provider.unserved_key("one");
    let Some((broker, api)) = provider.broker("") else { return };
    let forged = |number| token(&provider, &forger, number);
    assert!((0..GUESSES).any(|number| whoami(&api, "guest", &forged(number)) == 429));
    at_a_time(GUESSES, |number| log_in(&broker, "bert", &forged(number)));
    broker.await_line("login refused: user 'bert': too many wrong passwords");
    // The same again is no guess.
    let old = forged(0);
    assert!((0..GUESSES).all(|_| whoami(&api, "carl", &old) == 401));
}

#[test]
fn wrong_tokens_of_an_address_cost_time_over_amqp() {
    let provider = Provider::start();
    let (key, forger) = (provider.key("one"), provider.unserved_key("one"));
    let Some((broker, _)) = provider.broker("[amqp]\nproxies = \"127.0.0.1\"\n") else { return };
    // Of an address ten times as many are free.
    at_a_time(2 * GUESSES, |number| {
        pass_on(&broker, "192.0.2.1", &token(&provider, &forger, number))
    });
    broker.await_line("login refused: user '': too many wrong passwords");
    pass_on(&broker, "192.0.2.2", &token(&provider, &key, 0)).unwrap();
}

/// Each is told after a while only that it is refused.
fn at_a_time(count: usize, guess: impl Fn(usize) -> Result<Connection, Answer> + Sync) {
    std::thread::scope(|scope| {
        let guess = &guess;
        for number in 0..count {
            scope.spawn(move || assert_eq!(guess(number).err().unwrap(), REFUSED));
        }
    });
}

/// Logs in with a token and no name, from an address that a proxy speaks for.
fn pass_on(broker: &Broker, address: &str, token: &str) -> Result<Connection, Answer> {
    let connection = broker.dial();
    connection.send_bytes(format!("PROXY TCP4 {address} 10.0.0.1 5 5672\r\n").as_bytes());
    let response = format!("\0\0{token}");
    connection.open(&Login { response: response.as_bytes(), ..Login::default() })?;
    Ok(connection)
}

/// Whoever has one names whom they like with it.
#[test]
fn a_token_of_ones_own_makes_no_guess_at_anothers_password_free() {
    let provider = Provider::start();
    let key = provider.key("one");
    let Some((broker, api)) = provider.broker("") else { return };
    let own = token(&provider, &key, 0);
    let over_http = |user: &str| whoami(&api, user, &own) == 200;
    let over_amqp = |user: &str| log_in(&broker, user, &own).is_ok();
    let have_to_wait = |user: &str, is_let_in: &dyn Fn(&str) -> bool| {
        assert!(is_let_in(user));
        (0..GUESSES)
            .any(|number| whoami(&api, user, &format!("guess-{number}")) == 429 || !is_let_in(user))
    };
    assert!(have_to_wait("guest", &over_http));
    assert!(have_to_wait("bert", &over_amqp));
}
