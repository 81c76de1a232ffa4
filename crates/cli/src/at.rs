//! Looking into JSON without minding whether it is there.

use serde_json::Value;

/// A field of an object.
pub(crate) trait At {
    /// The field, null where there is none.
    fn at(&self, key: &str) -> &Value;
}

impl At for Value {
    fn at(&self, key: &str) -> &Value {
        self.get(key).unwrap_or(&Self::Null)
    }
}
