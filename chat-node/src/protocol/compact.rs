//! Makes a client's JSON safe to hand to every reader: one line, and nothing that some reader's parser chokes on.
//!
//! A raw newline would break the line protocol; deep nesting and endless numbers make common parsers throw;
//! half of a surrogate pair is no Unicode text at all. What is refused or mended here reaches nobody.

use bytes::Bytes;

/// Nesting deeper than this is refused: Python's parser gives up near 1,000.
const MAX_DEPTH: usize = 128;
/// A number with more digits than this is refused: Python's parser gives up at 4,300.
const MAX_NUMBER_BYTES: usize = 1_000;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unfit {
    #[error("data is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("data has a number of more than {MAX_NUMBER_BYTES} characters")]
    NumberTooLong,
}

/// Removes whitespace between tokens and writes escaped characters beyond ASCII as UTF-8, which is shorter; a lone
/// surrogate becomes U+FFFD.
///
/// `json` must be one valid JSON value, as `RawValue` guarantees.
pub fn compact(json: &str) -> Result<Bytes, Unfit> {
    let bytes = json.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut depth = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            b'"' => at = copy_string(bytes, at, &mut out),
            b'-' | b'0'..=b'9' => {
                let length = bytes[at..]
                    .iter()
                    .take_while(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
                    .count();
                if length > MAX_NUMBER_BYTES {
                    return Err(Unfit::NumberTooLong);
                }
                out.extend_from_slice(&bytes[at..at + length]);
                at += length;
            }
            _ => {
                match byte {
                    b'[' | b'{' => depth += 1,
                    b']' | b'}' => depth -= 1,
                    _ => {}
                }
                if depth > MAX_DEPTH {
                    return Err(Unfit::TooDeep);
                }
                out.push(byte);
                at += 1;
            }
        }
    }
    // Exactly sized: history counts and keeps what is handed out here.
    Ok(out.into_boxed_slice().into())
}

/// Copies the string that starts at `from` and returns the index after its closing quote.
fn copy_string(bytes: &[u8], from: usize, out: &mut Vec<u8>) -> usize {
    let mut at = from + 1;
    let mut copied = from;
    loop {
        match bytes[at] {
            b'"' => {
                at += 1;
                break;
            }
            b'\\' => match escaped(bytes, at) {
                Some((text, length)) => {
                    out.extend_from_slice(&bytes[copied..at]);
                    out.extend_from_slice(text.encode_utf8(&mut [0; 4]).as_bytes());
                    at += length;
                    copied = at;
                }
                None => at += 2,
            },
            _ => at += 1,
        }
    }
    out.extend_from_slice(&bytes[copied..at]);
    at
}

/// The character beyond ASCII that is escaped at `at`, and the escape's length; half a pair is U+FFFD.
fn escaped(bytes: &[u8], at: usize) -> Option<(char, usize)> {
    match unit(bytes, at)? {
        0..0x80 => None,
        high @ 0xD800..=0xDBFF => match unit(bytes, at + 6) {
            Some(low @ 0xDC00..=0xDFFF) => {
                let code = 0x10000 + (u32::from(high - 0xD800) << 10) + u32::from(low - 0xDC00);
                char::from_u32(code).map(|text| (text, 12))
            }
            _ => Some((char::REPLACEMENT_CHARACTER, 6)),
        },
        unit => {
            let text = char::from_u32(unit.into()).unwrap_or(char::REPLACEMENT_CHARACTER);
            Some((text, 6))
        }
    }
}

/// The UTF-16 unit of the `\uXXXX` escape at `at`, if one stands there.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compacted(json: &str) -> String {
        String::from_utf8(compact(json).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn whitespace_goes_outside_of_strings_only() {
        assert_eq!(
            compacted("{ \"a b\" :\n[ 1 ,\t-2.5e+3, \"\\\" \\\\\" ]\r\n}"),
            "{\"a b\":[1,-2.5e+3,\"\\\" \\\\\"]}"
        );
        assert_eq!(compacted(" null "), "null");
    }

    #[test]
    fn escapes_beyond_ascii_become_text_and_half_a_pair_u_fffd() {
        assert_eq!(compacted(r#""\u00fc\u20ac\uD83D\ude00""#), "\"ü€😀\"");
        assert_eq!(
            compacted(r#""\u0000\u0022\u005c\u007f\n""#),
            r#""\u0000\u0022\u005c\u007f\n""#
        );
        assert_eq!(compacted(r#""a\ud83d""#), "\"a\u{fffd}\"");
        assert_eq!(compacted(r#""\ude00b""#), "\"\u{fffd}b\"");
        assert_eq!(compacted(r#""\ud83d\ud83d\ude00""#), "\"\u{fffd}😀\"");
        assert_eq!(compacted(r#""\\ud83d""#), r#""\\ud83d""#);
    }

    #[test]
    fn what_breaks_readers_is_refused() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(compact(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(compact(&nested(MAX_DEPTH + 1)), Err(Unfit::TooDeep));
        assert!(compact(&"1".repeat(MAX_NUMBER_BYTES)).is_ok());
        assert_eq!(
            compact(&"1".repeat(MAX_NUMBER_BYTES + 1)),
            Err(Unfit::NumberTooLong)
        );
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_value_stays_the_same_on_one_line(value in any_json()) {
            let compact = compacted(&serde_json::to_string_pretty(&value).unwrap());
            prop_assert!(!compact.contains('\n'));
            prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&compact).unwrap(), &value);
            prop_assert_eq!(compact, serde_json::to_string(&value).unwrap());
        }
    }
}
