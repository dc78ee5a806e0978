//! Kubernetes quantities such as `512Mi`, `1.5G` or `2e9`, as whole numbers.

/// The bytes that `text` means, rounded up. `None` if it is no quantity, negative, or beyond 64 bits.
pub fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, suffix) = text.split_at(digits.unwrap_or(text.len()));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') || fraction.len() > 9 {
        return None;
    }
    let (factor, divisor) = scale(suffix)?;
    let mantissa: u128 = format!("{whole}{fraction}").parse().ok()?;
    let divisor = divisor.checked_mul(10u128.checked_pow(fraction.len() as u32)?)?;
    let value = mantissa.checked_mul(factor)?.div_ceil(divisor);
    u64::try_from(value).ok()
}

/// What a suffix multiplies and divides by.
fn scale(suffix: &str) -> Option<(u128, u128)> {
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let decimal = ["k", "M", "G", "T", "P", "E"];
    if let Some(power) = binary.iter().position(|&unit| unit == suffix) {
        return Some((1 << (10 * (power + 1)), 1));
    }
    if let Some(power) = decimal.iter().position(|&unit| unit == suffix) {
        return Some((10u128.pow(3 * (power as u32 + 1)), 1));
    }
    match suffix {
        "" => Some((1, 1)),
        "m" => Some((1, 1000)),
        "u" => Some((1, 1_000_000)),
        "n" => Some((1, 1_000_000_000)),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10u128.checked_pow(exponent.unsigned_abs())?;
            Some(if exponent < 0 { (1, power) } else { (power, 1) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        let cases = [
            ("0", 0),
            ("1024", 1024),
            ("512Mi", 512 << 20),
            ("20Gi", 20 << 30),
            ("1.5Gi", 3 << 29),
            ("1G", 1_000_000_000),
            ("1500m", 2),
            ("2e3", 2000),
            ("1E", 1_000_000_000_000_000_000),
            (".5Ki", 512),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_none() {
        for text in [
            "", "Mi", "1MB", "-1", "1..2", "1 Gi", "1e99", "99999E", "ten",
        ] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
