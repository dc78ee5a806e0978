//! Parsers of single values: text -> value, or what was expected instead.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The largest count: what an int32 of the ChatService can say.
pub(super) const MAX_COUNT: u64 = i32::MAX as u64;

pub(super) const MAX_WORKERS: u64 = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// A parser of whole numbers in `range`.
pub(super) fn whole<T: TryFrom<u64>>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number: Option<u64> = text.parse().ok();
        number
            .filter(|number| range.contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| {
                let (min, max) = (range.start(), range.end());
                format!("expected a whole number from {min} to {max}")
            })
    }
}

/// A parser of sizes in `range`: whole bytes, or with the suffix of a Kubernetes quantity, `512Mi`, `1G`.
pub(super) fn size(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    move |text| {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "" => Some(1),
            "k" => Some(1000),
            "M" => Some(1000_u64.pow(2)),
            "G" => Some(1000_u64.pow(3)),
            "T" => Some(1000_u64.pow(4)),
            "Ki" => Some(1 << 10),
            "Mi" => Some(1 << 20),
            "Gi" => Some(1 << 30),
            "Ti" => Some(1 << 40),
            _ => None,
        };
        let number = digits.parse::<u64>().ok();
        number
            .zip(unit)
            .and_then(|(number, unit)| number.checked_mul(unit))
            .filter(|bytes| range.contains(bytes))
            .ok_or_else(|| {
                let (min, max) = (range.start(), range.end());
                format!("expected a size such as 512Mi or 1G, from {min} to {max} bytes")
            })
    }
}

/// Parses `ip:port`, and kindly `localhost:8080` (127.0.0.1) and `:8080` (0.0.0.0).
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let named = |(host, port): (&str, &str)| {
        let ip = match host {
            "" => Ipv4Addr::UNSPECIFIED,
            "localhost" => Ipv4Addr::LOCALHOST,
            _ => return None,
        };
        Some(SocketAddr::new(IpAddr::V4(ip), port.parse().ok()?))
    };
    text.parse()
        .ok()
        .or_else(|| text.rsplit_once(':').and_then(named))
        .ok_or_else(|| "expected ip:port, such as 127.0.0.1:8080, [::1]:8080 or :8080".to_owned())
}

/// Checks the directives of a `tracing_subscriber::EnvFilter`.
///
/// A lone word must be a level: the filter would take `inof` for a crate's name and log nothing.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    let plausible = |directive: &str| {
        let lone_word = !directive.contains(['=', '[']);
        !lone_word || (!directive.is_empty() && directive.parse::<LevelFilter>().is_ok())
    };
    if text.split(',').map(str::trim).all(plausible) && EnvFilter::try_new(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err(
        "expected error, warn, info, debug, trace, off or directives such as info,chat_node=debug"
            .to_owned(),
    )
}

pub(super) fn available_cores() -> usize {
    std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MAX_WORKERS as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_out_of_range_name_the_range() {
        let parse = whole::<u32>(1..=524_288);
        assert_eq!(parse("1"), Ok(1));
        assert_eq!(parse("524288"), Ok(524_288));
        for text in [
            "0",
            "524289",
            "-1",
            "1.5",
            "64Ki",
            "",
            "99999999999999999999",
        ] {
            assert_eq!(
                parse(text),
                Err("expected a whole number from 1 to 524288".to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn sizes_are_bytes_or_quantities() {
        let parse = size(1..=1 << 44);
        for (text, bytes) in [
            ("1", 1),
            ("1048576", 1 << 20),
            ("512Mi", 512 << 20),
            ("3Gi", 3 << 30),
            ("1Ti", 1 << 40),
            ("7Ki", 7 << 10),
            ("5k", 5000),
            ("2M", 2_000_000),
            ("1G", 1_000_000_000),
            ("1T", 1_000_000_000_000),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "0",
            "Mi",
            "1.5Gi",
            "-1",
            "1MB",
            "1mi",
            "17Ti",
            "99999999Ti",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with("expected a size such as 512Mi"), "{text}");
        }
    }

    #[test]
    fn addresses_are_ip_and_port_or_a_kind_short_form() {
        for (text, expected) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:0", "[::1]:0"),
            ("localhost:8080", "127.0.0.1:8080"),
            (":8080", "0.0.0.0:8080"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), expected);
        }
        for text in [
            "8080",
            "example.com:80",
            "localhost",
            "127.0.0.1",
            ":x",
            ":70000",
            "",
        ] {
            let error = address(text).unwrap_err();
            assert!(error.starts_with("expected ip:port"), "{text}: {error}");
        }
    }

    #[test]
    fn log_filters_are_levels_or_directives() {
        for text in [
            "info",
            "WARN",
            "off",
            "info,chat_node=debug",
            "warn,[session]=trace",
        ] {
            assert_eq!(log_filter(text), Ok(text.to_owned()));
        }
        for text in ["inof", "", "info,", "chat_node=loud", "chat_node"] {
            assert!(log_filter(text).is_err(), "{text}");
        }
    }
}
