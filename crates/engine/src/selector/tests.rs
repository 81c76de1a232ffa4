//! Selectors against RabbitMQ's own examples, and against naive ways to the same answers.

use leveret_codec::Value as HeaderValue;
use proptest::collection::vec;
use proptest::prelude::*;

use super::term::DEPTH_MAX;
use super::*;
use crate::histories::histories;

/// The headers of RabbitMQ's own tests.
const HEADERS: [(&str, HeaderValue<'_>); 9] = [
    ("JMSType", HeaderValue::LongStr(b"car")),
    ("colour", HeaderValue::LongStr(b"blue")),
    ("altcol", HeaderValue::LongStr(b"'blue")),
    ("likevar", HeaderValue::LongStr(b"bl_ue")),
    ("weight", HeaderValue::I32(2501)),
    ("WeIgHt", HeaderValue::I64(2)),
    ("afloat", HeaderValue::F64(3.0e-2)),
    ("abool", HeaderValue::Bool(false)),
    ("when", HeaderValue::Timestamp(1)),
];

fn header(name: &[u8]) -> Option<HeaderValue<'static>> {
    HEADERS.iter().find(|(own, _)| own.as_bytes() == name).map(|(_, value)| *value)
}

/// What a selector comes to, as a word.
fn value(text: &str) -> String {
    let selector =
        Selector::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
    match selector.expression.evaluate(&header, &free()) {
        Value::Atom(name) => name.to_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn expressions_come_to_what_rabbitmq_says() {
    let cases = [
        ("{'=',{ident,<<\"JMSType\">>},<<\"car\">>}.", "true"),
        ("{ident,<<\"abool\">>}.", "false"),
        ("{'not',{ident,<<\"abool\">>}}.", "true"),
        ("{'=',{ident,<<\"weight\">>},2501}.", "true"),
        ("{'=',{ident,<<\"weight\">>},2501.0}.", "true"),
        ("{'=',{ident,<<\"WeIgHt\">>},2}.", "true"),
        ("{'=',{ident,<<\"afloat\">>},3.0e-2}.", "true"),
        ("{'<>',{ident,<<\"weight\">>},2500}.", "true"),
        ("{'>',{ident,<<\"weight\">>},2500}.", "true"),
        ("{'<',{ident,<<\"weight\">>},2502}.", "true"),
        ("{'>=',{ident,<<\"weight\">>},2501}.", "true"),
        ("{'<=',{ident,<<\"weight\">>},2500}.", "false"),
        ("{'<',2500,{ident,<<\"weight\">>}}.", "true"),
        ("{between,{ident,<<\"weight\">>},{range,0,2501}}.", "true"),
        ("{between,17,{range,17,17}}.", "true"),
        ("{between,17,17,18}.", "true"),
        ("{not_between,16,{range,17,18}}.", "true"),
        ("{between,{ident,<<\"none\">>},{range,0,1}}.", "undefined"),
        ("{like,{ident,<<\"colour\">>},<<\"bl%\">>,no_escape}.", "true"),
        ("{like,{ident,<<\"colour\">>},<<\"bl_e\">>,no_escape}.", "true"),
        ("{like,{ident,<<\"likevar\">>},<<\"b_!_ue\">>,<<\"!\">>}.", "true"),
        ("{not_like,{ident,<<\"colour\">>},<<\"l%\">>,no_escape}.", "true"),
        ("{not_like,{ident,<<\"colour\">>},<<\"bl%\">>,no_escape}.", "false"),
        ("{like,{ident,<<\"altcol\">>},<<\"'bl%\">>,no_escape}.", "true"),
        ("{like,{ident,<<\"none\">>},<<\"%\">>,no_escape}.", "undefined"),
        ("{like,{ident,<<\"weight\">>},<<\"%\">>,no_escape}.", "error"),
        ("{in,{ident,<<\"colour\">>},[<<\"blue\">>,<<\"green\">>]}.", "true"),
        ("{not_in,{ident,<<\"colour\">>},[<<\"grue\">>,<<\"bleen\">>]}.", "true"),
        ("{in,{ident,<<\"none\">>},[<<\"blue\">>]}.", "undefined"),
        // Within a list an integer is no float.
        ("{in,{ident,<<\"weight\">>},[2501.0]}.", "false"),
        ("{is_null,{ident,<<\"none\">>}}.", "true"),
        ("{is_null,{ident,<<\"colour\">>}}.", "false"),
        ("{not_null,{ident,<<\"colour\">>}}.", "true"),
        ("{is_null,{'+',{ident,<<\"none\">>},1}}.", "false"),
        ("{'<=',{ident,<<\"none\">>},2500}.", "undefined"),
        ("{'=',{'+',{ident,<<\"weight\">>},1},2502}.", "true"),
        ("{'=',{'-',{ident,<<\"weight\">>}},-2501}.", "true"),
        ("{'=',{'*',2,3.5},7}.", "true"),
        ("{'=',{'-',2,3},-1}.", "true"),
        ("{'=',{'/',7,2},3.5}.", "true"),
        ("{'/',1,0}.", "plus_infinity"),
        ("{'/',-1,0}.", "minus_infinity"),
        ("{'/',0,0.0}.", "nan"),
        // Where RabbitMQ breaks down.
        ("{'+',<<\"a\">>,1}.", "error"),
        ("{'-',<<\"a\">>}.", "error"),
        ("{in,1,2}.", "error"),
        ("{'=',{ident,<<\"when\">>},1}.", "false"),
        // A text and a number have an order, in Erlang.
        ("{'>',{ident,<<\"colour\">>},5}.", "true"),
        ("{'=',{ident,<<\"colour\">>},5}.", "false"),
        // What no rule knows is what it is, or an error.
        ("{like,{ident,<<\"colour\">>},{<<\"bl%\">>,no_escape}}.", "error"),
        ("{ident,5}.", "undefined"),
        ("true", "true"),
    ];
    for (text, expected) in cases {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn truth_has_three_values() {
    let [t, f, u] = ["true", "false", "{'<',{ident,<<\"none\">>},1}"];
    let tables = [
        ("and", [[t, t, "true"], [t, f, "false"], [f, u, "false"], [t, u, "undefined"]]),
        ("or", [[f, f, "false"], [t, f, "true"], [t, u, "true"], [f, u, "undefined"]]),
    ];
    for (word, rows) in tables {
        for [left, right, expected] in rows {
            assert_eq!(value(&format!("{{'{word}',{left},{right}}}")), expected);
            assert_eq!(value(&format!("{{'{word}',{right},{left}}}")), expected);
        }
        assert_eq!(value(&format!("{{'{word}',{u},{u}}}")), "undefined");
        assert_eq!(value(&format!("{{'{word}',7,{u}}}")), "undefined");
    }
    assert_eq!(value(&format!("{{'not',{u}}}")), "undefined");
    assert_eq!(value("{'not',7}"), "undefined");
}

/// Room for whatever these take.
fn free() -> Effort {
    Effort::up_to(usize::MAX)
}

#[test]
fn only_true_matches() {
    let matches = |text: &str| Selector::parse(text.as_bytes()).unwrap().matches(header, &free());
    assert!(matches("{'=',1,1}."));
    for text in ["false.", "1.", "{ident,<<\"colour\">>}.", "{ident,<<\"none\">>}.", "{}.", "[]."] {
        assert!(!matches(text), "{text}");
    }
}

/// However it ends: a pattern is tried at each byte of the text.
#[test]
fn comparing_with_patterns_has_a_bound() {
    let text = vec![b'a'; 100_000];
    let header = |_: &[u8]| Some(HeaderValue::LongStr(&text));
    let like = format!("{{like,{{ident,<<\"h\">>}},<<\"%{}b%\">>,no_escape}}", "a".repeat(1000));
    let selector = Selector::parse(format!("{{'not',{like}}}.").as_bytes()).unwrap();
    let effort = Effort::up_to(10_000);
    selector.matches(header, &effort);
    assert_eq!((effort.compared(), effort.is_over()), (10_001, true));
    // One that the text does not end, or begin, with is looked at there only.
    for pattern in ["%b", "b%", "%_a_a_a%b", "b%_a_a_a%"] {
        let effort = Effort::up_to(1);
        let selector = format!("{{like,{{ident,<<\"h\">>}},<<\"{pattern}\">>,no_escape}}.");
        assert!(!Selector::parse(selector.as_bytes()).unwrap().matches(header, &effort));
        assert!(!effort.is_over(), "{pattern}");
    }
    // A text that is long takes as much as it is.
    let effort = Effort::up_to(200_100);
    let selector = "{like,{ident,<<\"h\">>},<<\"%b%\">>,no_escape}.";
    assert!(!Selector::parse(selector.as_bytes()).unwrap().matches(header, &effort));
    assert!(!effort.is_over());
}

#[test]
fn texts_that_are_no_selectors_are_refused() {
    let nested = |depth: usize| "{".repeat(depth) + "1" + &"}".repeat(depth);
    let long = format!("{{like,{{ident,<<\"a\">>}},<<\"{}\">>,no_escape}}.", "x".repeat(1025));
    let cases = [
        ("", "invalid JMS selector: unexpected_end"),
        ("}", "invalid JMS selector: unexpected_character"),
        ("True.", "invalid JMS selector: unexpected_character"),
        ("{1, ", "invalid JMS selector: unexpected_end"),
        ("{1 2}", "invalid JMS selector: expected_comma_or_closing_brace"),
        ("[1 2]", "invalid JMS selector: expected_comma_or_closing_bracket"),
        ("1 2", "invalid JMS selector: trailing_characters"),
        ("true..", "invalid JMS selector: trailing_characters"),
        ("<<1>>", "invalid JMS selector: invalid_binary"),
        ("<<\"a\"", "invalid JMS selector: expected_closing_binary"),
        ("<<\"a", "invalid JMS selector: unterminated_string"),
        ("'a", "invalid JMS selector: unterminated_quoted_atom"),
        ("1.0e.", "invalid JMS selector: invalid_term"),
        ("9.9e999.", "invalid JMS selector: invalid_term"),
        ("{color,1}.", "invalid JMS selector: {unknown_atom,\"color\"}"),
        (&nested(DEPTH_MAX + 1), "invalid JMS selector: max_depth_exceeded"),
        (
            "{like,{ident,<<\"a\">>},<<\"b\">>,<<\"!!\">>}.",
            "invalid JMS selector pattern: {invalid_like_pattern,invalid_escape}",
        ),
        (
            "{'and',true,{not_like,{ident,<<\"a\">>},5,no_escape}}.",
            "invalid JMS selector pattern: {invalid_like_pattern,{not_a_binary_pattern,5}}",
        ),
        (&long, "invalid JMS selector pattern: {invalid_like_pattern,pattern_too_long}"),
        (
            "{like,{ident,<<\"a\">>},regex,<<\"b\">>}.",
            "invalid JMS selector pattern: {invalid_regex,not_supported}",
        ),
    ];
    for (text, expected) in cases {
        let refused = Selector::parse(text.as_bytes()).err().map(|error| error.to_string());
        assert_eq!(refused.as_deref(), Some(expected), "{text}");
    }
    assert!(Selector::parse(nested(DEPTH_MAX).as_bytes()).is_ok());
}

#[test]
fn terms_are_read_as_erlang_reads_them() {
    let read = |text: &str| Term::parse(text.as_bytes()).unwrap().to_string();
    assert_eq!(read("  { ident , << \"x\" >> }  .  "), "{ident,<<\"x\">>}");
    assert_eq!(read("{'or',-5,+100,- 1.5,1.0E+3,<<>>,[]}"), "{'or',-5,100,-1.5,1000.0,<<>>,[]}");
    assert_eq!(read("\"hi\""), "[104,105]");
    assert_eq!(Term::parse(b"<<\"a\\n\\\\\\\"b\">>"), Ok(Term::Binary(b"a\n\\\"b"[..].into())));
}

fn term() -> impl Strategy<Value = Term> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|integer| Term::Integer(integer.into())),
        any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Term::Float),
        prop::sample::select(vec!["ident", "not", "<=", "true", "no_escape"]).prop_map(Term::Atom),
        vec(32..127_u8, 0..6).prop_map(|bytes| Term::Binary(bytes.into())),
    ];
    leaf.prop_recursive(6, 40, 4, |inner| {
        let elements = vec(inner, 0..4);
        (any::<bool>(), elements).prop_map(|(is_tuple, elements)| {
            if is_tuple { Term::Tuple(elements.into()) } else { Term::List(elements.into()) }
        })
    })
}

