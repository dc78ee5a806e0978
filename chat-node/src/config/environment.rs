//! Environment variables `NATTER_*`: values of settings, and warnings about names no setting has.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::ConfigError;
use super::nearest::{hint, nearest};

const PREFIX: &str = "NATTER_";

/// The variables with the prefix that say something; an empty one is the same as none.
pub(super) struct Environment {
    variables: BTreeMap<String, OsString>,
}

impl Environment {
    pub(super) fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let ours = |(name, value): (OsString, OsString)| {
            let name = name.into_string().ok()?;
            (name.starts_with(PREFIX) && !value.is_empty()).then_some((name, value))
        };
        Self {
            variables: variables.into_iter().filter_map(ours).collect(),
        }
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<String>, ConfigError> {
        let text = |value: &OsString| {
            value
                .clone()
                .into_string()
                .map_err(|_| ConfigError::NotText {
                    variable: name.to_owned(),
                })
        };
        self.variables.get(name).map(text).transpose()
    }

    /// One line for each variable that is none of `known`, except what Kubernetes sets for Services.
    pub(super) fn warnings(&self, known: &[String]) -> Vec<String> {
        self.variables
            .keys()
            .filter(|name| !known.contains(name) && !is_service_link(name))
            .map(|name| {
                let nearest = nearest(name, known.iter().map(String::as_str));
                format!("unknown environment variable '{name}'{}", hint(nearest))
            })
            .collect()
    }
}

/// The variable of the flag `long`: `rooms-per-session` -> `NATTER_ROOMS_PER_SESSION`.
pub(super) fn variable(long: &str) -> String {
    format!("{PREFIX}{}", long.to_ascii_uppercase().replace('-', "_"))
}

/// Whether Kubernetes may have set `name` for a Service called `natter…`.
fn is_service_link(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.contains("_PORT_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_variables_are_warned_of_and_service_links_are_not() {
        let names = [
            "NATTER_CONNECTIONS",
            "NATTER_CONECTIONS",
            "NATTER_FAVOURITE_COLOUR",
            "NATTER_SERVICE_HOST",
            "NATTER_SERVICE_PORT",
            "NATTER_SERVICE_PORT_HTTP",
            "NATTER_PORT",
            "NATTER_PORT_8080_TCP_ADDR",
            "NATTER_NATS_PORT_4222_TCP",
            "PATH",
        ];
        let environment = Environment::new(names.map(|name| (name.into(), "1".into())));
        assert_eq!(
            environment.warnings(&["NATTER_CONNECTIONS".to_owned()]),
            [
                "unknown environment variable 'NATTER_CONECTIONS', did you mean 'NATTER_CONNECTIONS'?",
                "unknown environment variable 'NATTER_FAVOURITE_COLOUR'",
            ]
        );
    }
}
