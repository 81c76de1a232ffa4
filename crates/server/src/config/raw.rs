//! What the sources say, before anything is checked.

use std::collections::BTreeMap;
use std::fs;
use std::mem::discriminant;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::alarms::ALIASES;
use super::alerts::{self, AlertsConfig};
use super::error::{ConfigError, ConfigWarning};
use super::form::Form;
use super::rabbitmq::{self, Entries, Translated};
use super::settings::{PASSWORDS, Setting, settings};
use super::sources::{FILE_SUFFIX, Origin, RABBITMQ_VARIABLE, Sources, read_secret, variable};
use super::value::Value;

/// Variables of the program that are no settings.
const NO_SETTINGS: [&str; 2] = ["LEVERET_CONFIG", RABBITMQ_VARIABLE];
/// How alike two names must be to suggest one for the other, from 0 to 1.
const ALIKE_MIN: f64 = 0.6;

/// The settings that were given, by key; later sources have replaced earlier ones.
pub(super) struct RawConfig {
    settings: BTreeMap<&'static str, Given>,
    alerts: AlertsConfig,
}

/// A value somebody gave to a setting.
pub(super) struct Given {
    pub(super) setting: &'static Setting,
    form: Form,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

impl RawConfig {
    pub(super) fn read(sources: &Sources) -> Result<(Self, Vec<ConfigWarning>), ConfigError> {
        let mut raw = Self { settings: BTreeMap::new(), alerts: AlertsConfig::default() };
        let mut warnings = Vec::new();
        let mut entries = Entries::default();
        match &sources.file {
            Some(path) if path.extension().is_some_and(|end| end == "conf") => {
                entries.read(path, sources)?;
            }
            Some(path) => raw.read_file(path, &mut warnings)?,
            None => {}
        }
        if sources.is_rabbitmq() {
            for path in rabbitmq::files(sources, &mut warnings)? {
                entries.read(&path, sources)?;
            }
        }
        raw.take_over(entries.translate(&mut warnings)?);
        if sources.is_rabbitmq() {
            raw.take_over(rabbitmq::translate(sources, &mut warnings)?);
        }
        raw.read_environment(sources, &mut warnings)?;
        raw.read_smtp_password(sources)?;
        for flag in &sources.flags {
            let values = flag.values.iter().cloned().map(Value::Text).collect();
            if let Some((setting, form)) = find(flag.key) {
                raw.give(setting, form, Value::List(values).flatten(), Origin::Flag(flag.name));
            }
        }
        Ok((raw, warnings))
    }

    /// All that was given, in order of the keys.
    pub(super) fn into_settings(self) -> impl Iterator<Item = Given> {
        self.settings.into_values()
    }

    /// What is told of, and to whom.
    pub(super) fn alerts(&self) -> &AlertsConfig {
        &self.alerts
    }

    fn take_over(&mut self, values: Vec<Translated>) {
        for Translated { key, form, value, origin } in values {
            if let Some(setting) = settings().find(|setting| setting.key == key) {
                self.give(setting, form, value, origin);
            }
        }
    }

    fn give(&mut self, setting: &'static Setting, form: Form, value: Value, origin: Origin) {
        let is_same_source = |given: &Given| discriminant(&given.origin) == discriminant(&origin);
        let given = self.settings.get(setting.key).filter(|given| is_same_source(given));
        if form == Form::Part && given.is_some_and(|given| given.form == Form::Size) {
            return;
        }
        self.settings.insert(setting.key, Given { setting, form, value: form.read(value), origin });
    }

    fn read_file(
        &mut self,
        path: &Path,
        warnings: &mut Vec<ConfigWarning>,
    ) -> Result<(), ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let origin = |span: Range<usize>| {
            let before = text.as_bytes().iter().take(span.start);
            Origin::File(path.to_owned(), before.filter(|byte| **byte == b'\n').count() + 1)
        };
        let document = DeTable::parse(&text).map_err(|error| ConfigError::Syntax {
            origin: origin(error.span().unwrap_or_default()),
            message: error.message().replace('\n', ", "),
        })?;
        let mut tables = vec![(String::new(), document.into_inner())];
        while let Some((section, table)) = tables.pop() {
            for (name, value) in table {
                let key = format!("{section}{}", name.get_ref());
                let origin_of = &origin;
                let origin = origin(name.span());
                if key == alerts::SECTION {
                    self.alerts = read_alerts(value, origin, origin_of)?;
                    continue;
                }
                match (find(&key), Value::from_toml(value)) {
                    (Some((setting, form)), Ok(value)) => self.give(setting, form, value, origin),
                    (_, Err(table)) => tables.push((format!("{key}."), table)),
                    (None, Ok(_)) if is_section(&key) => {
                        return Err(ConfigError::Section { origin, key });
                    }
                    (None, Ok(_)) => {
                        let nearest = nearest(&key).map(|setting| setting.key.to_owned());
                        warnings.push(ConfigWarning::UnknownKey { origin, key, nearest });
                    }
                }
            }
        }
        Ok(())
    }

