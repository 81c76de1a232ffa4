//! Mail about alerts, taken by a mail server.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use leveret_tests::codec::{Value as Field, basic, queue};
use leveret_tests::tls::{self, ServerConfig};
use leveret_tests::{Broker, declare, eventually, get, reject, table};

use super::{LISTENERS, PATIENCE, Trusted, alerting, put, server};

/// Takes one mail as a mail server does (RFC 5321): the commands, and what was sent.
fn take_mail(stream: impl Read + Write) -> (Vec<String>, String) {
    let mut reader = BufReader::new(stream);
    say(&mut reader, "220 mail.test");
    take_mail_from(&mut reader)
}

fn say(to: &mut BufReader<impl Read + Write>, reply: &str) {
    to.get_mut().write_all(format!("{reply}\r\n").as_bytes()).expect("a reply");
}

/// The part that is the same within TLS, from the client's greeting on.
fn take_mail_from(reader: &mut BufReader<impl Read + Write>) -> (Vec<String>, String) {
    let (mut commands, mut mail) = (Vec::new(), String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).expect("a line") == 0 {
            return (commands, mail);
        }
        let command = line.trim_end().to_owned();
        let verb = command.split(' ').next().unwrap_or_default().to_uppercase();
        commands.push(command);
        match verb.as_str() {
            "EHLO" => say(reader, "250-mail.test\r\n250 AUTH PLAIN"),
            "AUTH" => say(reader, "235 welcome"),
            "DATA" => {
                say(reader, "354 go on");
                while !mail.ends_with("\r\n.\r\n") {
                    assert_ne!(reader.read_line(&mut mail).expect("a line"), 0, "{mail}");
                }
                say(reader, "250 taken");
            }
            "QUIT" => {
                say(reader, "221 bye");
                return (commands, mail);
            }
            _ => say(reader, "250 fine"),
        }
    }
}

/// The same of a server that takes nothing but `STARTTLS` before it (RFC 3207).
fn take_mail_after_starttls(
    stream: TcpStream,
    tls: &Arc<ServerConfig>,
) -> (Vec<String>, (Vec<String>, String)) {
    let mut reader = BufReader::new(stream);
    say(&mut reader, "220 mail.test");
    let mut before = Vec::new();
    loop {
        let mut line = String::new();
        assert_ne!(reader.read_line(&mut line).expect("a line"), 0, "{before:?}");
        before.push(line.trim_end().to_owned());
        match line.trim_end() {
            "STARTTLS" => {
                say(&mut reader, "220 go ahead");
                assert!(reader.buffer().is_empty(), "nothing comes before the handshake");
                let mut within = BufReader::new(tls::serve(reader.into_inner(), tls));
                return (before, take_mail_from(&mut within));
            }
            line if line.starts_with("EHLO") => {
                say(&mut reader, "250-mail.test\r\n250 STARTTLS");
            }
            _ => say(&mut reader, "530 not without TLS"),
        }
    }
}

#[test]
fn a_mail_server_gets_a_mail_about_dead_letters() {
    let (mail, told) = server(take_mail);
    let Some((broker, _api)) = alerting(&format!(
        "[alerts.smtp]\nhost = \"127.0.0.1\"\nport = {}\nsecurity = \"none\"\n\
         from = \"Broker <broker@example.com>\"\nusername = \"anna\"\npassword = \"secret\"\n\
         [alerts.receiver.ops]\nemail = [\"ops@example.com\", \"night@example.com\"]\n\
         [[alerts.rule]]\nname = \"dead\"\nwhen = \"dead_letters\"\nqueues = \"[.]dead$\"\n\
         notify = [\"ops\"]\n",
        mail.port()
    )) else {
        return;
    };
    let channel = broker.connect().channel(1);
    let arguments = table([
        ("x-dead-letter-exchange", Field::text("")),
        ("x-dead-letter-routing-key", Field::text("q.dead")),
    ]);
    channel.call(&queue::Declare { arguments: arguments.as_table(), ..declare("q") });
    channel.call(&declare("q.dead"));
    channel.publish("", "q", b"body");
    let got = channel.call(&get("q"));
    channel.send(&basic::Reject { requeue: false, ..reject(got.delivery_tag()) });
    let (commands, mail) = told.recv_timeout(PATIENCE).expect("a mail");
    let begins = |text: &str| commands.iter().any(|command| command.starts_with(text));
    for command in [
        "AUTH PLAIN",
        "MAIL FROM:<broker@example.com>",
        "RCPT TO:<ops@example.com>",
        "RCPT TO:<night@example.com>",
    ] {
        assert!(begins(command), "{command}: {commands:?}");
    }
    assert!(
        mail.contains("Subject: [leveret] dead firing: queue 'q.dead' in vhost '/' got"),
        "{mail}"
    );
    assert!(
        mail.contains("queue 'q.dead' in vhost '/' got dead letters and holds 1 messages"),
        "{mail}"
    );
}

