use std::net::SocketAddr;

use crate::client::{Client, Login};
use crate::error::{ClientError, PerfError};
use crate::process::{Process, Sample};
use crate::target::{Reach, Target, TargetError};

/// A broker to measure.
#[derive(Clone, Debug)]
pub struct Broker {
    name: String,
    target: Target,
    address: SocketAddr,
    process: Option<Process>,
}

impl Broker {
    /// A broker called `name` in reports. With the id of its process, what it costs is measured.
    ///
    /// # Errors
    /// The target is unknown or out of `reach`.
    pub fn new(
        name: impl Into<String>,
        target: Target,
        pid: Option<u32>,
        reach: Reach,
    ) -> Result<Self, TargetError> {
        let address = target.resolve(reach)?;
        Ok(Self { name: name.into(), target, address, process: pid.map(Process::new) })
    }

    /// Its name in reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn has_process(&self) -> bool {
        self.process.is_some()
    }

    /// A connection without a channel.
    pub(crate) fn connect(&self, role: &str, read_bytes: usize) -> Result<Client, PerfError> {
        let name = format!("leveret-perf {role}");
        let login = Login { address: self.address, target: &self.target, name: &name };
        Client::connect(&login, read_bytes).map_err(|source| self.failed(source))
    }

    /// A connection with a channel.
    pub(crate) fn open(&self, role: &str, read_bytes: usize) -> Result<Client, PerfError> {
        let mut client = self.connect(role, read_bytes)?;
        client.open_channel().map_err(|source| self.failed(source))?;
        Ok(client)
    }

    /// Says whose failure it was.
    pub(crate) fn failed(&self, source: ClientError) -> PerfError {
        PerfError::Client { broker: self.name.clone(), source }
    }

    /// What its process has used so far, if it is known.
    pub(crate) fn sample(&self) -> Result<Option<Sample>, PerfError> {
        let sample = |process: Process| {
            process.sample().map_err(|source| PerfError::Process { pid: process.pid(), source })
        };
        self.process.map(sample).transpose()
    }
}
