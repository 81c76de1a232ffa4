use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

use super::*;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

fn log_something() {
    tracing::info!("started TCP listener on [::]:5672");
    let _connection = tracing::info_span!("connection", id = 7, peer = %"10.0.0.1:4").entered();
    let _channel = tracing::info_span!("channel").entered();
    tracing::warn!(code = 404, queue = "q", name = %"evil\n2026 \x1b[31mname", "refused");
}

#[test]
fn text_is_rabbitmqs_form_and_one_line_an_event() {
    let lines = Lines::default();
    let subscriber = fmt().with_writer(lines.clone()).with_ansi(false).event_format(Text).finish();
    tracing::subscriber::with_default(subscriber, log_something);
    let text = lines.text();
    let without_time: Vec<_> = text.lines().map(|line| line.split_at(32).1).collect();
    assert_eq!(
        without_time,
        [
            " [info] started TCP listener on [::]:5672",
            " [warning] connection{id=7 peer=10.0.0.1:4}: channel: refused code=404 queue=\"q\" \
             name=evil\\n2026 \\u{1b}[31mname",
        ]
    );
}

#[test]
fn colour_is_only_where_it_is_asked_for() {
    let lines = Lines::default();
    let subscriber = fmt().with_writer(lines.clone()).with_ansi(true).event_format(Text).finish();
    tracing::subscriber::with_default(subscriber, || tracing::error!("x"));
    assert!(lines.text().contains("\x1b[31m[error]\x1b[0m x\n"), "{}", lines.text());
}

#[test]
fn json_has_rabbitmqs_keys() {
    let lines = Lines::default();
    let subscriber =
        fmt().with_writer(lines.clone()).fmt_fields(JsonFields::new()).event_format(Json).finish();
    tracing::subscriber::with_default(subscriber, log_something);
    let text = lines.text();
    let objects: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[0]["level"], "info");
    assert_eq!(objects[0]["msg"], "started TCP listener on [::]:5672");
    assert_eq!(objects[1]["level"], "warning");
    assert_eq!(objects[1]["code"], 404);
    assert_eq!(objects[1]["queue"], "q");
    assert_eq!(objects[1]["connection"]["id"], 7);
    assert_eq!(objects[1]["connection"]["peer"], "10.0.0.1:4");
    assert!(objects[1]["channel"].is_object());
}

#[test]
fn the_time_is_written_as_rabbitmq_writes_it() {
    let time = now();
    let form: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(form, "0000-00-00 00:00:00.000000+00:00");
}
