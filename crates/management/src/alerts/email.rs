//! An e-mail by way of a mail server.

use std::path::PathBuf;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use leveret_outbound::certificates;
use leveret_server::config::{Smtp, SmtpSecurity};

use super::courier::Undelivered;
use super::notice::Telling;

/// Sends one mail to all addresses.
pub(super) async fn send(
    smtp: &Smtp,
    to: &[String],
    ca_file: Option<&PathBuf>,
    telling: &Telling,
) -> Result<(), Undelivered> {
    let letter = letter(smtp, to, telling)?;
    let (tls, port) = match smtp.security {
        SmtpSecurity::Starttls => (Tls::Required(tls(smtp, ca_file)?), 587),
        SmtpSecurity::Tls => (Tls::Wrapper(tls(smtp, ca_file)?), 465),
        SmtpSecurity::None => (Tls::None, 25),
    };
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&smtp.host)
        .port(smtp.port.unwrap_or(port))
        .tls(tls);
    if let Some(username) = &smtp.username {
        let password = smtp.password.as_deref().unwrap_or_default().to_owned();
        transport = transport.credentials(Credentials::new(username.clone(), password));
    }
    transport.build().send(letter).await?;
    Ok(())
}

fn letter(smtp: &Smtp, to: &[String], telling: &Telling) -> Result<Message, Undelivered> {
    let from: Mailbox = smtp.from.parse()?;
    let mut builder: MessageBuilder = Message::builder().from(from);
    for address in to {
        builder = builder.to(address.parse()?);
    }
    let subject = format!("[leveret] {} {}: {}", telling.rule, telling.status, telling.summary);
    let builder = builder.subject(subject).header(ContentType::TEXT_PLAIN);
    Ok(builder.body(telling.text.clone())?)
}

fn tls(smtp: &Smtp, ca_file: Option<&PathBuf>) -> Result<TlsParameters, Undelivered> {
    let mut builder = TlsParameters::builder(smtp.host.clone());
    if let Some(path) = ca_file {
        builder = builder.certificate_store(CertificateStore::None);
        for certificate in certificates(path)? {
            builder = builder.add_root_certificate(Certificate::from_der(certificate.to_vec())?);
        }
    }
    Ok(builder.build()?)
}
