//! lapin over TLS, with a password and with a certificate.

use std::process::ExitCode;
use std::{env, fs};

use anyhow::{Context, bail, ensure};
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use leveret_interop::{check, run};

type Result<T = ()> = anyhow::Result<T>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if env::var("AMQPS_ADDRESS").is_err() {
        println!("nobody said where TLS is spoken");
        return ExitCode::SUCCESS;
    }
    run(vec![
        check("messages_go_through", messages_go_through()),
        check("a_certificate_is_a_login", a_certificate_is_a_login()),
        check("an_unknown_authority_is_not_trusted", an_unknown_authority_is_not_trusted()),
    ])
    .await
}

async fn messages_go_through() -> Result {
    let config = OwnedTLSConfig { identity: None, cert_chain: Some(file("ca.pem")?) };
    let connection = connect("guest:guest@", "", config).await?;
    let bodies = [Vec::new(), b"small".to_vec(), vec![7; 1_000_000]];
    ensure!(echoed(&connection, &bodies, BasicProperties::default()).await? == bodies);
    Ok(())
}

async fn a_certificate_is_a_login() -> Result {
    let (pem, key) = (file("client.pem")?.into_bytes(), file("client.key")?.into_bytes());
    let identity = Some(OwnedIdentity::PKCS8 { pem, key });
    let config = OwnedTLSConfig { identity, cert_chain: Some(file("ca.pem")?) };
    let connection = connect("", "&auth_mechanism=external", config).await?;
    // Only who it is may say so.
    let named = BasicProperties::default().with_user_id("interop".into());
    ensure!(echoed(&connection, &[b"mine".to_vec()], named).await? == [b"mine"]);
    Ok(())
}

async fn an_unknown_authority_is_not_trusted() -> Result {
    match connect("guest:guest@", "", OwnedTLSConfig::default()).await {
        Ok(_) => bail!("it trusts anybody"),
        Err(error) => {
            let error = format!("{error:#}");
            ensure!(error.to_lowercase().contains("certificate"), "{error}");
            Ok(())
        }
    }
}

async fn connect(user: &str, more: &str, config: OwnedTLSConfig) -> Result<Connection> {
    let address = env::var("AMQPS_ADDRESS").context("where TLS is spoken")?;
    let (_, port) = address.rsplit_once(':').context("an address with a port")?;
    let url = format!("amqps://{user}localhost:{port}/%2f?heartbeat=10{more}");
    let options = ConnectionProperties::default();
    let runtime = lapin::runtime::default_runtime()?;
    Ok(Connection::connect_with_config(&url, options, config, runtime).await?)
}

/// What comes back of these.
async fn echoed(
    connection: &Connection,
    bodies: &[Vec<u8>],
    properties: BasicProperties,
) -> Result<Vec<Vec<u8>>> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
    let name: ShortString = queue.name().clone();
    let mut came_back = Vec::new();
    for body in bodies {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let sent =
            channel.basic_publish("".into(), name.clone(), options, body, properties.clone());
        let confirmation = sent.await?.await?;
        ensure!(confirmation.is_ack());
        let get = BasicGetOptions { no_ack: true };
        let got = channel.basic_get(name.clone(), get).await?.context("a message")?;
        came_back.push(got.delivery.data);
    }
    Ok(came_back)
}

fn file(name: &str) -> Result<String> {
    let folder = env::var("AMQPS_CERTIFICATES").context("where the certificates are")?;
    Ok(fs::read_to_string(format!("{folder}/{name}"))?)
}
