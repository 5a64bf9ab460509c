//! # Chapter 11a. Which day is it, for people and for the web?
//!
//! The kernel counts seconds since 1970; logs and HTTP want dates. A day number becomes a date by counting in
//! eras of 400 years, after which the calendar repeats, and each year begins on the first of March, so that
//! the leap day is the last day of its year and no rule needs an exception.
//!
//! ```text
//!   days since 0000-03-01 ──► era of 146,097 days ──► year of the era ──► day of the year ──► month, day
//! ```
//!
//! The invariant: all times are UTC, and what was formatted can be read back to the second.
//!
//! What must not live here: time zones, leap seconds, what a date is used for.
//!
//! Experiment: let the year begin in January and count the special cases that you then need.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Days between 0000-03-01 and 1970-01-01.
const EPOCH: u64 = 719_468;

/// The last second of the year 9999.
const LAST: u64 = 253_402_300_799;

/// A moment in UTC; months and days count from 1.
struct Date {
    year: u64,
    month: u64,
    day: u64,
    /// Whole days since 1970-01-01, which was a Thursday.
    days: u64,
    /// Seconds since midnight.
    second: u64,
    milli: u32,
}

impl Date {
    /// Times before 1970 become its first moment, times after 9999 the last: no form has more digits.
    fn of(time: SystemTime) -> Date {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let since = since.min(Duration::from_secs(LAST));
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (era, day) = ((days + EPOCH) / 146_097, (days + EPOCH) % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        // Months from March on have 31 30 31 30 31 | 31 30 31 30 31 | 31 … days: 153 in each five.
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = era * 400 + year + u64::from(month <= 2);
        Date {
            year,
            month,
            day,
            days,
            second,
            milli: since.subsec_millis(),
        }
    }
}

/// Days between 1970-01-01 and a later date: the way back.
fn days_until(year: u64, month: u64, day: u64) -> Option<u64> {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year.checked_sub(1)?, month + 9)
    };
    let (era, year) = (year / 400, year % 400);
    let day = ((153 * month + 2) / 5 + day).checked_sub(1)?;
    (era * 146_097 + 365 * year + year / 4 - year / 100 + day).checked_sub(EPOCH)
}

/// `2026-11-21T06:07:08.009Z` (ISO 8601, RFC 3339).
pub fn utc(time: SystemTime) -> String {
    let Date {
        year,
        month,
        day,
        second,
        milli,
        ..
    } = Date::of(time);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`: IMF-fixdate (RFC 9110, section 5.6.7).
pub fn http_date(time: SystemTime) -> String {
    let Date {
        year,
        month,
        day,
        days,
        second,
        ..
    } = Date::of(time);
    let weekday = &DAYS[(days as usize + 3) % 7][..3];
    let month = MONTHS[month as usize - 1];
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

thread_local! {
    /// The second that was written last, and how.
    static NOW: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// The present as `http` writes it. Every reply of HTTP begins with it, so each thread writes it once a
/// second.
pub fn with_http_now(write: impl FnOnce(&str)) {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    NOW.with_borrow_mut(|(written, text)| {
        if *written != second {
            (*written, *text) = (second, http_date(now));
        }
        write(text);
    });
}

/// Reads any of the three forms that HTTP has ever used; `None`: it is none of them.
///
/// ```text
/// Sun, 06 Nov 1994 08:49:37 GMT       IMF-fixdate
/// Sunday, 06-Nov-94 08:49:37 GMT      RFC 850; of this century, unless that is more than 50 years ahead
/// Sun Nov  6 08:49:37 1994            asctime(3)
/// ```
pub fn parse_http(text: &str, now: SystemTime) -> Option<SystemTime> {
    let words: Vec<&str> = text
        .split([' ', ',', '-'])
        .filter(|word| !word.is_empty())
        .collect();
    let (weekday, day, month, year, time) = match *words.as_slice() {
        [weekday, day, month, year, time, "GMT"] => (weekday, day, month, year, time),
        [weekday, month, day, time, year] => (weekday, day, month, year, time),
        _ => return None,
    };
    DAYS.iter()
        .find(|name| **name == weekday || name[..3] == *weekday)?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let short = text.contains('-');
    let (day, year) = (
        number(day, 31)?,
        full_year(number(year, 9999)?, year.len(), short, now)?,
    );
    let (hour, rest) = time.split_once(':')?;
    let (minute, second) = rest.split_once(':')?;
    // A leap second is counted as the first of the next minute.
    let second = number(hour, 23)? * 3600 + number(minute, 59)? * 60 + number(second, 60)?;
    let time = UNIX_EPOCH + Duration::from_secs(days_until(year, month, day)? * 86_400 + second);
    // The thirty-first of February would come back as another day.
    let back = Date::of(time);
    (second >= 86_400 || (back.month, back.day) == (month, day)).then_some(time)
}

/// `short`: in the form that has two digits.
fn full_year(year: u64, digits: usize, short: bool, now: SystemTime) -> Option<u64> {
    let this = Date::of(now).year;
    match (digits, short) {
        (4, false) => Some(year),
        (2, true) => {
            Some(this - this % 100 + year).map(|full| if full > this + 50 { full - 100 } else { full })
        }
        _ => None,
    }
}

/// Digits only; `parse` would also take a sign.
fn number(text: &str, most: u64) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&number| digits && number <= most)
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
        ];
        for (seconds, text) in table {
            assert_eq!(utc(at(seconds)), text);
        }
        assert!(utc(UNIX_EPOCH + Duration::from_millis(7)).ends_with(".007Z"));
        assert!(utc(at(LAST)).starts_with("9999-12-31T23:59:59"));
        assert_eq!(http_date(at(LAST + 1)), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn the_web_has_three_forms_of_one_moment() {
        let now = at(1_795_226_400);
        assert_eq!(http_date(at(784_111_777)), "Sun, 06 Nov 1994 08:49:37 GMT");
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse_http(text, now), Some(at(784_111_777)), "{text}");
        }
        let year = |text: &str| parse_http(text, now).map(|time| http_date(time)[12..16].to_owned());
        assert_eq!(year("Friday, 01-Jan-76 00:00:00 GMT").as_deref(), Some("2076"));
        assert_eq!(year("Friday, 01-Jan-77 00:00:00 GMT").as_deref(), Some("1977"));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "yesterday",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 00 Mar 1994 08:49:37 GMT",
            "Thu, 31 Feb 1994 08:49:37 GMT",
            "Tue, 29 Feb 2100 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Son, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 06 Nov 1 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
        ] {
            assert_eq!(parse_http(text, at(1_795_226_400)), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_can_be_read_back() {
        for days in 0..80_000 {
            let time = at(days * 86_400 + days % 86_400);
            assert_eq!(parse_http(&http_date(time), time), Some(time));
        }
    }
}
