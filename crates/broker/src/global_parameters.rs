//! Parameters of the whole node: what operators and tools keep here under a name, in JSON.

use std::collections::BTreeMap;

use leveret_store::{Definition, Lsn, Table};
use serde_json::{Value, json};
use thiserror::Error;

use crate::access::Change;
use crate::administration::{Administration, Changed};
use crate::audit::Actor;
use crate::broker::Broker;
use crate::definitions;
use crate::limits::reached;
use crate::session::{define, generated_name};

/// The component global parameters are stored under, in no vhost.
pub(crate) const GLOBAL: &str = "global";
/// RabbitMQ's parameter for the name the operator gave the cluster.
const CLUSTER_NAME: &str = "cluster_name";
/// RabbitMQ's parameter for a name nobody gave the cluster.
const CLUSTER_ID: &str = "internal_cluster_id";

/// Longest value of a global parameter as JSON, in bytes.
pub(crate) const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// Why a global parameter is not set. RabbitMQ sets any.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GlobalParameterRefused {
    /// There are as many as there may be.
    #[error("cannot set global parameter '{name}': global parameter limit of {limit} is reached")]
    TooMany {
        /// Its name.
        name: String,
        /// How many there may be.
        limit: u64,
    },
    /// Its value is too long.
    #[error("cannot set global parameter '{0}': its value must not exceed 1048576 bytes")]
    TooLong(String),
}

impl Broker {
    /// All global parameters by name.
    pub fn global_parameters(&self) -> BTreeMap<String, Value> {
        self.global_parameters.read().clone()
    }

    /// The global parameter of this name.
    pub fn global_parameter(&self, name: &str) -> Option<Value> {
        self.global_parameters.read().get(name).cloned()
    }

    /// The name an operator gave the cluster.
    pub fn cluster_name(&self) -> Option<String> {
        let parameters = self.global_parameters.read();
        parameters.get(CLUSTER_NAME).and_then(Value::as_str).map(str::to_owned)
    }

    /// The cluster's name that nobody gave it, for tools that tell clusters apart.
    pub fn cluster_id(&self) -> String {
        let parameters = self.global_parameters.read();
        parameters.get(CLUSTER_ID).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Gives a new broker its identity.
    pub(crate) fn make_cluster_id(&self) {
        if !self.global_parameters.read().contains_key(CLUSTER_ID) {
            let id = generated_name("rabbitmq-cluster-id").into();
            self.administration(&Actor::program()).keep_global_parameter(CLUSTER_ID, id);
        }
    }

    pub(crate) fn restore_global_parameter(&self, name: &str, value: Value) {
        self.global_parameters.write().insert(name.to_owned(), value);
    }
}

impl Administration<'_> {
    /// Sets a global parameter.
    ///
    /// # Errors
    /// When it is one too many, or too long.
    pub fn put_global_parameter(
        &self,
        name: &str,
        value: Value,
    ) -> Result<Changed, GlobalParameterRefused> {
        if value.to_string().len() > VALUE_BYTES_MAX {
            return Err(GlobalParameterRefused::TooLong(name.to_owned()));
        }
        let _changes = self.broker.changes.lock();
        let parameters = self.broker.global_parameters.read();
        let is_new = !parameters.contains_key(name);
        let limit = reached(self.broker.limits.global_parameters, parameters.len() as u64);
        drop(parameters);
        match limit.filter(|_| is_new) {
            Some(limit) => Err(GlobalParameterRefused::TooMany { name: name.to_owned(), limit }),
            None => Ok(self.change_global_parameter(name, value)),
        }
    }

    /// Sets one in which the broker itself keeps something: there is always room for it.
    pub fn keep_global_parameter(&self, name: &str, value: Value) -> Changed {
        let _changes = self.broker.changes.lock();
        self.change_global_parameter(name, value)
    }

    /// The same while nobody else changes anything.
    fn change_global_parameter(&self, name: &str, value: Value) -> Changed {
        let key = definitions::parameter_key("", GLOBAL, name);
        let put =
            Definition::Put { table: Table::Parameters, key, value: definitions::encode(&value) };
        let after = value.clone();
        let old = self.broker.global_parameters.write().insert(name.to_owned(), value);
        let change = if old.is_some() { Change::Updated } else { Change::Created };
        let before = old.unwrap_or_default();
        self.record("global.parameter.set", json!({ "name": name }), before, after);
        Changed { change, commit: define(self.broker, &[put]) }
    }

    /// Deletes a global parameter; `None` when there is none of that name.
    pub fn delete_global_parameter(&self, name: &str) -> Option<Option<Lsn>> {
        let _changes = self.broker.changes.lock();
        let before = self.broker.global_parameters.write().remove(name)?;
        self.record("global.parameter.cleared", json!({ "name": name }), before, Value::Null);
        let key = definitions::parameter_key("", GLOBAL, name);
        Some(define(self.broker, &[Definition::Delete { table: Table::Parameters, key }]))
    }

    /// Gives the cluster a name.
    pub fn set_cluster_name(&self, name: &str) -> Changed {
        self.keep_global_parameter(CLUSTER_NAME, name.into())
    }
}
