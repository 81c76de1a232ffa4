//! JSON values as Erlang prints them: RabbitMQ's texts quote what was refused in that notation.

use std::fmt;

use serde_json::Value;

/// A JSON value as an Erlang term.
pub struct Term<'a>(pub &'a Value);

/// A setting and its value: `{<<"max-length">>,-1}`.
pub struct Pair<'a>(pub &'a str, pub &'a Value);

impl fmt::Display for Term<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => value.fmt(f),
            Value::Number(number) => number.fmt(f),
            Value::String(text) => write_text(f, text),
            Value::Array(values) => {
                f.write_str("[")?;
                for (position, value) in values.iter().enumerate() {
                    let comma = if position == 0 { "" } else { "," };
                    write!(f, "{comma}{}", Term(value))?;
                }
                f.write_str("]")
            }
            Value::Object(entries) => {
                f.write_str("#{")?;
                for (position, (key, value)) in entries.iter().enumerate() {
                    f.write_str(if position == 0 { "" } else { "," })?;
                    write_text(f, key)?;
                    write!(f, " => {}", Term(value))?;
                }
                f.write_str("}")
            }
        }
    }
}

impl fmt::Display for Pair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        write_text(f, self.0)?;
        write!(f, ",{}}}", Term(self.1))
    }
}

/// `<<"text">>`, with `/utf8` behind what is not ASCII.
fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    if text.is_empty() {
        return f.write_str("<<>>");
    }
    f.write_str("<<\"")?;
    for character in text.chars() {
        match character {
            '"' => f.write_str("\\\""),
            '\\' => f.write_str("\\\\"),
            '\n' => f.write_str("\\n"),
            '\r' => f.write_str("\\r"),
            '\t' => f.write_str("\\t"),
            other => write!(f, "{other}"),
        }?;
    }
    f.write_str(if text.is_ascii() { "\">>" } else { "\"/utf8>>" })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_print_as_in_erlang() {
        for (value, printed) in [
            (json!(null), "null"),
            (json!(true), "true"),
            (json!(-5), "-5"),
            (json!(1.5), "1.5"),
            (json!("x"), "<<\"x\">>"),
            (json!(""), "<<>>"),
            (json!("ä\"\\"), "<<\"ä\\\"\\\\\"/utf8>>"),
            (json!([1, "a"]), "[1,<<\"a\">>]"),
            (json!({"a": 1, "b": []}), "#{<<\"a\">> => 1,<<\"b\">> => []}"),
        ] {
            assert_eq!(Term(&value).to_string(), printed);
        }
        assert_eq!(Pair("foo", &json!(5)).to_string(), "{<<\"foo\">>,5}");
    }
}
