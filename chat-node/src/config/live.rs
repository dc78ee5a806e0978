//! What may change while the node runs, and what of a changed configuration has to wait for its next start.

use super::{Config, ConfigError, Limits, Origins, RoomClasses, check};

/// The settings that are read anew without a restart. All of them change at once.
#[derive(Debug, Clone)]
pub struct Live {
    pub limits: Limits,
    pub allowed_origins: Origins,
    pub room_classes: RoomClasses,
}

/// A changed configuration, as far as a running node takes it.
#[derive(Debug)]
pub struct Renewal {
    pub config: Config,
    /// Names of settings that are different now.
    pub changed: Vec<String>,
    /// Names and values of settings that a restart would change.
    pub waiting: Vec<(String, String)>,
}

const ROOM_CLASSES: &str = "roomClasses";

/// Limits that parts of the node, clients or streams have been told at the start.
const FIXED_LIMITS: [&str; 5] = [
    "limits.messageBytes",
    "limits.handshakeTimeout",
    "limits.pingInterval",
    "limits.pongTimeout",
    "limits.headerBytes",
];

/// Whether the setting of that name is read anew.
fn is_live(name: &str) -> bool {
    let is_limit = name.starts_with("limits.") && !FIXED_LIMITS.contains(&name);
    is_limit || name == "auth.allowedOrigins"
}

impl Config {
    /// The settings that may change while the node runs.
    pub fn live(&self) -> Live {
        Live {
            limits: self.limits.clone(),
            allowed_origins: self.access.allowed_origins.clone(),
            room_classes: self.room_classes.clone(),
        }
    }

    /// Takes over from `new` what may change while the node runs.
    ///
    /// Errors: the new values do not go together with those that have to stay.
    pub fn renewed(&self, new: Config) -> Result<Renewal, ConfigError> {
        let (mut changed, mut waiting) = (Vec::new(), Vec::new());
        for (name, value) in &new.given {
            if self.given.get(name) == Some(value) {
                continue;
            }
            if is_live(name) {
                changed.push(name.clone());
            } else {
                let texts = value.iter().map(|text| text.to_string_lossy());
                let value = texts.collect::<Vec<_>>().join(",");
                waiting.push((name.clone(), value));
            }
        }
        if self.room_classes != new.room_classes {
            changed.push(ROOM_CLASSES.to_owned());
        }
        let fixed = &self.limits;
        let mut config = Config {
            limits: Limits {
                message_bytes: fixed.message_bytes,
                handshake_timeout: fixed.handshake_timeout,
                ping_interval: fixed.ping_interval,
                pong_timeout: fixed.pong_timeout,
                header_bytes: fixed.header_bytes,
                ..new.limits
            },
            room_classes: new.room_classes,
            ..self.clone()
        };
        config.access.allowed_origins = new.access.allowed_origins;
        for name in &changed {
            if let Some(value) = new.given.get(name) {
                config.given.insert(name.clone(), value.clone());
            }
        }
        check::check(&config)?;
        Ok(Renewal {
            config,
            changed,
            waiting,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::load::settings;
    use super::super::{Invocation, Source};
    use super::*;

    fn start(yaml: &str, flags: &[&str]) -> (Config, Source) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), yaml).unwrap();
        let path = file.path().to_str().unwrap();
        let args = ["chat-node", "--config", path]
            .into_iter()
            .chain(flags.iter().copied());
        let invocation = Config::load_from(args.map(OsString::from), []);
        let Ok(Invocation::Serve(config)) = invocation else {
            panic!("{invocation:?}");
        };
        let source = config.source.clone().unwrap();
        (*config, source)
    }

    #[test]
    fn limits_origins_and_classes_change_and_the_rest_waits_for_a_restart() {
        let (config, source) = start("limits: {connections: 5}", &[]);
        let new = source
            .load(
                "{workers: 7, limits: {connections: 6, roomsPerSession: 3, pingInterval: 30s},
                  auth: {allowedOrigins: ['https://a.example', 'https://b.example']},
                  roomClasses: [{prefix: news}]}",
            )
            .unwrap();
        let renewal = config.renewed(new).unwrap();
        assert_eq!(
            renewal.changed,
            [
                "auth.allowedOrigins",
                "limits.connections",
                "limits.roomsPerSession",
                "roomClasses"
            ]
        );
        let waiting = [("limits.pingInterval", "30s"), ("workers", "7")];
        assert_eq!(
            renewal.waiting,
            waiting.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        let renewed = renewal.config;
        let live = renewed.live();
        assert_eq!(
            (live.limits.connections, live.limits.rooms_per_session),
            (6, 3)
        );
        assert!(live.allowed_origins.allows("https://b.example", None));
        assert!(live.room_classes.of("news:today").is_some());
        assert_eq!(live.limits.ping_interval, config.limits.ping_interval);
        assert_eq!(renewed.listening.workers, config.listening.workers);
        // What has been taken over is no news any more; what waits still does.
        let same = "{workers: 7, limits: {connections: 6, roomsPerSession: 3},
                     auth: {allowedOrigins: ['https://a.example', 'https://b.example']},
                     roomClasses: [{prefix: news}]}";
        let again = renewed.renewed(source.load(same).unwrap()).unwrap();
        assert!(again.changed.is_empty(), "{:?}", again.changed);
        assert_eq!(again.waiting.len(), 1, "{:?}", again.waiting);
    }

    #[test]
    fn flags_win_over_a_changed_file_as_over_the_first() {
        let (config, source) = start("", &["--connections", "5"]);
        let renewal = config.renewed(source.load("limits: {connections: 6}").unwrap());
        let renewal = renewal.unwrap();
        assert!(renewal.changed.is_empty() && renewal.waiting.is_empty());
        assert_eq!(renewal.config.limits.connections, 5);
    }

    #[test]
    fn what_contradicts_a_setting_that_has_to_stay_is_refused() {
        let (config, source) = start("", &[]);
        let new = source.load("limits: {messageBytes: 1000, frameBytes: 20000}");
        let error = config.renewed(new.unwrap()).unwrap_err().to_string();
        assert!(error.contains("limits.frameBytes"), "{error}");
    }

    #[test]
    fn what_is_not_read_anew_is_named_as_the_table_names_it() {
        let settings = settings();
        for name in FIXED_LIMITS {
            assert!(settings.iter().any(|setting| setting.get_id() == name));
        }
        assert!(
            settings
                .iter()
                .any(|setting| is_live(setting.get_id().as_str()))
        );
        assert!(!is_live("listen"));
    }
}
