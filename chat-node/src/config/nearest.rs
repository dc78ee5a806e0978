//! The name that was probably meant.

/// Below this similarity (0 to 1) a name is another word rather than a slip.
const MIN_SIMILARITY: f64 = 0.85;

/// The candidate most like `name`, if one is like it at all.
///
/// Dotted names are also compared by their last part: the right key in the wrong section.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (similarity(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= MIN_SIMILARITY)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}

fn similarity(name: &str, candidate: &str) -> f64 {
    let whole = strsim::jaro_winkler(name, candidate);
    // A little less than a match of the whole, so that the own section wins.
    whole.max(0.99 * strsim::jaro_winkler(last_part(name), last_part(candidate)))
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// `, did you mean 'x'?`, or nothing.
pub(super) fn hint(nearest: Option<&str>) -> String {
    nearest
        .map(|name| format!(", did you mean '{name}'?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_the_name_and_other_words_find_none() {
        let names = [
            "listen",
            "limits",
            "limits.connections",
            "limits.roomsPerSession",
            "history.maxAge",
        ];
        for (slip, expected) in [
            ("limits.roomPerSession", Some("limits.roomsPerSession")),
            ("limits.rooms-per-session", Some("limits.roomsPerSession")),
            ("connections", Some("limits.connections")),
            ("limits.maxAge", Some("history.maxAge")),
            ("limit", Some("limits")),
            ("nats", None),
        ] {
            assert_eq!(nearest(slip, names), expected, "{slip}");
        }
    }
}
