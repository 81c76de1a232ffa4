//! The policies an object has.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::NamedPolicy;
use super::merge;

/// The policies a queue or an exchange has at a moment: one of the users', and a queue one of the
/// operators' beside it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AppliedPolicies {
    pub(super) user: Option<Arc<NamedPolicy>>,
    pub(super) operator: Option<Arc<NamedPolicy>>,
}

impl AppliedPolicies {
    /// The users' (`policy` in listings).
    pub fn policy(&self) -> Option<&Arc<NamedPolicy>> {
        self.user.as_ref()
    }

    /// The operators' (`operator_policy`).
    pub fn operator_policy(&self) -> Option<&Arc<NamedPolicy>> {
        self.operator.as_ref()
    }

    /// Both as one (`effective_policy_definition`). Arguments of the object's declaration, which may
    /// overrule a setting, are not in it.
    pub fn effective_definition(&self) -> Map<String, Value> {
        match (&self.user, &self.operator) {
            (None, None) => Map::new(),
            (Some(one), None) | (None, Some(one)) => one.policy.definition.clone(),
            (Some(user), Some(operator)) => {
                merge::definitions(&user.policy.definition, &operator.policy.definition)
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.user.is_none() && self.operator.is_none()
    }

    /// A setting of a policy for exchanges that is a text.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.user.as_ref()?.policy.definition.get(key)?.as_str()
    }
}
