//! What somebody without an account says of himself: a name, and nothing else.
//!
//! Whoever has an account is who the token says. An empty `user` tells readers that nobody vouches for the name.

use bytes::Bytes;
use serde_json::value::RawValue;

const MAX_NAME_CHARS: usize = 64;

/// The connection's info for an anonymous session that connects with `data`: `{"name":…}`, if that is there.
pub fn info(data: Option<&RawValue>) -> Option<Bytes> {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Claim {
        name: String,
    }
    let mut claim: Claim = serde_json::from_str(data?.get()).ok()?;
    claim.name = claim.name.trim().chars().take(MAX_NAME_CHARS).collect();
    if claim.name.is_empty() {
        return None;
    }
    serde_json::to_vec(&claim).ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimed(data: &str) -> Option<String> {
        let data = serde_json::from_str::<&RawValue>(data).unwrap();
        let info = info(Some(data))?;
        Some(String::from_utf8(info.to_vec()).unwrap())
    }

    #[test]
    fn a_name_is_all_that_is_taken() {
        let expected = Some(r#"{"name":"Ann \"A\" Ü"}"#.to_owned());
        let data = r#"{"admin":true,"name":" Ann \"A\" \u00dc\n","user":"bob"}"#;
        assert_eq!(claimed(data), expected);
        assert_eq!(
            claimed(&format!(r#"{{"name":"{}"}}"#, "ü".repeat(1000)))
                .unwrap()
                .len(),
            11 + 128
        );
        for nothing in [
            "null",
            "[]",
            "5",
            "{}",
            r#"{"name":""}"#,
            r#"{"name":" "}"#,
            r#"{"name":7}"#,
            r#"{"name":"\ud800"}"#,
        ] {
            assert_eq!(claimed(nothing), None, "{nothing}");
        }
        assert_eq!(info(None), None);
    }
}
