//! Patterns of room names: `*` stands for any characters, `?` for one of ASCII, `[a-z]` for one of some, `{a,b}` for one of several texts.

use globset::{GlobBuilder, GlobMatcher};

/// A pattern's cost grows with its length.
const MAX_BYTES: usize = 1024;

/// Reads a pattern; an empty one is none.
pub fn compile(pattern: &str) -> Result<Option<GlobMatcher>, String> {
    if pattern.is_empty() {
        return Ok(None);
    }
    if pattern.len() > MAX_BYTES {
        let bytes = pattern.len();
        return Err(format!(
            "it has {bytes} bytes, at most {MAX_BYTES} are allowed"
        ));
    }
    let glob = GlobBuilder::new(pattern).literal_separator(false).build();
    let glob = glob.map_err(|error| error.kind().to_string())?;
    Ok(Some(glob.compile_matcher()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_know_no_separators() {
        for (pattern, yes, no) in [
            ("chat:*", "chat:a/b:c", "chats:a"),
            ("*", "a/b", ""),
            ("news.?", "news.a", "news.ab"),
            ("{a,b}:[0-9]", "b:7", "c:7"),
        ] {
            let pattern = compile(pattern).unwrap().unwrap();
            assert!(pattern.is_match(yes), "{yes}");
            assert!(no.is_empty() || !pattern.is_match(no), "{no}");
        }
        assert!(compile("").unwrap().is_none());
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["[a", "{a", &"a".repeat(1025)] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
    }
}
