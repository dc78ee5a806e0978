//! Rules that bind settings together.

use super::{Config, ConfigError};

/// What a command may have besides its message.
pub const COMMAND_OVERHEAD_BYTES: usize = 16 * 1024;

pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let (limits, history) = (&config.limits, &config.history);
    let least_frame_bytes = limits.message_bytes + COMMAND_OVERHEAD_BYTES;
    let rule = |holds: bool, text: &dyn Fn() -> String| match holds {
        true => Ok(()),
        false => Err(ConfigError::Rule(text())),
    };

    rule(config.allows_anonymous(), &|| nobody_could_connect(config))?;
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
    })
}

fn nobody_could_connect(config: &Config) -> String {
    match config.access.allow_anonymous {
        Some(_) => "nobody could connect: auth.allowAnonymous (--allow-anonymous) is false, \
                    and there is no other way in yet"
            .to_owned(),
        None => format!(
            "anonymous access on {} needs --allow-anonymous, NATTER_ALLOW_ANONYMOUS=true \
             or auth.allowAnonymous: true",
            config.listening.listen
        ),
    }
}