#[test]
fn a_mail_goes_within_tls_from_the_start_or_after_starttls() {
    let trusted = Trusted::new();
    let rule = "[[alerts.rule]]\nname = \"alone\"\nwhen = \"no_consumers\"\nnotify = [\"ops\"]\n";
    let config = |port: u16, security: &str| {
        format!(
            "ca_file = \"{}\"\n\
             [alerts.smtp]\nhost = \"localhost\"\nport = {port}\n{security}\
             from = \"broker@example.com\"\nusername = \"anna\"\npassword = \"secret\"\n\
             [alerts.receiver.ops]\nemail = [\"ops@example.com\"]\n{rule}",
            trusted.ca_file()
        )
    };
    let is_whole = |commands: &[String], mail: &str| {
        let begins = |text: &str| commands.iter().any(|command| command.starts_with(text));
        assert!(begins("AUTH PLAIN") && begins("RCPT TO:<ops@example.com>"), "{commands:?}");
        assert!(mail.contains("Subject: [leveret] alone firing: queue 'q'"), "{mail}");
    };

    let tls = Arc::clone(&trusted.server);
    let (server_within, told) = server(move |stream| take_mail(tls::serve(stream, &tls)));
    let Some((broker, _)) = alerting(&config(server_within.port(), "security = \"tls\"\n")) else {
        return;
    };
    put(&broker, "q", 1);
    let (commands, mail) = told.recv_timeout(PATIENCE).expect("a mail");
    is_whole(&commands, &mail);

    // It is what is done if nothing is said.
    let tls = Arc::clone(&trusted.server);
    let (server_after, told) = server(move |stream| take_mail_after_starttls(stream, &tls));
    let Some((broker, _)) = alerting(&config(server_after.port(), "")) else { return };
    put(&broker, "q", 1);
    let (before, (commands, mail)) = told.recv_timeout(PATIENCE).expect("a mail");
    is_whole(&commands, &mail);
    let [greeting, starttls] = before.as_slice() else { panic!("{before:?}") };
    assert!(greeting.starts_with("EHLO ") && starttls == "STARTTLS", "{before:?}");
}

#[test]
fn a_mail_server_without_tls_gets_no_password() {
    let (mail, told) = server(take_mail);
    let Some((broker, api)) = alerting(&format!(
        "[alerts.smtp]\nhost = \"localhost\"\nport = {}\nfrom = \"broker@example.com\"\n\
         username = \"anna\"\npassword = \"secret\"\n\
         [alerts.receiver.ops]\nemail = [\"ops@example.com\"]\n\
         [[alerts.rule]]\nname = \"alone\"\nwhen = \"no_consumers\"\nnotify = [\"ops\"]\n",
        mail.port()
    )) else {
        return;
    };
    put(&broker, "q", 1);
    let (commands, mail) = told.recv_timeout(PATIENCE).expect("a try");
    assert!(commands.iter().all(|command| !command.starts_with("AUTH")), "{commands:?}");
    assert_eq!(mail, "");
    eventually(|| {
        let shown = api.get("/leveret/alerts");
        let error = shown["receivers"][0]["last_error"].as_str().unwrap_or_default();
        error.to_lowercase().contains("starttls")
    });
}

/// Also after the password has changed in the file and the broker was told to look.
#[test]
fn a_mail_server_is_shown_the_password_that_is_in_a_file() {
    let (mail, told) = server(take_mail);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    fs::write(&file, "first\n").expect("a file");
    let variable = format!("LEVERET_ALERTS_SMTP_PASSWORD_FILE={}", file.display());
    let config = format!(
        "{LISTENERS}[alerts]\ninterval = \"100ms\"\n\
         [alerts.smtp]\nhost = \"localhost\"\nport = {}\nsecurity = \"none\"\n\
         from = \"broker@example.com\"\nusername = \"anna\"\n\
         [alerts.receiver.ops]\nemail = [\"ops@example.com\"]\n\
         [[alerts.rule]]\nname = \"alone\"\nwhen = \"no_consumers\"\nnotify = [\"ops\"]\n",
        mail.port()
    );
    let because = "has a password in a file";
    let Some(broker) = Broker::behind(&["env", &variable], &config, because) else { return };
    let login = || {
        let (commands, _) = told.recv_timeout(PATIENCE).expect("a mail");
        commands.into_iter().find(|command| command.starts_with("AUTH")).expect("a login")
    };
    let plain =
        |password: &str| format!("AUTH PLAIN {}", STANDARD.encode(format!("\0anna\0{password}")));
    put(&broker, "one", 1);
    assert_eq!(login(), plain("first"));
    fs::write(&file, "second\n").expect("a file");
    broker.hang_up();
    broker.await_line("the configuration was read again: alerts");
    put(&broker, "two", 1);
    assert_eq!(login(), plain("second"));
}
