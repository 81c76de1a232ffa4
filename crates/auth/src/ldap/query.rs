//! What is asked of LDAP, in RabbitMQ's language: `{in_group, "cn=${vhost},ou=groups,dc=example"}`.

use thiserror::Error;

use super::term::{self, Term, TermError};

/// A question with the answer yes or no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapQuery {
    /// As it was written.
    text: String,
    pub(super) test: Test,
}

/// The questions that give a user tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapTagQueries {
    /// As they were written.
    text: String,
    pub(super) tags: Vec<(String, Test)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Constant(bool),
    /// The first whose variable has that value.
    For(Vec<(String, String, Self)>),
    /// Whether there is such an object.
    Exists(String),
    /// Whether such a group has the user as this attribute.
    InGroup {
        group: String,
        attribute: String,
    },
    /// The same through groups of groups.
    InGroupNested {
        group: String,
        attribute: String,
        is_subtree: bool,
    },
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
    Equals(Text, Text),
    /// Whether the second, an expression, is found in the first.
    Match(Text, Text),
}

/// Something with a text, or several, for a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// With variables in it.
    Template(String),
    /// What an object has as this attribute.
    Attribute { of: String, name: String },
}

/// Why a text is no query.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidQuery {
    /// It is no term of Erlang.
    #[error("{0}")]
    Syntax(String),
    /// It is a term, but means nothing.
    #[error("'{0}' is no query")]
    Unknown(String),
}

impl From<TermError> for InvalidQuery {
    fn from(error: TermError) -> Self {
        Self::Syntax(error.to_string())
    }
}

/// What is a member of a group unless a query says otherwise.
const MEMBER: &str = "member";

impl LdapQuery {
    /// Reads a query.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, InvalidQuery> {
        let test = test(&term::parse(text)?)?;
        Ok(Self { text: text.trim().to_owned(), test })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn constant(answer: bool) -> Self {
        Self { text: format!("{{constant, {answer}}}"), test: Test::Constant(answer) }
    }
}

impl LdapTagQueries {
    /// Reads a list of `{tag, query}`.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, InvalidQuery> {
        let Term::List(terms) = term::parse(text)? else {
            return Err(InvalidQuery::Unknown(text.to_owned()));
        };
        let tags = terms.iter().map(tag).collect::<Result<_, _>>()?;
        Ok(Self { text: text.trim().to_owned(), tags })
    }

    /// As they were written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// RabbitMQ's default: nobody has a tag.
    pub(crate) fn nobody() -> Self {
        let tags = vec![("administrator".to_owned(), Test::Constant(false))];
        Self { text: "[{administrator, {constant, false}}]".to_owned(), tags }
    }
}

fn test(term: &Term) -> Result<Test, InvalidQuery> {
    let Term::Tuple(parts) = term else { return Err(unknown(term)) };
    let Some((Term::Atom(name), parts)) = parts.split_first() else { return Err(unknown(term)) };
    let no_query = || InvalidQuery::Unknown(name.clone());
    match (name.as_str(), parts) {
        ("constant", [Term::Atom(answer)]) => match answer.as_str() {
            "true" => Ok(Test::Constant(true)),
            "false" => Ok(Test::Constant(false)),
            _ => Err(no_query()),
        },
        ("for", [Term::List(cases)]) => {
            cases.iter().map(case).collect::<Result<_, _>>().map(Test::For)
        }
        ("exists", [Term::Text(dn)]) => Ok(Test::Exists(dn.clone())),
        ("in_group", [Term::Text(group), attribute @ ..]) => {
            let attribute = match attribute {
                [] => MEMBER.to_owned(),
                [Term::Text(attribute)] => attribute.clone(),
                _ => return Err(no_query()),
            };
            Ok(Test::InGroup { group: group.clone(), attribute })
        }
        ("in_group_nested", [Term::Text(group), more @ ..]) => {
            let (attribute, scope) = match more {
                [] => (MEMBER, "subtree"),
                [Term::Text(attribute)] => (attribute.as_str(), "subtree"),
                [Term::Text(attribute), Term::Atom(scope)] => (attribute.as_str(), scope.as_str()),
                _ => return Err(no_query()),
            };
            let is_subtree = match scope {
                "subtree" => true,
                "singlelevel" | "single_level" | "onelevel" | "one_level" => false,
                _ => return Err(no_query()),
            };
            let (group, attribute) = (group.clone(), attribute.to_owned());
            Ok(Test::InGroupNested { group, attribute, is_subtree })
        }
        ("not", [one]) => Ok(Test::Not(Box::new(test(one)?))),
        ("and", [Term::List(all)]) => all_of(all).map(Test::And),
        ("or", [Term::List(all)]) => all_of(all).map(Test::Or),
        ("equals", [one, other]) => Ok(Test::Equals(text(one)?, text(other)?)),
        ("match", [one, expression]) => Ok(Test::Match(text(one)?, text(expression)?)),
        _ => Err(no_query()),
    }
}

