//! Where passwords come from, and where they don't go.

use super::*;

#[test]
fn no_password_shows_where_a_configuration_is_printed() {
    let text = "[auth]\ndefault_pass = \"hunter2\"\nanonymous_login_pass = \"hunter2\"\n\
                [auth_ldap]\nother_bind = \"as_user\"\nother_bind_password = \"hunter2\"\n\
                [alerts.smtp]\nhost = \"h\"\nfrom = \"a@b\"\npassword = \"hunter2\"\n\
                [alerts.receiver.r]\nwebhook = \"http://a\"\nheaders = { a = \"hunter2\" }\n";
    let (config, _) = from_file(text).unwrap();
    let sources = environment(&[("LEVERET_AUTH_DEFAULT_PASS", "hunter2")]);
    let sources = sources.flag("--pass", "auth.default_pass", ["hunter2".to_owned()]);
    let shown = format!("{config:?} {sources:?}");
    assert!(shown.contains("default_pass: (not shown)"), "{shown}");
    assert!(shown.contains("LEVERET_AUTH_DEFAULT_PASS") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn passwords_may_be_in_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    fs::write(&path, "s3cret\r\n").unwrap();
    let path = path.to_str().unwrap();
    let (config, warnings) = from_environment(&[
        ("LEVERET_AUTH_DEFAULT_PASS_FILE", path),
        ("LEVERET_AUTH_ANONYMOUS_LOGIN_PASS_FILE", path),
        ("LEVERET_AUTH_LDAP_DN_LOOKUP_BIND_PASSWORD_FILE", path),
        ("LEVERET_AUTH_LDAP_OTHER_BIND_PASSWORD_FILE", path),
    ])
    .unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let AuthConfig { default_pass, anonymous_login_pass, backends, .. } = config.auth;
    assert_eq!((&*default_pass, &*anonymous_login_pass), ("s3cret", "s3cret"));
    let LdapSettings { dn_lookup_bind, other_bind, .. } = backends.ldap;
    let passwords = [dn_lookup_bind.password, other_bind.password];
    assert_eq!(passwords, [(); 2].map(|()| Some("s3cret".to_owned())));
    let both = [("LEVERET_AUTH_DEFAULT_PASS_FILE", path), ("LEVERET_AUTH_DEFAULT_PASS", "above")];
    assert_eq!(&*from_environment(&both).unwrap().0.auth.default_pass, "above");
    // What is no secret is in no file.
    let (_, warnings) = from_environment(&[("LEVERET_NODE_NAME_FILE", path)]).unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

/// The one that is no setting of its own.
#[test]
fn the_mail_servers_password_may_be_in_a_file_or_a_variable() {
    const VALUE: &str = "LEVERET_ALERTS_SMTP_PASSWORD";
    const FILE: &str = "LEVERET_ALERTS_SMTP_PASSWORD_FILE";
    let folder = tempfile::tempdir().unwrap();
    let [config, password] = ["leveret.toml", "password"].map(|name| folder.path().join(name));
    let smtp = "[alerts.smtp]\nhost = \"h\"\nfrom = \"a@b\"\npassword = \"in the section\"\n";
    fs::write(&config, smtp).unwrap();
    fs::write(&password, "s3cret\n").unwrap();
    let file = (FILE, password.to_str().unwrap());
    for (variables, expected) in [
        (&[][..], "in the section"),
        (&[file], "s3cret"),
        (&[(VALUE, "hunter2"), file], "hunter2"),
        (&[(VALUE, "hunter2")], "hunter2"),
    ] {
        let sources = environment(variables).file(&config);
        let sources = sources.flag("--data-dir", "data_dir", ["/data".to_owned()]);
        let (config, warnings) = Config::load(&sources).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(config.alerts.smtp.unwrap().password.as_deref(), Some(expected));
    }
    let error = from_environment(&[(VALUE, "hunter2")]).unwrap_err();
    let expected = "environment variable LEVERET_ALERTS_SMTP_PASSWORD: there is no mail server, \
                    [alerts.smtp], for this password";
    assert_eq!(error, expected);
}

/// They are read again with each reload, and none is shown.
#[test]
fn header_fields_of_webhooks_may_be_in_files() {
    let folder = tempfile::tempdir().unwrap();
    let [config, token] = ["leveret.toml", "token"].map(|name| folder.path().join(name));
    let receiver = format!(
        "[alerts.receiver.hook]\nwebhook = \"http://a\"\nheaders = {{ x-in = \"hunter2\" }}\n\
         header_files = {{ authorization = {token:?} }}\n"
    );
    fs::write(&config, receiver).unwrap();
    let load = || {
        let sources = environment(&[]).file(&config);
        let sources = sources.flag("--data-dir", "data_dir", ["/data".to_owned()]);
        Config::load(&sources).map(|(config, _)| config).map_err(|error| error.to_string())
    };
    let headers = |config: &Config| {
        let headers = config.alerts.receivers["hook"].headers.iter();
        headers.map(|(name, value)| format!("{name}: {}", &**value)).collect::<Vec<_>>()
    };
    fs::write(&token, "Bearer s3cret\n").unwrap();
    let mut running = load().unwrap();
    assert_eq!(headers(&running), ["authorization: Bearer s3cret", "x-in: hunter2"]);
    let shown = format!("{running:?} {}", running.to_toml());
    assert!(shown.contains("header_files") && !shown.contains("s3cret"), "{shown}");
    fs::write(&token, "Bearer other\n").unwrap();
    assert_eq!(running.reload(&load().unwrap()).changed, ["alerts"]);
    assert_eq!(headers(&running), ["authorization: Bearer other", "x-in: hunter2"]);
    fs::remove_file(&token).unwrap();
    let error = load().unwrap_err();
    let expected = format!("{}:1: cannot read {}: ", config.display(), token.display());
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn a_file_of_a_password_that_cannot_be_read_stops_the_start() {
    let error = from_environment(&[("LEVERET_AUTH_DEFAULT_PASS_FILE", "/nowhere/password")]);
    let expected =
        "environment variable LEVERET_AUTH_DEFAULT_PASS_FILE: cannot read /nowhere/password: ";
    let error = error.unwrap_err();
    assert!(error.starts_with(expected), "{error}");
}
