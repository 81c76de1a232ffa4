use serde_json::json;

use super::*;

fn sample() -> Output {
    let mut rows = Rows::new(&["name", "tags", "arguments"]);
    let arguments = json!({ "x-dead-letter-exchange": "dlx", "x-max-length": 10 });
    let Value::Object(arguments) = arguments else { unreachable!() };
    rows.rows.push(vec![
        Cell::Value("q\"1".into()),
        Cell::Value(json!(["a", "b"])),
        Cell::Arguments(arguments),
    ]);
    rows.into()
}

#[test]
fn a_table_has_tabs_and_erlangs_arguments() {
    let text = "name\ttags\targuments\n\
                q\"1\t[a, b]\t[{\"x-dead-letter-exchange\",\"dlx\"},{\"x-max-length\",10}]\n";
    assert_eq!(sample().shown(Format::Table, true, "n"), text);
    let (_, without_header) = text.split_once('\n').unwrap();
    assert_eq!(sample().shown(Format::Table, false, "n"), without_header);
}

#[test]
fn json_has_a_line_for_each_row_and_the_types_of_arguments() {
    let object = r#"{"name":"q\"1","tags":["a","b"],"arguments":[["x-dead-letter-exchange","longstr","dlx"],["x-max-length","long",10]]}"#;
    assert_eq!(sample().shown(Format::Json, true, "n"), format!("[\n{object}\n]\n"));
    assert_eq!(sample().shown(Format::JsonStream, true, "n"), format!("{object}\n"));
    assert_eq!(Output::from(Rows::new(&["name"])).shown(Format::Json, true, "n"), "[\n]\n");
    let done = "{\"node\":\"n\",\"result\":\"ok\"}\n";
    assert_eq!(Output::Nothing.shown(Format::Json, true, "n"), done);
}

#[test]
fn csv_has_quotes() {
    let text = sample().shown(Format::Csv, true, "n");
    assert!(text.starts_with("\"name\",\"tags\",\"arguments\"\n\"q\"\"1\",\"[a, b]\","), "{text}");
}

#[test]
fn erlang_has_terms() {
    let text = "[[{name,<<\"q\\\"1\">>},{tags,[<<\"a\">>,<<\"b\">>]},\
                {arguments,[{<<\"x-dead-letter-exchange\">>,<<\"dlx\">>},{<<\"x-max-length\">>,10}]}]]\n";
    assert_eq!(sample().shown(Format::Erlang, true, "n"), text);
}

#[test]
fn a_pretty_table_has_lines() {
    let mut rows = Rows::new(&["user", "tags"]);
    rows.push([json!("u"), json!([])]);
    rows.push([json!("guest"), json!(["administrator"])]);
    let text = "\
┌───────┬───────────────┐
│ user  │ tags          │
├───────┼───────────────┤
│ u     │               │
├───────┼───────────────┤
│ guest │ administrator │
└───────┴───────────────┘
";
    assert_eq!(Output::from(rows).shown(Format::PrettyTable, true, "n"), text);
}

#[test]
fn nothing_to_list_is_nothing_at_all() {
    for format in [Format::Table, Format::PrettyTable, Format::Csv] {
        assert_eq!(Output::from(Rows::new(&["name"])).shown(format, true, "n"), "");
    }
}
