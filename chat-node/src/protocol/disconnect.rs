//! Why the node closes a session: the table of close codes.
//!
//! 3000-3499: SDKs reconnect. 3500-3999: terminal. A reason is never empty and never valid JSON, because SDKs
//! read an empty reason as "reconnect" and JSON as advice.

use std::borrow::Cow;

/// What a close frame has room for.
const MAX_REASON_BYTES: usize = 123;

/// What a client is told when its session ends: a close frame's code and reason, or those of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseReason {
    pub code: u16,
    pub reason: Cow<'static, str>,
}

impl CloseReason {
    const fn of(code: u16, reason: &'static str) -> Self {
        Self {
            code,
            reason: Cow::Borrowed(reason),
        }
    }

    /// The client's own close frame, answered in kind.
    pub const NORMAL: Self = Self::of(1000, "closed by the client");
    pub const CONNECTION_CLOSED: Self = Self::of(3000, "connection closed");
    pub const SHUTDOWN: Self = Self::of(3001, "shutdown");
    pub const EXPIRED: Self = Self::of(3005, "connection expired");
    pub const SUBSCRIPTION_EXPIRED: Self = Self::of(3006, "subscription expired");
    pub const SLOW: Self = Self::of(3008, "slow");
    pub const INSUFFICIENT_STATE: Self = Self::of(3010, "insufficient state");
    pub const NO_PONG: Self = Self::of(3012, "no pong");
    /// What a backend's disconnect means unless it says otherwise: terminal.
    pub const FORCED: Self = Self::of(3503, "force disconnect");
    pub const STALE: Self = Self::of(3502, "stale: no connect command in time");
    pub const CONNECTION_LIMIT: Self =
        Self::of(3504, "connection limit: this user has too many sessions");

    /// The client broke the protocol and would do so again: terminal.
    pub fn bad_request(detail: impl AsRef<str>) -> Self {
        Self::with_detail(3501, "bad request", detail.as_ref())
    }

    /// The client is not who it says it is, and would say so again: terminal.
    pub fn invalid_token(detail: impl AsRef<str>) -> Self {
        Self::with_detail(3500, "invalid token", detail.as_ref())
    }

    /// What the backend wants the client to be told.
    pub fn of_backend(code: u16, reason: &str) -> Self {
        let is_advice = serde_json::from_str::<serde::de::IgnoredAny>(reason).is_ok();
        match reason.is_empty() || is_advice {
            true => Self::with_detail(code, "closed by the backend", reason),
            false => Self::cut(code, reason.to_owned()),
        }
    }

    /// A frame that breaks RFC 6455 or a limit on frames.
    pub fn violation(code: u16, detail: impl AsRef<str>) -> Self {
        Self::with_detail(code, "protocol error", detail.as_ref())
    }

    /// What a backend wants a client to be told. SDKs decide by the code whether to come back, and an empty reason or
    /// one that is JSON would have them decide otherwise.
    ///
    /// Errors: what was expected.
    pub fn given(code: u32, reason: String) -> Result<Self, String> {
        let code = u16::try_from(code).ok();
        let Some(code) = code.filter(|code| (3000..=4999).contains(code)) else {
            return Err("expected a code from 3000 to 4999".to_owned());
        };
        let is_fit = (1..=MAX_REASON_BYTES).contains(&reason.len())
            && serde_json::from_str::<serde::de::IgnoredAny>(&reason).is_err();
        match is_fit {
            true => Ok(Self {
                code,
                reason: reason.into(),
            }),
            false => Err(format!(
                "expected a reason of 1 to {MAX_REASON_BYTES} bytes that is not JSON"
            )),
        }
    }

    pub(super) fn with_detail(code: u16, text: &str, detail: &str) -> Self {
        match detail {
            "" => Self::cut(code, text.to_owned()),
            _ => Self::cut(code, format!("{text}: {detail}")),
        }
    }

    fn cut(code: u16, mut reason: String) -> Self {
        reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
        Self {
            code,
            reason: reason.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_reason_is_empty_or_json() {
        for reason in [
            CloseReason::NORMAL,
            CloseReason::CONNECTION_CLOSED,
            CloseReason::SHUTDOWN,
            CloseReason::SLOW,
            CloseReason::NO_PONG,
            CloseReason::EXPIRED,
            CloseReason::SUBSCRIPTION_EXPIRED,
            CloseReason::CONNECTION_LIMIT,
            CloseReason::invalid_token("ü".repeat(200)),
            CloseReason::STALE,
            CloseReason::FORCED,
            CloseReason::bad_request("42"),
            CloseReason::violation(1002, "{}"),
        ] {
            let text = reason.reason.as_ref();
            assert!(!text.is_empty() && text.len() <= 123, "{text}");
            assert!(
                serde_json::from_str::<serde_json::Value>(text).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn what_a_backend_gives_is_what_sdks_understand() {
        let given = |code, reason: &str| CloseReason::given(code, reason.to_owned());
        let reason = given(4001, "see you");
        assert_eq!(reason, Ok(CloseReason::of(4001, "see you")));
        for (code, reason) in [
            (0, "x"),
            (2999, "x"),
            (5000, "x"),
            (70_001, "x"),
            (3000, ""),
            (3000, "42"),
            (3000, "{\"reconnect\":true}"),
            (3000, &"x".repeat(124)),
        ] {
            assert!(given(code, reason).is_err(), "{code} {reason}");
        }
    }
}
