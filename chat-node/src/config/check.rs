//! Rules that bind settings together.

use super::{BrokerKind, Config, ConfigError, Nats};

/// What a command may have besides its message.
pub const COMMAND_OVERHEAD_BYTES: usize = 16 * 1024;

pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let (limits, history, nats) = (&config.limits, &config.history, &config.nats);
    let least_frame_bytes = limits.message_bytes + COMMAND_OVERHEAD_BYTES;
    let rule = |holds: bool, text: &dyn Fn() -> String| match holds {
        true => Ok(()),
        false => Err(ConfigError::Rule(text())),
    };

    let auth = &config.access.auth;
    if let Some(text) = auth.contradiction() {
        return Err(ConfigError::Rule(text.to_owned()));
    }
    let someone_gets_in = config.allows_anonymous() || auth.can_tell_users();
    rule(someone_gets_in, &|| nobody_could_connect(config))?;
    let has_keys = config.access.api_key_file.is_some();
    rule(has_keys || config.listening.api_listen.is_none(), &|| {
        "apiListen (--api-listen) needs auth.apiKeyFile (--api-key-file): \
         nobody could call the server API without a key"
            .to_owned()
    })?;
    rule(limits.frame_bytes >= least_frame_bytes, &|| {
        format!(
            "limits.frameBytes (--frame-bytes) must be at least {least_frame_bytes}, \
             limits.messageBytes + {COMMAND_OVERHEAD_BYTES}, but is {}",
            limits.frame_bytes
        )
    })?;
    rule(limits.pong_timeout < limits.ping_interval, &|| {
        format!(
            "limits.pongTimeout (--pong-timeout) must be below limits.pingInterval, {}, but is {}",
            humantime::format_duration(limits.ping_interval),
            humantime::format_duration(limits.pong_timeout)
        )
    })?;
    rule(history.max_total_bytes >= history.max_bytes, &|| {
        format!(
            "history.maxTotalBytes (--history-max-total-bytes) must be at least {}, \
             history.maxBytes, but is {}",
            history.max_bytes, history.max_total_bytes
        )
    })?;
    rule(nats.shard_log_bytes >= limits.message_bytes, &|| {
        format!(
            "nats.shardLogBytes (--nats-shard-log-bytes) must be at least {}, \
             limits.messageBytes, but is {}",
            limits.message_bytes, nats.shard_log_bytes
        )
    })?;
    match contradiction(nats) {
        Some(text) => Err(ConfigError::Rule(text.to_owned())),
        None => Ok(()),
    }
}

/// The first contradiction between the broker and how it is reached.
fn contradiction(nats: &Nats) -> Option<&'static str> {
    let servers = &nats.servers;
    match (nats.broker(), servers.urls.is_empty()) {
        (BrokerKind::Nats, true) => {
            Some("broker (--broker) is nats, but nats.url (--nats-url) names no server")
        }
        (BrokerKind::Memory, false) => {
            Some("broker (--broker) is memory, but nats.url (--nats-url) names a server")
        }
        (BrokerKind::Memory, true) if servers.credentials.is_some() => Some(
            "nats.credentials (--nats-credentials) is given, but nats.url (--nats-url) names no server",
        ),
        (BrokerKind::Memory, true) if nats.moderator_credentials.is_some() => Some(
            "nats.moderatorCredentials (--nats-moderator-credentials) is given, but nats.url (--nats-url) names no server",
        ),
        (BrokerKind::Memory, true) if servers.ca.is_some() => {
            Some("nats.ca (--nats-ca) is given, but nats.url (--nats-url) names no server")
        }
        _ => None,
    }
}

fn nobody_could_connect(config: &Config) -> String {
    match config.access.allow_anonymous {
        Some(_) => {
            "nobody could connect: auth.allowAnonymous (--allow-anonymous) is false, and neither \
                    auth.jwt.keyFile (--jwt-key-file) nor auth.jwt.jwksURL (--jwt-jwks-url) nor \
                    auth.connectWebhook.url (--connect-webhook-url) is given"
                .to_owned()
        }
        None => format!(
            "anonymous access on {} needs --allow-anonymous, NATTER_ALLOW_ANONYMOUS=true \
             or auth.allowAnonymous: true; or give keys for tokens (--jwt-key-file, --jwt-jwks-url)",
            config.listening.listen
        ),
    }
}
