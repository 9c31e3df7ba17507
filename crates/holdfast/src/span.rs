//! Spans of time as people write and read them.

use std::time::Duration;

const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads `24h`, `0s`, `1h30m`, `250ms`. Every number has a unit.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is no span of time; write for example 24h, 1h30m or 0s");
    let mut rest = text.trim();
    let mut millis = 0_u64;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let factor = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(wrong)?.1;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let part = number.checked_mul(factor).ok_or_else(wrong)?;
        millis = millis.checked_add(part).ok_or_else(wrong)?;
        rest = tail;
    }
    Ok(Duration::from_millis(millis))
}

/// Writes a span with its two largest units: `1h 30m`, `24h`, `12s`.
pub(crate) fn show(span: Duration) -> String {
    let mut millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let mut parts = Vec::new();
    for (unit, factor) in UNITS {
        let number = millis / factor;
        // A day or two are read more easily in hours.
        if number > 0 && !(unit == "d" && number < 3) {
            parts.push(format!("{number}{unit}"));
            millis %= factor;
        }
    }
    parts.truncate(2);
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        let seconds = |text| parse(text).map(|span| span.as_secs_f64());
        assert_eq!(seconds("24h"), Ok(86_400.0));
        assert_eq!(seconds(" 0s "), Ok(0.0));
        assert_eq!(seconds("1h30m"), Ok(5_400.0));
        assert_eq!(seconds("7d"), Ok(604_800.0));
        assert_eq!(seconds("250ms"), Ok(0.25));
        for wrong in ["", "5", "h", "-1s", "1.5h", "1y", "1h30", "99999999999999999999s"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn spans_are_shown_short() {
        let shown = ["24h", "1h30m", "3d1h5m", "12s", "0s", "90s", "250ms"]
            .map(|text| show(parse(text).unwrap()));
        assert_eq!(shown, ["24h", "1h 30m", "3d 1h", "12s", "0s", "1m 30s", "250ms"]);
    }
}