/// Whether a pattern matches, tried every way.
fn naive_like(pattern: &[u8], escape: Option<u8>, text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [byte, escaped, rest @ ..] if Some(*byte) == escape => {
            text.first() == Some(escaped) && naive_like(rest, escape, &text[1..])
        }
        [b'%', rest @ ..] => {
            let run = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
            (0..=run).any(|taken| naive_like(rest, escape, &text[taken..]))
        }
        [b'_', rest @ ..] => {
            text.first().is_some_and(|byte| *byte != b'\n') && naive_like(rest, escape, &text[1..])
        }
        [byte, rest @ ..] => text.first() == Some(byte) && naive_like(rest, escape, &text[1..]),
    }
}

/// An expression over two unknowns, and its value for each of what they may be.
fn logic() -> impl Strategy<Value = (String, [Option<bool>; 9])> {
    const CASES: [[Option<bool>; 2]; 9] = {
        let [t, f, u] = [Some(true), Some(false), None];
        [[t, t], [t, f], [t, u], [f, t], [f, f], [f, u], [u, t], [u, f], [u, u]]
    };
    let header =
        |name: &str, at: usize| (format!("{{ident,<<\"{name}\">>}}"), CASES.map(|case| case[at]));
    let leaf = prop_oneof![
        Just(header("a", 0)),
        Just(header("b", 1)),
        Just(("true".to_owned(), [Some(true); 9])),
        Just(("false".to_owned(), [Some(false); 9])),
    ];
    leaf.prop_recursive(5, 30, 2, |inner| {
        (0..3_u8, inner.clone(), inner).prop_map(|(word, (left, of_left), (right, of_right))| {
            let zip = |f: fn(Option<bool>, Option<bool>) -> Option<bool>| {
                std::array::from_fn(|case| f(of_left[case], of_right[case]))
            };
            match word {
                0 => (format!("{{'not',{left}}}"), of_left.map(|value| value.map(|value| !value))),
                1 => {
                    let and = zip(|left, right| match (left, right) {
                        (Some(false), _) | (_, Some(false)) => Some(false),
                        (Some(true), Some(true)) => Some(true),
                        _ => None,
                    });
                    (format!("{{'and',{left},{right}}}"), and)
                }
                _ => {
                    let or = zip(|left, right| match (left, right) {
                        (Some(true), _) | (_, Some(true)) => Some(true),
                        (Some(false), Some(false)) => Some(false),
                        _ => None,
                    });
                    (format!("{{'or',{left},{right}}}"), or)
                }
            }
        })
    })
}

