//! Durations as people write them: `5s`, `1h30m`, `720h`, `0`.

use std::ops::RangeInclusive;
use std::time::Duration;

pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(60 * 60);
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A parser of durations in `range`.
pub(super) fn between(
    range: RangeInclusive<Duration>,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    move |text| {
        let duration = humantime::parse_duration(text).ok();
        duration
            .filter(|duration| range.contains(duration))
            .ok_or_else(|| {
                let (min, max) = (range.start(), range.end());
                format!(
                    "expected a duration from {} to {}, such as 5s or 1h30m",
                    humantime::format_duration(*min),
                    humantime::format_duration(*max)
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let parse = between(Duration::ZERO..=1000 * HOUR);
        for (text, duration) in [
            ("0", Duration::ZERO),
            ("0s", Duration::ZERO),
            ("5s", 5 * SECOND),
            ("1h30m", 90 * MINUTE),
            ("250ms", 250 * MILLISECOND),
            ("720h", 30 * DAY),
        ] {
            assert_eq!(parse(text), Ok(duration), "{text}");
        }
    }

    #[test]
    fn a_number_without_unit_and_a_value_out_of_range_name_the_range() {
        let parse = between(SECOND..=HOUR);
        for text in ["25", "0", "2h", "-1s", "soon", ""] {
            assert_eq!(
                parse(text),
                Err("expected a duration from 1s to 1h, such as 5s or 1h30m".to_owned()),
                "{text}"
            );
        }
    }
}
