//! What do 10MB and 500ms mean, and what are 1 worker and the 95th percentile? A text that could mean two
//! things means none, and the error shows the forms that there are.

use std::str::FromStr;
use std::time::Duration;

/// Values with units, by their name in the tables, and what the help says about them.
pub const FORMS: [(&str, &str); 2] = [
    ("TIME", "seconds, or with a unit: 30, 1.5, 500ms, 2s, 5m, 1h"),
    (
        "SIZE",
        "bytes, or with a unit: 1048576, 512K, 10MB, 1GiB; K, M and G are powers of 1024",
    ),
];

/// Bytes: `1048576`, `512K`, `10MB`, `1GiB`, in either letter case. All units are powers of 1024, with and
/// without the `i`: 1 MB is 1 MiB in this project. `None`: no such form, or 2^64 bytes and more.
pub fn parse_size(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let scale = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

/// A number of digits only: `parse` alone would also take a sign. `None`: it is not one, or does not fit.
pub fn parse_digits<N: FromStr>(text: &str) -> Option<N> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// Units of time in seconds. `ms` stands before `s`, because it ends with it.
const UNITS: [(&str, f64); 4] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// A time: `500ms`, `2s`, `1.5s`, `5m`, `1h`, or seconds without a unit. `None`: no such form, or outside of
/// a millisecond to 1e9 seconds, which is 31 years.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let unit = UNITS.iter().find(|(unit, _)| text.ends_with(unit));
    let (number, scale) = unit.map_or((text, 1.0), |(unit, scale)| {
        (&text[..text.len() - unit.len()], *scale)
    });
    let seconds = number.parse::<f64>().ok()? * scale;
    (0.001..=1e9)
        .contains(&seconds)
        .then(|| Duration::from_secs_f64(seconds))
}

/// `1 worker`, `2 workers`.
pub fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Where a percentile stands among `count` sorted values, by nearest rank: the index of the smallest one that
/// at least this share of them, in thousandths, does not exceed. It is always one that was measured, never
/// between two. `None`: there is none.
pub fn nearest_rank(count: usize, thousandths: usize) -> Option<usize> {
    (count * thousandths).div_ceil(1000).checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_none_is_not() {
        assert_eq!(
            [0, 1, 2].map(|count| counted(count, "file")),
            ["0 files", "1 file", "2 files"]
        );
    }

    #[test]
    fn a_percentile_is_a_value_and_the_last_one_is_the_largest() {
        assert_eq!([1, 500, 1000].map(|rank| nearest_rank(0, rank)), [None; 3]);
        assert_eq!([1, 500, 1000].map(|rank| nearest_rank(1, rank)), [Some(0); 3]);
        assert_eq!(
            [500, 501, 950, 1000].map(|rank| nearest_rank(20, rank)),
            [9, 10, 18, 19].map(Some)
        );
    }
}
