//! The command line of `leveret migrate`.

use std::path::PathBuf;

use clap::Args;

/// Move everything from a running RabbitMQ to the broker of this machine.
///
/// Takes the definitions (users, vhosts, permissions, policies, exchanges, queues, bindings) from the
/// management API there, then moves the messages queue by queue over AMQP. A message is given up there
/// once it is on disk here. Interrupted, it goes on when it is run again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  leveret migrate --from http://admin@old:15672 --password-file secret --dry-run
  LEVERET_MIGRATE_PASSWORD=... leveret migrate --from https://admin@old:15671

The user there needs the tag administrator, and permission to read in each vhost.")]
pub struct MigrateArgs {
    /// The management API to migrate from, with the user
    #[arg(long, value_name = "URL")]
    pub(super) from: String,
    /// Where it speaks AMQP [default: the URL's host, at the port its management API names]
    #[arg(long, value_name = "amqp[s]://HOST:PORT")]
    pub(super) amqp: Option<String>,
    /// File with the password, in the place of LEVERET_MIGRATE_PASSWORD or one in the URL
    #[arg(long, value_name = "FILE")]
    pub(super) password_file: Option<PathBuf>,
    /// Certificates to trust with https and amqps, in PEM [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// Say what would be done and what will differ, and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}
