//! What the backend answers: who the session is, an error for its connect, or a close. No IO.

use serde::Deserialize;

use crate::auth::claims::ConnectResult;
use crate::auth::{Denied, Identity};
use crate::protocol::{CloseReason, ErrorCode, Refusal};

#[derive(Deserialize)]
struct Answer {
    result: Option<ConnectResult>,
    error: Option<BackendError>,
    disconnect: Option<Disconnect>,
}

#[derive(Deserialize)]
struct BackendError {
    code: u32,
    #[serde(default)]
    message: String,
    #[serde(default)]
    temporary: bool,
}

#[derive(Deserialize)]
struct Disconnect {
    code: u16,
    #[serde(default)]
    reason: String,
}

/// Errors: what is wrong with the answer. Then nobody is let in.
pub fn read(body: &[u8]) -> Result<Result<Identity, Denied>, String> {
    let answer: Answer = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    match answer {
        Answer {
            disconnect: Some(disconnect),
            ..
        } => Ok(Err(Denied::Closed(close(disconnect)?))),
        Answer {
            error: Some(error), ..
        } => Ok(Err(Denied::Refused(refusal(error)?))),
        Answer {
            result: Some(result),
            ..
        } => Identity::try_from(result)
            .map(Ok)
            .map_err(|error| error.to_string()),
        _ => Err("it has no result, error or disconnect".to_owned()),
    }
}

fn refusal(error: BackendError) -> Result<Refusal, String> {
    if !(1..2000).contains(&error.code) {
        return Err(format!("error {} is not between 1 and 1999", error.code));
    }
    let code = ErrorCode::Application {
        code: error.code,
        temporary: error.temporary,
    };
    let message = match error.message.as_str() {
        "" => "refused by the backend".to_owned(),
        _ => error.message,
    };
    Ok(Refusal::new(code, message))
}

fn close(disconnect: Disconnect) -> Result<CloseReason, String> {
    let Disconnect { code, reason } = disconnect;
    match code {
        3000..5000 => Ok(CloseReason::of_backend(code, &reason)),
        _ => Err(format!("disconnect {code} is not between 3000 and 4999")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;

    fn denied(body: &str) -> Denied {
        read(body.as_bytes()).unwrap().unwrap_err()
    }

    #[test]
    fn a_result_is_an_identity() {
        let body = r#"{"result":{"user":"ann","expire_at":1700000000,"info":{"a": 1},"data":[1, 2],"channels":["news"],"meta":{}}}"#;
        let identity = read(body.as_bytes()).unwrap().unwrap();
        assert_eq!(identity.user, UserId::named("ann"));
        assert_eq!(identity.expires_at, Some(1_700_000_000));
        assert_eq!(identity.data.as_deref(), Some(&b"[1,2]"[..]));
        assert_eq!(identity.rooms.len(), 1);
        assert!(!identity.is_refreshable, "the client has no token");
        assert_eq!(
            read(br#"{"result":{}}"#).unwrap().unwrap().user,
            UserId::ANONYMOUS
        );
    }

    #[test]
    fn a_refusal_is_handed_on() {
        let Denied::Refused(refusal) =
            denied(r#"{"error":{"code":1000,"message":"no such room","temporary":true}}"#)
        else {
            panic!("a close");
        };
        assert_eq!(
            (refusal.code.code(), refusal.code.temporary()),
            (1000, true)
        );
        assert_eq!(refusal.detail, "no such room");
        let Denied::Closed(close) =
            denied(r#"{"disconnect":{"code":4501,"reason":"banned"},"result":{"user":"ann"}}"#)
        else {
            panic!("an error");
        };
        assert_eq!((close.code, close.reason.as_ref()), (4501, "banned"));
        // What SDKs would read as advice to come again.
        for reason in ["", "42", r#"{"reconnect":true}"#] {
            let body = serde_json::json!({"disconnect": {"code": 4501, "reason": reason}});
            let Denied::Closed(close) = denied(&body.to_string()) else {
                panic!("an error");
            };
            assert!(
                close.reason.starts_with("closed by the backend"),
                "{close:?}"
            );
        }
    }

    #[test]
    fn what_is_no_clear_answer_lets_nobody_in() {
        for body in [
            "",
            "null",
            "{}",
            "[]",
            "<html>",
            r#"{"result":null}"#,
            r#"{"result":{"user":7}}"#,
            r#"{"result":{"user":"ann","b64info":"?"}}"#,
            r#"{"error":{"code":0}}"#,
            r#"{"error":{"code":5000,"message":"x"}}"#,
            r#"{"disconnect":{"code":1000,"reason":"x"}}"#,
        ] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
    }
}
