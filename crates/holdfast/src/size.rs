//! Sizes as people write and read them.

const UNITS: [(&str, u64); 6] = [
    ("PiB", 1 << 50),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// Reads `100GiB`, `1.5 TiB`, `4096`; units are powers of two, and a bare number is bytes.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = factor(unit.trim())
        .ok_or_else(|| format!("'{unit}' is no unit; use KiB, MiB, GiB, TiB or PiB"))?;
    let bytes = match number.split_once('.') {
        None => number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)),
        Some((whole, fraction)) => fractional(whole, fraction, factor),
    };
    bytes.ok_or_else(|| format!("'{text}' is no size; write for example 100GiB"))
}

fn factor(unit: &str) -> Option<u64> {
    let short = |name: &str| name.trim_end_matches("iB").trim_end_matches('B').to_owned();
    let same =
        |name: &str| unit.eq_ignore_ascii_case(name) || unit.eq_ignore_ascii_case(&short(name));
    UNITS.iter().find(|(name, _)| same(name)).map(|(_, factor)| *factor)
}

/// Exact up to a byte; more than nine decimals are too many.
fn fractional(whole: &str, fraction: &str, factor: u64) -> Option<u64> {
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let whole = u128::from(whole.parse::<u64>().ok()?);
    let parts = whole.checked_mul(scale)? + fraction.parse::<u128>().ok()?;
    u64::try_from(parts.checked_mul(u128::from(factor))? / scale).ok()
}

/// Writes a size with at most one decimal, in the largest unit that leaves a number of 1 or more.
pub(crate) fn show(bytes: u64) -> String {
    let (unit, factor) =
        UNITS.iter().find(|(_, factor)| bytes >= *factor).copied().unwrap_or(("B", 1));
    let tenths = u128::from(bytes) * 10 / u128::from(factor);
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        rest => format!("{}.{rest} {unit}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse("100GiB"), Ok(100 << 30));
        assert_eq!(parse(" 1.5 TiB "), Ok(3 << 39));
        assert_eq!(parse("64m"), Ok(64 << 20));
        assert_eq!(parse("4096"), Ok(4096));
        assert_eq!(parse("0.5KiB"), Ok(512));
        for wrong in ["", "GiB", "1.2.3", "-1", "1XB", "99999999PiB", "1e3", "1."] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_shown_short() {
        assert_eq!(show(0), "0 B");
        assert_eq!(show(1023), "1023 B");
        assert_eq!(show(100 << 30), "100 GiB");
        assert_eq!(show((3 << 40) / 2), "1.5 TiB");
        assert_eq!(show(u64::MAX), "16383.9 PiB");
    }
}
