//! Queries, answered by a server.

use std::collections::HashSet;
use std::pin::Pin;

use ldap3::{Ldap, Scope, SearchEntry, ldap_escape};
use leveret_broker::access::Pattern;

use super::Unanswered;
use super::query::{Test, Text};
use super::variables::{Place, Variables};

/// Result codes of a search (RFC 4511, 4.1.9).
const SUCCESS: u32 = 0;
const NO_SUCH_OBJECT: u32 = 32;
const INVALID_DN_SYNTAX: u32 = 34;
/// Groups that are looked at for a nested one, at most: a directory may be of any size.
pub(crate) const GROUPS_MAX: usize = 1000;
/// No attribute at all (RFC 4511, 4.5.1.8): only whether there is an entry counts.
const NOTHING: [&str; 1] = ["1.1"];
/// All entries have one. A search needs a filter.
const ANYTHING: &str = "(objectClass=*)";

/// What is asked, about whom, on which connection.
pub(super) struct Evaluation<'a> {
    pub(super) ldap: &'a mut Ldap,
    pub(super) variables: &'a Variables,
    pub(super) user_dn: &'a str,
    /// Where groups of groups are looked for.
    pub(super) group_base: Option<&'a str>,
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Unanswered>> + Send + 'a>>;

impl Evaluation<'_> {
    /// Whether it is so.
    ///
    /// As in RabbitMQ what isn't there is not so, and neither is what compares with it.
    pub(super) fn holds<'b>(&'b mut self, test: &'b Test) -> Answer<'b, bool> {
        Box::pin(async move {
            match test {
                Test::Constant(answer) => Ok(*answer),
                Test::For(cases) => self.holds(case(cases, self.variables)?).await,
                Test::Exists(dn) => {
                    let dn = self.variables.fill(dn, Place::Dn);
                    let found = self.search(&dn, Scope::Base, ANYTHING, NOTHING.to_vec()).await?;
                    Ok(!found.is_empty())
                }
                Test::InGroup { group, attribute } => {
                    let group = self.variables.fill(group, Place::Dn);
                    let filter = equals(attribute, self.user_dn);
                    let found = self.search(&group, Scope::Base, &filter, NOTHING.to_vec()).await?;
                    Ok(!found.is_empty())
                }
                Test::InGroupNested { group, attribute, is_subtree } => {
                    let group = self.variables.fill(group, Place::Dn);
                    let scope = if *is_subtree { Scope::Subtree } else { Scope::OneLevel };
                    self.is_in_nested(&group, attribute, scope).await
                }
                Test::Not(test) => Ok(!self.holds(test).await?),
                Test::And(tests) => {
                    for test in tests {
                        if !self.holds(test).await? {
                            return Ok(false);
                        }
                    }
                    Ok(true)
                }
                Test::Or(tests) => {
                    for test in tests {
                        if self.holds(test).await? {
                            return Ok(true);
                        }
                    }
                    Ok(false)
                }
                Test::Equals(one, other) => {
                    Ok(are_equal(&self.texts(one).await?, &self.texts(other).await?))
                }
                Test::Match(text, expression) => {
                    is_match(&self.texts(text).await?, &self.texts(expression).await?)
                }
            }
        })
    }

    /// The values of a text: one, or those of an attribute.
    async fn texts(&mut self, text: &Text) -> Result<Vec<String>, Unanswered> {
        match text {
            Text::Template(template) => Ok(vec![self.variables.fill(template, Place::Text)]),
            Text::Attribute { of, name } => {
                let dn = self.variables.fill(of, Place::Dn);
                let found = self.search(&dn, Scope::Base, ANYTHING, vec![name.as_str()]).await?;
                let values = found.into_iter().flat_map(|entry| entry.attrs);
                let own = values.filter(|(attribute, _)| attribute.eq_ignore_ascii_case(name));
                Ok(own.flat_map(|(_, values)| values).collect())
            }
        }
    }

    /// Whether the user is in a group, or in one that is in it, and so on.
    async fn is_in_nested(
        &mut self,
        group: &str,
        attribute: &str,
        scope: Scope,
    ) -> Result<bool, Unanswered> {
        let base = self.group_base.ok_or(Unanswered::NoGroupBase)?.to_owned();
        let mut seen: HashSet<String> = HashSet::new();
        let mut members = vec![self.user_dn.to_owned()];
        while let Some(member) = members.pop() {
            let filter = equals(attribute, &member);
            for found in self.search(&base, scope, &filter, NOTHING.to_vec()).await? {
                if found.dn.eq_ignore_ascii_case(group) {
                    return Ok(true);
                }
                if seen.len() < GROUPS_MAX && seen.insert(found.dn.to_ascii_lowercase()) {
                    members.push(found.dn);
                }
            }
        }
        Ok(false)
    }

    async fn search(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &str,
        attributes: Vec<&str>,
    ) -> Result<Vec<SearchEntry>, Unanswered> {
        search(self.ldap, base, scope, filter, attributes).await
    }
}

/// The entries that are found; none where there is no such place.
pub(super) async fn search(
    ldap: &mut Ldap,
    base: &str,
    scope: Scope,
    filter: &str,
    attributes: Vec<&str>,
) -> Result<Vec<SearchEntry>, Unanswered> {
    let answer = ldap.search(base, scope, filter, attributes).await;
    let answer = answer.map_err(|error| Unanswered::Search(error.to_string()))?;
    match answer.1.rc {
        SUCCESS => {
            let entries = answer.0.into_iter();
            let entries = entries.filter(|entry| !entry.is_ref() && !entry.is_intermediate());
            Ok(entries.map(SearchEntry::construct).collect())
        }
        NO_SUCH_OBJECT | INVALID_DN_SYNTAX => Ok(Vec::new()),
        code => Err(Unanswered::Search(format!("result code {code}: {}", answer.1.text))),
    }
}

/// A filter for what has this value.
pub(super) fn equals(attribute: &str, value: &str) -> String {
    format!("({}={})", ldap_escape(attribute), ldap_escape(value))
}

/// The first case that fits.
pub(super) fn case<'a>(
    cases: &'a [(String, String, Test)],
    variables: &Variables,
) -> Result<&'a Test, Unanswered> {
    for (variable, wanted, test) in cases {
        let value = variables.get(variable);
        let value = value.ok_or_else(|| Unanswered::NoVariable(variable.clone()))?;
        if value == wanted {
            return Ok(test);
        }
    }
    Err(Unanswered::NoCase)
}

/// Whether one of some is one of others.
pub(super) fn are_equal(some: &[String], others: &[String]) -> bool {
    let is_single = some.len() == 1 || others.len() == 1;
    is_single && some.iter().any(|text| others.contains(text))
}

/// Whether an expression is found in a text.
pub(super) fn is_match(texts: &[String], expressions: &[String]) -> Result<bool, Unanswered> {
    // RabbitMQ doesn't say what many in many would mean.
    if texts.len() > 1 && expressions.len() > 1 {
        return Ok(false);
    }
    for expression in expressions {
        if is_found(expression, texts)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_found(expression: &str, texts: &[String]) -> Result<bool, Unanswered> {
    // Of permissions an empty one means nothing; here it is found in everything.
    if expression.is_empty() {
        return Ok(!texts.is_empty());
    }
    let pattern = Pattern::new(expression);
    let pattern = pattern.map_err(|error| Unanswered::Search(error.to_string()))?;
    Ok(texts.iter().any(|text| pattern.matches(text)))
}