    fn read_environment(
        &mut self,
        sources: &Sources,
        warnings: &mut Vec<ConfigWarning>,
    ) -> Result<(), ConfigError> {
        // A value stands above the file it might be in.
        for (name, path) in sources.settings_in_environment() {
            if let Some(setting) = find_secret(name) {
                let origin = Origin::Environment(name.clone());
                let value = Value::Text(read_secret(Path::new(path), &origin)?);
                self.give(setting, Form::AsItIs, value, origin);
            }
        }
        for (name, value) in sources.settings_in_environment() {
            let origin = Origin::Environment(name.clone());
            if find_secret(name).is_some() {
                continue;
            }
            if let Some((setting, form)) = find_variable(name) {
                let Some(text) = value.to_str() else {
                    return Err(ConfigError::NotText { origin });
                };
                self.give(setting, form, Value::Text(text.to_owned()), origin);
            } else if !NO_SETTINGS.contains(&name.as_str()) && !is_of_smtp(name) {
                let nearest = nearest_variable(name);
                warnings.push(ConfigWarning::UnknownVariable { origin, nearest });
            }
        }
        Ok(())
    }

    /// Also here a value stands above the file it might be in, and both above the section.
    fn read_smtp_password(&mut self, sources: &Sources) -> Result<(), ConfigError> {
        // In alphabetical order: the value comes first.
        let mut given = sources.settings_in_environment().filter(|(name, _)| is_of_smtp(name));
        let Some((name, value)) = given.next() else { return Ok(()) };
        let origin = Origin::Environment(name.clone());
        let Some(smtp) = &mut self.alerts.smtp else {
            let why = "there is no mail server, [alerts.smtp], for this password".to_owned();
            return Err(ConfigError::Alerts { origin, why });
        };
        let password = match (name.ends_with(FILE_SUFFIX), value.to_str()) {
            (true, _) => read_secret(Path::new(value), &origin)?,
            (false, Some(text)) => text.to_owned(),
            (false, None) => return Err(ConfigError::NotText { origin }),
        };
        smtp.password = Some(password.into());
        Ok(())
    }
}

/// Whether a variable says what the mail server's password is, or where.
fn is_of_smtp(name: &str) -> bool {
    name.strip_suffix(FILE_SUFFIX).unwrap_or(name) == variable(alerts::SMTP_PASSWORD)
}

fn read_alerts(
    value: Spanned<DeValue<'_>>,
    section: Origin,
    origin: impl Fn(Range<usize>) -> Origin,
) -> Result<AlertsConfig, ConfigError> {
    let read = AlertsConfig::deserialize(ValueDeserializer::from(value));
    let mut config = read.map_err(|error| ConfigError::Alerts {
        origin: error.span().map_or_else(|| section.clone(), origin),
        why: error.message().replace('\n', ", "),
    })?;
    if let Some(why) = config.fault() {
        return Err(ConfigError::Alerts { origin: section, why });
    }
    config.read_header_files(&section)?;
    Ok(config)
}

/// The setting of a name, and what its value is under it.
fn find(name: &str) -> Option<(&'static Setting, Form)> {
    let alias = ALIASES.iter().find(|alias| alias.name == name);
    let (key, form) = alias.map_or((name, Form::AsItIs), |alias| (alias.key, alias.form));
    settings().find(|setting| setting.key == key).map(|setting| (setting, form))
}

fn find_variable(name: &str) -> Option<(&'static Setting, Form)> {
    let alias = ALIASES.iter().find(|alias| variable(alias.name) == name);
    if let Some(alias) = alias {
        return find(alias.name);
    }
    let setting = settings().find(|setting| setting.has_variable(name))?;
    Some((setting, Form::AsItIs))
}

/// The password that is in the file such a variable names.
fn find_secret(name: &str) -> Option<&'static Setting> {
    let name = name.strip_suffix(FILE_SUFFIX)?;
    settings().find(|setting| PASSWORDS.contains(&setting.key) && setting.has_variable(name))
}

fn is_section(key: &str) -> bool {
    settings().any(|setting| setting.key.rsplit_once('.').is_some_and(|(own, _)| own == key))
}

/// The setting most like the unknown key: in the whole, or by its last word, for one that is in
/// the wrong section.
fn nearest(key: &str) -> Option<&'static Setting> {
    most_alike(|setting| {
        let whole = strsim::normalized_damerau_levenshtein(key, setting.key);
        let words = strsim::normalized_damerau_levenshtein(last_word(key), last_word(setting.key));
        whole.max(words * 0.9)
    })
}

fn nearest_variable(name: &str) -> Option<String> {
    most_alike(|setting| strsim::normalized_damerau_levenshtein(name, &variable(setting.key)))
        .map(|setting| variable(setting.key))
}

fn most_alike(alike: impl Fn(&Setting) -> f64) -> Option<&'static Setting> {
    settings()
        .map(|setting| (alike(setting), setting))
        .filter(|(score, _)| *score >= ALIKE_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, setting)| setting)
}

fn last_word(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}
