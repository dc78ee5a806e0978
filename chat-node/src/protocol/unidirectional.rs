//! Clients that only listen: they send one connect request and no command.

use serde_json::value::RawValue;

use super::{CloseReason, ErrorCode, Refusal};

/// The connect command for a client's bare connect request; `None` if that is no JSON object.
pub fn command(request: &[u8]) -> Option<Vec<u8>> {
    let request: &RawValue = serde_json::from_slice(request).ok()?;
    request.get().starts_with('{').then(|| {
        [
            br#"{"id":1,"connect":"#.as_slice(),
            request.get().as_bytes(),
            b"}",
        ]
        .concat()
    })
}

/// How the session ends of a client whose connect request was refused: it waits for no reply.
pub fn refused(refusal: &Refusal) -> CloseReason {
    let detail = refusal.message();
    match refusal.code {
        ErrorCode::Unauthorized => CloseReason::invalid_token(detail),
        ErrorCode::TokenExpired => CloseReason::with_detail(3005, "connection expired", &detail),
        code if code.temporary() => CloseReason::with_detail(3000, "connection closed", &detail),
        ErrorCode::PermissionDenied => CloseReason::with_detail(3503, "force disconnect", &detail),
        _ => CloseReason::bad_request(detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_request_becomes_one_command_and_nothing_else_does() {
        let text = |request: &str| {
            command(request.as_bytes()).map(|command| String::from_utf8(command).unwrap())
        };
        assert_eq!(
            text(r#" {"token":"t"} "#).unwrap(),
            r#"{"id":1,"connect":{"token":"t"}}"#
        );
        for bad in [
            "",
            "[]",
            "1",
            "{",
            "{}}{",
            r#"{},"publish":{}"#,
            "{}\n{}",
            "null",
        ] {
            assert_eq!(text(bad), None, "{bad}");
        }
    }

    #[test]
    fn whether_a_refused_client_comes_back_is_as_for_others() {
        let code = |code| refused(&Refusal::new(code, "why")).code;
        assert_eq!(code(ErrorCode::TooManyRequests), 3000);
        assert_eq!(code(ErrorCode::TokenExpired), 3005);
        assert_eq!(code(ErrorCode::Unauthorized), 3500);
        assert_eq!(code(ErrorCode::PermissionDenied), 3503);
        assert_eq!(code(ErrorCode::LimitExceeded), 3501);
    }
}
