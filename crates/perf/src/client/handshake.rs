//! From the protocol header to `connection.open-ok`.

use leveret_codec::{
    FRAME_OVERHEAD, Method, PROTOCOL_HEADER, Table, TableBuf, TableBuilder, Value, connection,
};
use serde::Serialize;

use super::{Client, Login};
use crate::error::ClientError;

/// The smallest frame-max RabbitMQ has taken in any version, with which a connection begins.
pub(super) const FRAME_MAX_MIN: u32 = 8192;

/// The frame-max asked for if the broker allows it and the buffer has room.
const FRAME_MAX: u32 = 131_072;

/// What a broker says it is.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Product {
    /// Such as `RabbitMQ`.
    pub(crate) name: String,
    /// Such as `4.2.1`.
    pub(crate) version: String,
    /// What Leveret says about itself beside the product it stands in for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) leveret_version: Option<String>,
}

impl Product {
    fn new(properties: Table<'_>) -> Self {
        let text = |key| {
            let value = properties.get(key).and_then(|value| value.as_str());
            value.map(str::to_owned)
        };
        Self {
            name: text("product").unwrap_or_default(),
            version: text("version").unwrap_or_default(),
            leveret_version: text("leveret_version"),
        }
    }
}

impl Client {
    pub(super) fn shake_hands(&mut self, login: &Login<'_>) -> Result<(), ClientError> {
        self.send(|out| out.extend_from_slice(&PROTOCOL_HEADER))?;
        self.product = self
            .expect(connection::Start::ID, |method| match method {
                Method::ConnectionStart(start) => Some(Product::new(start.server_properties)),
                _ => None,
            })?
            .unwrap_or_default();

        let response = format!("\0{}\0{}", login.target.user, login.target.password);
        let properties = client_properties(login.name);
        self.send(|out| {
            let start_ok = connection::StartOk {
                client_properties: properties.as_table(),
                mechanism: "PLAIN",
                response: response.as_bytes(),
                locale: "en_US",
            };
            start_ok.encode_frame(0, out);
        })?;

        let offered = self.expect(connection::Tune::ID, |method| match method {
            Method::ConnectionTune(tune) => Some(*tune),
            _ => None,
        })?;
        let Some(offered) = offered else { return Err(ClientError::Misplaced("connection.tune")) };
        let room =
            u32::try_from(self.inbox.capacity().saturating_sub(FRAME_OVERHEAD)).unwrap_or(u32::MAX);
        let wanted = FRAME_MAX.min(room);
        let frame_max = if offered.frame_max == 0 { wanted } else { wanted.min(offered.frame_max) };
        let tune_ok =
            connection::TuneOk { channel_max: offered.channel_max, frame_max, heartbeat: 0 };
        self.send(|out| {
            tune_ok.encode_frame(0, out);
            connection::Open { virtual_host: &login.target.vhost }.encode_frame(0, out);
        })?;
        self.frame_max = frame_max;
        self.expect(connection::OpenOk::ID, |_| ())
    }
}

fn client_properties(name: &str) -> TableBuf {
    const CAPABILITIES: [&str; 5] = [
        "authentication_failure_close",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "publisher_confirms",
    ];
    let mut capabilities = TableBuilder::new();
    for capability in CAPABILITIES {
        capabilities = capabilities.put(capability, true);
    }
    let capabilities = capabilities.build();
    TableBuilder::new()
        .put("capabilities", capabilities.as_table())
        .put("connection_name", Value::text(name))
        .put("product", "leveret-perf")
        .put("version", env!("CARGO_PKG_VERSION"))
        .build()
}