fn all_of(terms: &[Term]) -> Result<Vec<Test>, InvalidQuery> {
    terms.iter().map(test).collect()
}

fn case(term: &Term) -> Result<(String, String, Test), InvalidQuery> {
    match term {
        Term::Tuple(parts) => match parts.as_slice() {
            [Term::Atom(variable), Term::Atom(value) | Term::Text(value), query] => {
                Ok((variable.clone(), value.clone(), test(query)?))
            }
            _ => Err(unknown(term)),
        },
        _ => Err(unknown(term)),
    }
}

fn text(term: &Term) -> Result<Text, InvalidQuery> {
    match term {
        Term::Text(template) => Ok(Text::Template(template.clone())),
        Term::Tuple(parts) => match parts.as_slice() {
            [Term::Atom(name), Term::Text(template)] if name == "string" => {
                Ok(Text::Template(template.clone()))
            }
            [Term::Atom(name), Term::Text(of), Term::Text(attribute)] if name == "attribute" => {
                Ok(Text::Attribute { of: of.clone(), name: attribute.clone() })
            }
            _ => Err(unknown(term)),
        },
        _ => Err(unknown(term)),
    }
}

fn tag(term: &Term) -> Result<(String, Test), InvalidQuery> {
    match term {
        Term::Tuple(parts) => match parts.as_slice() {
            [Term::Atom(tag), query] => Ok((tag.clone(), test(query)?)),
            _ => Err(unknown(term)),
        },
        _ => Err(unknown(term)),
    }
}

fn unknown(term: &Term) -> InvalidQuery {
    InvalidQuery::Unknown(match term {
        Term::Atom(text) | Term::Text(text) => text.clone(),
        Term::Tuple(parts) | Term::List(parts) => match parts.first() {
            Some(Term::Atom(text) | Term::Text(text)) => text.clone(),
            _ => "...".to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Test {
        LdapQuery::parse(text).unwrap().test
    }

    /// The example of RabbitMQ's guide.
    #[test]
    fn reads_rabbitmqs_queries() {
        let query = r#"
            {for, [{permission, configure, {in_group, "cn=admin,dc=example,dc=com"}},
                   {permission, write,
                    {for, [{resource, queue, {in_group, "cn=wheel,dc=example", "uniqueMember"}},
                           {resource, exchange, {constant, true}}]}},
                   {permission, read,
                    {'and', [{'not', {exists, "${user_dn}"}},
                             {'or', [{match, {attribute, "${user_dn}", "description"},
                                             {string, "^${name}$"}},
                                     {equals, "${username}", "${vhost}"}]}]}}]}"#;
        let Test::For(cases) = parsed(query) else { panic!("no cases") };
        let names: Vec<_> =
            cases.iter().map(|(name, value, _)| format!("{name} {value}")).collect();
        assert_eq!(names, ["permission configure", "permission write", "permission read"]);
        let group = "cn=admin,dc=example,dc=com".to_owned();
        assert_eq!(cases[0].2, Test::InGroup { group, attribute: "member".to_owned() });
        let Test::And(both) = &cases[2].2 else { panic!("no and") };
        assert_eq!(both[0], Test::Not(Box::new(Test::Exists("${user_dn}".to_owned()))));
        let Test::Or(either) = &both[1] else { panic!("no or") };
        let of = Text::Attribute { of: "${user_dn}".into(), name: "description".into() };
        assert_eq!(either[0], Test::Match(of, Text::Template("^${name}$".to_owned())));
        let nested = parsed(r#"{in_group_nested, "cn=a", "member", one_level}"#);
        assert!(matches!(nested, Test::InGroupNested { is_subtree: false, .. }));
    }

    #[test]
    fn reads_tags() {
        let tags = LdapTagQueries::parse(
            r#"[{administrator, {in_group, "cn=a"}}, {management, {constant, true}}]"#,
        );
        let tags = tags.unwrap().tags;
        assert_eq!(tags[1], ("management".to_owned(), Test::Constant(true)));
        assert!(LdapTagQueries::parse("{constant, true}").is_err());
        assert!(LdapTagQueries::parse("[{administrator}]").is_err());
    }

    #[test]
    fn says_what_it_does_not_know() {
        let error = |text| LdapQuery::parse(text).unwrap_err().to_string();
        assert_eq!(error("{in_grup, \"cn=a\"}"), "'in_grup' is no query");
        assert_eq!(error("{constant, yes}"), "'constant' is no query");
        assert_eq!(error("{'and', [{constant, true}, {x}]}"), "'x' is no query");
        assert_eq!(error("{constant, true"), "it ends too early");
    }
}
