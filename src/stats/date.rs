//! Which day is it? The kernel counts seconds since 1970 in UTC, and people want dates. One function makes a
//! date out of a day's number and one goes back; there are no leap seconds and no time zones.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Days between 0000-03-01 and 1970-01-01.
const EPOCH: u64 = 719_468;

/// Days that 400 years have; after them the calendar repeats.
const ERA: u64 = 146_097;

/// The last second of the year 9999: no form of a date has more digits.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// A moment in UTC; months and days count from 1.
pub struct Date {
    pub year: u64,
    pub month: u64,
    pub day: u64,
    /// Whole days since 1970-01-01, which was a Thursday.
    pub days: u64,
    /// `06:07:08`.
    pub clock: String,
    milli: u32,
}

impl Date {
    /// Times before 1970 become its first moment, times after 9999 the last.
    pub fn of(time: SystemTime) -> Date {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().min(LAST);
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        Date {
            year,
            month,
            day,
            days,
            clock: format!("{hour:02}:{minute:02}:{second:02}"),
            milli: since.subsec_millis(),
        }
    }
}

/// Year, month and day of a day that is counted from 1970-01-01, as in Howard Hinnant's "chrono-compatible
/// low-level date algorithms". Each year begins on the first of March, so that the leap day is its last day
/// and no rule needs an exception.
///
/// ```text
///   days since 0000-03-01 ──► era of 400 years ──► year of the era ──► day of the year ──► month, day
/// ```
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let (era, day) = ((days + EPOCH) / ERA, (days + EPOCH) % ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / (ERA - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March on have 31 30 31 30 31 | 31 30 31 30 31 | 31 … days: 153 in each five.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    // 0 is March; 10 and 11 are January and February of the next year.
    (era * 400 + year + month / 10, (month + 2) % 12 + 1, day)
}

/// The way back, which only `http` goes. `None`: it is before 1970.
pub fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    let month = (month + 9) % 12;
    let year = year.checked_sub(month / 10)?;
    let (era, year) = (year / 400, year % 400);
    let day = (153 * month + 2) / 5 + day;
    (era * ERA + 365 * year + year / 4 - year / 100 + day).checked_sub(EPOCH + 1)
}

/// `2026-11-21T06:07:08.009Z` (ISO 8601, RFC 3339).
pub fn utc(time: SystemTime) -> String {
    let date = Date::of(time);
    let (year, month, day) = (date.year, date.month, date.day);
    format!("{year:04}-{month:02}-{day:02}T{}.{:03}Z", date.clock, date.milli)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn times_are_written_in_utc() {
        let table = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000Z"),
            (1_795_226_400, "2026-11-21T02:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (LAST.as_secs(), "9999-12-31T23:59:59.000Z"),
            (LAST.as_secs() + 1, "9999-12-31T23:59:59.000Z"),
        ];
        for (seconds, text) in table {
            assert_eq!(utc(at(seconds)), text);
        }
        assert!(utc(UNIX_EPOCH + Duration::from_millis(7)).ends_with(".007Z"));
        assert!(utc(UNIX_EPOCH - Duration::from_secs(1)).starts_with("1970-01-01T00:00:00"));
    }

    #[test]
    fn each_day_follows_the_one_before_and_leads_back() {
        let mut before = (1969, 12, 31);
        for days in 0..LAST.as_secs() / 86_400 {
            let date = civil_from_days(days);
            assert!(before < date, "{before:?} {date:?}");
            assert_eq!(days_from_civil(date.0, date.1, date.2), Some(days));
            before = date;
        }
        assert_eq!(days_from_civil(1969, 12, 31), None);
        assert_eq!(days_from_civil(0, 1, 1), None);
    }
}
