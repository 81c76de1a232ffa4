//! Queries that need no server: constants, also where cases lead to one, and texts that are compared.

use super::Unanswered;
use super::evaluate::{are_equal, case, is_match};
use super::query::{Test, Text};
use super::variables::{Place, Variables};

/// What a query comes to that nobody has to be asked; `None` if somebody has to be. As in an
/// [evaluation](super::evaluate::Evaluation) what comes first decides first.
pub(super) fn at_hand(test: &Test, variables: &Variables) -> Option<Result<bool, Unanswered>> {
    match test {
        Test::Constant(answer) => Some(Ok(*answer)),
        Test::For(cases) => match case(cases, variables) {
            Ok(test) => at_hand(test, variables),
            Err(error) => Some(Err(error)),
        },
        Test::Not(test) => Some(at_hand(test, variables)?.map(|answer| !answer)),
        Test::And(tests) => first(tests, variables, false),
        Test::Or(tests) => first(tests, variables, true),
        Test::Equals(one, other) => {
            let (one, other) = (template(one, variables)?, template(other, variables)?);
            Some(Ok(are_equal(&[one], &[other])))
        }
        Test::Match(text, expression) => {
            let (text, expression) = (template(text, variables)?, template(expression, variables)?);
            Some(is_match(&[text], &[expression]))
        }
        Test::Exists(_) | Test::InGroup { .. } | Test::InGroupNested { .. } => None,
    }
}

/// What the first comes to that is `decisive`; else that none is.
fn first(
    tests: &[Test],
    variables: &Variables,
    decisive: bool,
) -> Option<Result<bool, Unanswered>> {
    for test in tests {
        match at_hand(test, variables)? {
            Ok(answer) if answer != decisive => {}
            decided => return Some(decided),
        }
    }
    Some(Ok(!decisive))
}

fn template(text: &Text, variables: &Variables) -> Option<String> {
    match text {
        Text::Template(template) => Some(variables.fill(template, Place::Text)),
        Text::Attribute { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::query::LdapQuery;
    use super::*;

    /// What a query comes to for anna, who wants to read.
    fn asked(query: &str) -> Option<Result<bool, String>> {
        let mut variables = Variables::of_user("anna");
        variables.put("permission", "read");
        let answer = at_hand(&LdapQuery::parse(query).unwrap().test, &variables);
        answer.map(|answer| answer.map_err(|error| error.to_string()))
    }

    #[test]
    fn what_leads_to_a_constant_is_answered() {
        let exists = r#"{exists, "cn=a"}"#;
        for (query, answer) in [
            ("{constant, true}".to_owned(), Some(true)),
            ("{'not', {constant, true}}".to_owned(), Some(false)),
            (
                format!(
                    "{{for, [{{permission, configure, {exists}}}, {{permission, read, {{constant, true}}}}]}}"
                ),
                Some(true),
            ),
            (
                format!(
                    "{{for, [{{permission, read, {exists}}}, {{permission, write, {{constant, true}}}}]}}"
                ),
                None,
            ),
            (format!("{{'and', [{{constant, false}}, {exists}]}}"), Some(false)),
            (format!("{{'and', [{{constant, true}}, {exists}]}}"), None),
            // The server's fault would be told first.
            (format!("{{'and', [{exists}, {{constant, false}}]}}"), None),
            (format!("{{'or', [{{constant, true}}, {exists}]}}"), Some(true)),
            ("{'or', [{constant, false}, {constant, false}]}".to_owned(), Some(false)),
            (r#"{equals, "${username}", "anna"}"#.to_owned(), Some(true)),
            (r#"{match, {string, "${username}"}, "^b"}"#.to_owned(), Some(false)),
            (r#"{equals, {attribute, "cn=a", "b"}, "anna"}"#.to_owned(), None),
        ] {
            assert_eq!(asked(&query), answer.map(Ok), "{query}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_query_is_known_as_well() {
        let error = |text: &str| Some(Err(text.to_owned()));
        assert_eq!(
            asked("{for, [{permission, write, {constant, true}}]}"),
            error("no case of the query fits")
        );
        assert_eq!(
            asked("{'not', {for, [{nothing, x, {constant, true}}]}}"),
            error("the query asks for 'nothing', which there is not")
        );
    }
}