proptest! {
    #![proptest_config(histories(2_000))]

    #[test]
    fn written_terms_are_read_back(term in term()) {
        prop_assert_eq!(Term::parse(term.to_string().as_bytes()), Ok(term));
    }

    #[test]
    fn no_text_does_harm(text in vec(prop::sample::select(b"{}[]<>\"'\\,.+-12eidnotlkrange_ ".to_vec()), 0..60)) {
        if let Ok(selector) = Selector::parse(&text) {
            selector.matches(header, &free());
        }
    }

    #[test]
    fn patterns_match_as_if_tried_every_way(
        pattern in vec(prop::sample::select(b"ab%_!\n".to_vec()), 0..9),
        text in vec(prop::sample::select(b"ab\n!".to_vec()), 0..9),
        escapes in any::<bool>(),
    ) {
        let escape = if escapes { Term::Binary(b"!"[..].into()) } else { Term::Atom("no_escape") };
        let compiled = like::Pattern::compile(&Term::Binary(pattern.clone().into()), &escape).unwrap();
        let expected = naive_like(&pattern, escapes.then_some(b'!'), &text);
        prop_assert_eq!(compiled.matches(&text, &free()), expected);
    }

    #[test]
    fn logic_agrees_with_its_truth_table((text, values) in logic()) {
        let selector = Selector::parse(text.as_bytes()).unwrap();
        let words = [Some(true), Some(false), None];
        let cases = words.iter().flat_map(|a| words.iter().map(move |b| [*a, *b]));
        for ([a, b], expected) in cases.zip(values) {
            let header = |name: &[u8]| {
                let word = if name == b"a" { a } else { b };
                word.map(HeaderValue::Bool)
            };
            prop_assert_eq!(selector.matches(header, &free()), expected == Some(true), "{} {:?} {:?}", text, a, b);
        }
    }

    /// The order of numbers does not depend on how they are written.
    #[test]
    fn integers_and_floats_have_one_order(a in any::<i32>(), b in any::<i32>(), f in any::<f64>()) {
        prop_assume!(f.is_finite());
        let (x, y) = (Term::Integer(a.into()), Term::Float(b.into()));
        prop_assert_eq!(Value::of_term(&x).compare(Value::of_term(&y)), a.cmp(&b));
        let float = Term::Float(f);
        let ordering = Value::of_term(&x).compare(Value::of_term(&float));
        prop_assert_eq!(Some(ordering), f64::from(a).partial_cmp(&f));
        prop_assert_eq!(Value::of_term(&float).compare(Value::of_term(&x)), ordering.reverse());
    }
}
