//! The YAML file: nested keys -> (path, values) pairs, and the room classes.
//!
//! Checks the file's shape and its names; what a value may be is the setting's own affair.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use serde_saphyr::UserMessageFormatter;

use super::nearest::nearest;
use super::{FileError, RoomClasses};

const ROOM_CLASSES: &str = "roomClasses";

/// A setting of the file: a list has any number of values, every other setting one.
pub(super) type Values = BTreeMap<String, Vec<String>>;

/// A setting that the file may have.
pub(super) struct Known {
    pub(super) path: String,
    pub(super) is_list: bool,
}

/// Reads the text of a file; an absent or empty value leaves its setting to the other sources.
pub(super) fn read(text: &str, known: &[Known]) -> Result<(Values, RoomClasses), FileError> {
    let mut root = match parse(text)? {
        Value::Null => Map::new(),
        Value::Object(root) => root,
        _ => return Err(FileError::Yaml("expected a mapping of settings".to_owned())),
    };
    let room_classes = root.remove(ROOM_CLASSES).unwrap_or_default();
    let mut values = Values::new();
    flatten("", root, known, &mut values)?;
    Ok((values, RoomClasses::from_value(room_classes)?))
}

fn parse(text: &str) -> Result<Value, FileError> {
    // YAML 1.2: `off` is a log level, not a boolean.
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let text = error
            .without_snippet()
            .render_with_formatter(&UserMessageFormatter);
        FileError::Yaml(text.split_whitespace().collect::<Vec<_>>().join(" "))
    })
}

fn flatten(
    section: &str,
    keys: Map<String, Value>,
    known: &[Known],
    values: &mut Values,
) -> Result<(), FileError> {
    for (key, value) in keys {
        let path = format!("{section}{key}");
        let inside = format!("{path}.");
        if let Some(setting) = known.iter().find(|setting| setting.path == path) {
            if let Some(found) = setting_values(setting, value)? {
                values.insert(path, found);
            }
        } else if known
            .iter()
            .any(|setting| setting.path.starts_with(&inside))
        {
            match value {
                Value::Object(keys) => flatten(&inside, keys, known, values)?,
                Value::Null => {}
                _ => return Err(FileError::value(&path, "expected a mapping of settings")),
            }
        } else {
            let nearest = nearest(&path, names(known)).map(str::to_owned);
            return Err(FileError::UnknownKey { path, nearest });
        }
    }
    Ok(())
}

/// Every name of the file: settings, their sections, room classes.
fn names(known: &[Known]) -> impl Iterator<Item = &str> {
    let paths = known.iter().map(|setting| setting.path.as_str());
    let sections = paths
        .clone()
        .filter_map(|path| Some(path.split_once('.')?.0));
    paths.chain(sections).chain([ROOM_CLASSES])
}

fn setting_values(setting: &Known, value: Value) -> Result<Option<Vec<String>>, FileError> {
    let expected = if setting.is_list {
        "expected a list of texts"
    } else {
        "expected a single value"
    };
    let single = |value| scalar(value).ok_or_else(|| FileError::value(&setting.path, expected));
    match value {
        Value::Null => Ok(None),
        Value::Array(items) if setting.is_list => items
            .into_iter()
            .map(single)
            .collect::<Result<_, _>>()
            .map(Some),
        value => Ok(Some(vec![single(value)?])),
    }
}

fn scalar(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
