//! What stands for `${...}` in patterns and queries.

use std::borrow::Cow;

use ldap3::dn_escape;

/// Variables by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables(Vec<(&'static str, String)>);

/// What a filled template is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A distinguished name: what a client chose can't end its part of one (RFC 4514, 2.4).
    Dn,
    /// Anything else.
    Text,
}

/// The one that is a distinguished name itself.
const USER_DN: &str = "user_dn";

impl Variables {
    /// Of a user, with RabbitMQ's parts of a name as in Active Directory: `DOMAIN\user`.
    pub(super) fn of_user(name: &str) -> Self {
        let mut own = Self(vec![("username", name.to_owned())]);
        if let Some((domain, user)) = name.split_once('\\') {
            own.put("ad_domain", domain);
            own.put("ad_user", user);
        }
        own
    }

    pub(super) fn put(&mut self, name: &'static str, value: &str) {
        self.0.push((name, value.to_owned()));
    }

    pub(super) fn put_dn(&mut self, dn: &str) {
        self.put(USER_DN, dn);
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str())
    }

    /// The template with values in the place of variables. What is none stays as it is. Values are
    /// not looked at for variables.
    pub(super) fn fill(&self, template: &str, place: Place) -> String {
        let mut filled = String::new();
        let mut rest = template;
        while let Some((before, behind)) = rest.split_once("${") {
            filled.push_str(before);
            let found = behind
                .split_once('}')
                .and_then(|(name, behind)| self.get(name).map(|value| (name, value, behind)));
            match found {
                Some((name, value, behind)) => {
                    let is_plain = place == Place::Text || name == USER_DN;
                    let value = if is_plain { Cow::Borrowed(value) } else { dn_escape(value) };
                    filled.push_str(&value);
                    rest = behind;
                }
                None => {
                    filled.push_str("${");
                    rest = behind;
                }
            }
        }
        filled + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_variables_were() {
        let mut variables = Variables::of_user("ACME\\anna");
        variables.put("vhost", "/${username}");
        variables.put_dn("cn=anna,dc=acme");
        let fill = |template, place| variables.fill(template, place);
        assert_eq!(fill("${ad_user}@${ad_domain}.com", Place::Text), "anna@ACME.com");
        assert_eq!(fill("ou=${vhost},${user_dn}", Place::Text), "ou=/${username},cn=anna,dc=acme");
        assert_eq!(fill("${unknown} ${ $", Place::Text), "${unknown} ${ $");
    }

    #[test]
    fn a_value_stays_within_its_part_of_a_name() {
        let mut variables = Variables::of_user("x,ou=admins");
        variables.put_dn("cn=anna,dc=acme");
        let dn = variables.fill("cn=${username},dc=acme", Place::Dn);
        assert_eq!(dn, "cn=x\\2cou\\3dadmins,dc=acme");
        assert_eq!(variables.fill("${user_dn}", Place::Dn), "cn=anna,dc=acme");
    }
}
