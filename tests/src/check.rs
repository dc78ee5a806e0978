//! Promises that hold for everything a node says, so that every test checks them in passing.

use serde_json::Value;

/// Some SDKs refuse longer frames.
pub const MAX_FRAME_BYTES: usize = 1024 * 1024;

/// A close frame's code and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    pub code: u16,
    pub reason: String,
}

impl Close {
    /// Checks what SDKs need of every close: they take an empty reason for "reconnect" and JSON for advice.
    pub fn checked(code: u16, reason: &str) -> Self {
        assert!(!reason.is_empty(), "close {code} has no reason");
        assert!(
            reason.len() <= 123,
            "close {code} has too long a reason: {reason}"
        );
        assert!(
            serde_json::from_str::<Value>(reason).is_err(),
            "close {code} has a reason that is JSON: {reason}"
        );
        Self {
            code,
            reason: reason.to_owned(),
        }
    }
}

/// The objects of one text frame: one a line.
pub fn objects(text: &str) -> Vec<Value> {
    assert!(
        text.len() <= MAX_FRAME_BYTES,
        "a frame of {} bytes",
        text.len()
    );
    let object = |line: &str| -> Value {
        let value = serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("no JSON in a line of a frame: {error}: {line:.200}"));
        check_error(&value);
        value
    };
    text.split('\n').map(object).collect()
}

/// Every error has a code of the protocol, a message, and `temporary` exactly where SDKs shall try again.
fn check_error(object: &Value) {
    let Some(error) = object.get("error") else {
        return;
    };
    let code = error["code"].as_u64();
    assert!(
        code.is_some_and(|code| (100..=113).contains(&code) || (400..2000).contains(&code)),
        "{error}"
    );
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{error}"
    );
    // The backend's own codes are as temporary as it says.
    let of_backend = code.is_some_and(|code| code >= 400) && error["temporary"] == true;
    let temporary = of_backend || matches!(code, Some(100 | 109 | 111));
    assert_eq!(
        error.get("temporary"),
        temporary.then_some(&Value::Bool(true)),
        "{error}"
    );
    assert!(
        object["id"].as_u64().is_some_and(|id| id > 0),
        "an error without its command's id"
    );
}
