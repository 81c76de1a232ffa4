use leveret_codec::TableBuilder;

use super::*;

/// What RabbitMQ 4.3.6 answered: a mark for each of the messages of [`messages`].
#[test]
fn arguments_are_matched_as_by_rabbitmq() {
    let matched = |word: &str| TableBuilder::new().put("x-match", word);
    let plain = TableBuilder::new;
    let answers = [
        (plain(), "# # # # # # # #"),
        (matched("all"), "# # # # # # # #"),
        (matched("any"), ". . . . . . . ."),
        (matched("all").put("a", "1"), ". . # . . # . ."),
        (matched("any").put("a", "1").put("b", 2), ". . # . . # . ."),
        (matched("all").put("a", Value::Void), ". . # # # # . #"),
        (matched("all").put("x-a", "1"), "# # # # # # # #"),
        (matched("any").put("x-a", "1"), ". . . . . . . ."),
        (matched("all-with-x").put("x-a", "1"), ". . . . . . # ."),
        (matched("any-with-x").put("x-a", "1"), ". . . . . . # ."),
        (plain().put("a", "1"), ". . # . . # . ."),
        (matched("all").put("a", 1), ". . . # . . . ."),
    ];
    for (arguments, answer) in answers {
        let arguments = arguments.build();
        let matcher = Matcher::compile(&arguments).unwrap();
        let got = messages().map(|headers| {
            let headers = headers.as_ref().map(TableBuf::as_table);
            let matched = matcher.matches(&MessageHeaders::new(headers), &mut Steps::up_to(9));
            if matched.unwrap() { "#" } else { "." }
        });
        assert_eq!(got.join(" "), answer, "{arguments:?}");
    }
}

fn messages() -> [Option<TableBuf>; 8] {
    let new = TableBuilder::new;
    [
        None,
        Some(new().build()),
        Some(new().put("a", "1").build()),
        Some(new().put("a", 1).build()),
        Some(new().put("a", true).build()),
        Some(new().put("a", "1").put("b", 2).build()),
        Some(new().put("x-a", "1").build()),
        Some(new().put("a", Value::Void).build()),
    ]
}

#[test]
fn values_compare_by_meaning() {
    let agree = |a, b| agrees(&a, &b);
    assert!(agree(Value::I32(7), Value::I64(7)));
    assert!(agree(Value::U8(7), Value::I16(7)));
    assert!(agree(Value::LongStr(b"x"), Value::Binary(b"x")));
    assert!(agree(Value::F32(1.5), Value::F64(1.5)));
    assert!(!agree(Value::LongStr(b"1"), Value::I32(1)));
    assert!(!agree(Value::Bool(true), Value::I32(1)));
    assert!(!agree(Value::I32(1), Value::Void), "void asks, it does not answer");
}

#[test]
fn of_repeated_headers_the_last_counts() {
    let headers = TableBuilder::new().put("a", "1").put("b", 0).put("a", "2").build();
    let headers = MessageHeaders::new(Some(headers.as_table()));
    assert_eq!(headers.get(b"a"), Some(Value::text("2")));
    assert_eq!(headers.get(b"b"), Some(Value::I32(0)));
    assert_eq!(headers.get(b""), None);
    assert_eq!(headers.get(b"c"), None);
}

#[test]
fn each_of_thousands_of_headers_is_found() {
    let name = |number: i32| format!("k{}", number * 7919 % 2003);
    let table = (0..4000)
        .fold(TableBuilder::new(), |table, number| table.put(&name(number), number))
        .build();
    let headers = MessageHeaders::new(Some(table.as_table()));
    for number in 1997..4000 {
        assert_eq!(headers.get(name(number).as_bytes()), Some(Value::I32(number)));
    }
    assert_eq!(headers.get(b"k2003"), None);
}

#[test]
fn invalid_arguments_are_explained_as_by_rabbitmq() {
    let explanation = |value: Value<'_>| {
        let arguments = TableBuilder::new().put("x-match", value).build();
        Matcher::compile(&arguments).unwrap_err().to_string()
    };
    assert_eq!(
        explanation(Value::text("foo")),
        "Invalid x-match field value <<\"foo\">>; expected all, any, all-with-x, or any-with-x"
    );
    assert_eq!(
        explanation(Value::LongStr(b"\xff\"")),
        "Invalid x-match field value <<255,34>>; expected all, any, all-with-x, or any-with-x"
    );
    assert_eq!(
        explanation(Value::I32(1)),
        "Invalid x-match field type signedint (value 1); expected longstr"
    );
}

/// An index of so many bindings with these arguments.
fn index_of(bindings: u32, arguments: &TableBuf) -> HeadersIndex {
    let mut index = HeadersIndex::default();
    (0..bindings).for_each(|number| {
        index.insert(Matcher::compile(arguments).unwrap(), BindingId::of(number));
    });
    index
}

#[test]
fn comparing_arguments_takes_steps() {
    let long = "x".repeat(256 - LOOK);
    let order = TableBuilder::new().put("kind", "order");
    let headers = TableBuilder::new().put("kind", "order").put("text", &*long).build();
    // Bytes compared by each of 160 bindings: of names nothing but the look counts.
    for (arguments, bytes) in [
        (order, LOOK + 5),
        // The first that doesn't hold is the last that is looked at.
        (TableBuilder::new().put("kind", "bill").put("text", "y"), LOOK + 4),
        (TableBuilder::new().put("kind", "order").put("text", "y"), 2 * LOOK + 6),
        (TableBuilder::new().put("kind", "order").put("x-not-looked-for", "y"), 2 * LOOK + 6),
        (TableBuilder::new().put("x-match", "any").put("kind", "a").put("text", "b"), 3 * LOOK + 5),
        (TableBuilder::new().put("text", &*long), 256),
        // The message has no header of the name.
        (TableBuilder::new().put("kind", "order").put("none-such", 1), 0),
    ] {
        let arguments = arguments.build();
        let index = index_of(160, &arguments);
        let look = |steps_max| {
            let mut steps = Steps::up_to(steps_max);
            let headers = MessageHeaders::new(Some(headers.as_table()));
            index.for_each_match(&headers, &mut steps, |_| {})
        };
        let steps = 160 * bytes / 256;
        assert_eq!(look(steps), Ok(()), "{arguments:?}");
        if let Some(too_few) = steps.checked_sub(1) {
            assert_eq!(look(too_few), Err(TooManySteps(too_few)), "{arguments:?}");
        }
    }
}
