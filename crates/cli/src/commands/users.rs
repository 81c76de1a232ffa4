//! Users, their passwords and tags.

use std::io::{self, BufRead, Write};

use serde_json::{Value, json};

use crate::at::At;
use crate::broker::accepted;
use crate::call::Call;
use crate::command::{Command, Run, Switch};
use crate::failure::{DATA, Failure, SOFTWARE};
use crate::http::part;
use crate::output::{Output, Rows};
use crate::program::Program::{Ctl, Diagnostics};

const USERS: Command = Command::of("Users", &[Ctl]);

pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "add_user",
        arguments: "<username> [<password>]",
        switches: &[Switch::flag("pre-hashed-password", "The password is a hash already")],
        about: "Makes a user, who has no permissions yet",
        example: "add_user anna < password-file\nadd_user anna",
        banner: Some(|call| format!("Adding user \"{}\" ...", call.argument(0))),
        run: Run::With(add),
        ..USERS
    },
    Command {
        name: "authenticate_user",
        arguments: "<username> [<password>]",
        about: "Checks a user's password",
        example: "authenticate_user anna < password-file",
        banner: Some(|call| format!("Authenticating user \"{}\" ...", call.argument(0))),
        run: Run::With(authenticate),
        ..USERS
    },
    Command {
        name: "change_password",
        arguments: "<username> [<password>]",
        switches: &[Switch::flag("pre-hashed-password", "The password is a hash already")],
        about: "Gives a user another password",
        example: "change_password anna < password-file",
        banner: Some(|call| format!("Changing password for user \"{}\" ...", call.argument(0))),
        run: Run::With(change_password),
        ..USERS
    },
    Command {
        name: "clear_password",
        arguments: "<username>",
        about: "Takes a user's password away, so that no password lets them in",
        example: "clear_password anna",
        banner: Some(|call| format!("Clearing password for user \"{}\" ...", call.argument(0))),
        run: Run::With(clear_password),
        ..USERS
    },
    Command {
        name: "delete_user",
        arguments: "<username>",
        about: "Removes a user and their permissions",
        example: "delete_user anna",
        banner: Some(|call| format!("Deleting user \"{}\" ...", call.argument(0))),
        run: Run::With(delete),
        ..USERS
    },
    Command {
        name: "hash_password",
        arguments: "[<password>]",
        about: "Prints the hash of a password, as definitions hold it",
        example: "hash_password < password-file",
        banner: Some(|_| "Will hash password".to_owned()),
        run: Run::With(hash_password),
        ..USERS
    },
    Command {
        name: "list_users",
        about: "Lists users and their tags",
        tools: &[Ctl, Diagnostics],
        banner: Some(|_| "Listing users ...".to_owned()),
        run: Run::With(list),
        ..USERS
    },
    Command {
        name: "set_user_tags",
        arguments: "<username> [<tag>...]",
        about: "Gives a user these tags in place of the ones they have",
        example: "set_user_tags anna administrator\nset_user_tags anna",
        banner: Some(|call| {
            let tags = call.arguments.get(1..).unwrap_or_default().join(", ");
            format!("Setting tags for user \"{}\" to [{tags}] ...", call.argument(0))
        }),
        run: Run::With(set_tags),
        ..USERS
    },
];

fn path(name: &str) -> String {
    format!("/api/users/{}", part(name))
}

/// A user who is there.
///
/// # Errors
/// 67 when nobody is.
pub(crate) fn named(call: &Call, name: &str) -> Result<Value, Failure> {
    call.broker.find(&path(name))?.ok_or_else(|| Failure::no_user(name))
}

/// The password, from the command line or a line of standard input.
fn password(call: &Call, place: usize) -> Result<String, Failure> {
    if let Some(given) = call.arguments.get(place) {
        return Ok(given.clone());
    }
    let _ = write!(io::stdout(), "Password: ").and_then(|()| io::stdout().flush());
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    let _ = writeln!(io::stdout());
    let line = line.trim_end_matches(['\r', '\n']);
    if read.is_err() || line.is_empty() {
        let why = "Password is not provided via argument or stdin";
        return Err(Failure::error(DATA, why));
    }
    Ok(line.to_owned())
}

fn secret(call: &Call, password: String) -> (&'static str, Value) {
    let is_hash = call.has("pre-hashed-password");
    (if is_hash { "password_hash" } else { "password" }, password.into())
}

fn add(call: &Call) -> Result<Output, Failure> {
    let name = call.argument(0);
    if call.broker.find(&path(name))?.is_some() {
        return Err(Failure::error(SOFTWARE, format!("User \"{name}\" already exists")));
    }
    let (key, secret) = secret(call, password(call, 1)?);
    call.broker.put(&path(name), &json!({ key: secret, "tags": "" }))?;
    if call.options.format.is_some_and(|format| format.is_for_programs()) {
        return Ok(Output::Nothing);
    }
    Ok(Output::text(
        "Done. Don't forget to grant the user permissions to some virtual hosts! See 'rabbitmqctl \
         help set_permissions' to learn more.",
    ))
}

fn authenticate(call: &Call) -> Result<Output, Failure> {
    let name = call.argument(0);
    let body = json!({ "username": name, "password": password(call, 1)? });
    let answer = call.broker.post("/control/authenticate", &body)?;
    if answer.get("ok") == Some(&Value::Bool(true)) {
        return Ok(Output::text("Success"));
    }
    let why = format!(
        "Error: failed to authenticate user \"{name}\"\nuser '{name}' - invalid credentials"
    );
    Err(Failure::error(DATA, why))
}

fn change_password(call: &Call) -> Result<Output, Failure> {
    let name = call.argument(0);
    let user = named(call, name)?;
    let (key, secret) = secret(call, password(call, 1)?);
    call.broker.put(&path(name), &json!({ key: secret, "tags": user.get("tags") }))?;
    Ok(Output::Nothing)
}

fn clear_password(call: &Call) -> Result<Output, Failure> {
    let name = call.argument(0);
    let user = named(call, name)?;
    call.broker.put(&path(name), &json!({ "password_hash": "", "tags": user.get("tags") }))?;
    Ok(Output::Nothing)
}

fn delete(call: &Call) -> Result<Output, Failure> {
    let name = call.argument(0);
    if call.broker.delete(&path(name))? { Ok(Output::Nothing) } else { Err(Failure::no_user(name)) }
}

fn hash_password(call: &Call) -> Result<Output, Failure> {
    let password = password(call, 0)?;
    let reply = call.broker.get(&format!("/api/auth/hash_password/{}", part(&password)))?;
    let hash = reply.get("ok").and_then(Value::as_str).unwrap_or_default();
    Ok(Output::text(hash))
}

fn list(call: &Call) -> Result<Output, Failure> {
    let mut rows = Rows::new(&["user", "tags"]);
    for user in call.broker.list("/api/users?columns=name,tags")? {
        rows.push([user.at("name").clone(), user.at("tags").clone()]);
    }
    Ok(rows.into())
}

fn set_tags(call: &Call) -> Result<Output, Failure> {
    let name = call.argument(0);
    let user = named(call, name)?;
    let tags = call.arguments.get(1..).unwrap_or_default();
    let body = json!({
        "password_hash": user.get("password_hash"),
        "hashing_algorithm": user.get("hashing_algorithm"),
        "tags": tags,
    });
    accepted(call.broker.send("PUT", &path(name), &body)?)?;
    Ok(Output::Nothing)
}
