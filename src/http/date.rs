//! How does HTTP write a moment? In three ways; it sends the first and reads all (RFC 9110, section 5.6.7). A
//! text is a date only if the same moment, written again, is the same text: this rule replaces all others.

use crate::stats::{Date, days_from_civil};
use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// `Sun, 06 Nov 1994 08:49:37 GMT`
    Fixdate,
    /// `Sunday, 06-Nov-94 08:49:37 GMT`
    Rfc850,
    /// `Sun Nov  6 08:49:37 1994`, as asctime(3) writes it
    Asctime,
}

/// All end with `day`. 1970 began on the first of these.
const DAYS: [&str; 7] = ["Thurs", "Fri", "Satur", "Sun", "Mon", "Tues", "Wednes"];

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

fn written(form: Form, time: SystemTime) -> String {
    let date = Date::of(time);
    let (year, day, clock) = (date.year, date.day, &date.clock);
    let (weekday, month) = (DAYS[date.days as usize % 7], MONTHS[date.month as usize - 1]);
    let short = &weekday[..3];
    match form {
        Form::Fixdate => format!("{short}, {day:02} {month} {year:04} {clock} GMT"),
        Form::Rfc850 => format!("{weekday}day, {day:02}-{month}-{:02} {clock} GMT", year % 100),
        Form::Asctime => format!("{short} {month} {day:2} {clock} {year:04}"),
    }
}

/// A moment as replies show it.
pub fn http_date(time: SystemTime) -> String {
    written(Form::Fixdate, time)
}

thread_local! {
    /// The second that was written last, and how.
    static NOW: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// The present. Every reply begins with it, so each thread writes it once a second.
pub fn with_http_now(write: impl FnOnce(&str)) {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    NOW.with_borrow_mut(|(written, text)| {
        if *written != second {
            (*written, *text) = (second, http_date(now));
        }
        write(text);
    });
}

/// Reads any of the three forms; `None`: it is none of them. A year of two digits is one of this century,
/// unless that is more than 50 years ahead of `now`.
pub fn parse_http(text: &str, now: SystemTime) -> Option<SystemTime> {
    let separators = [' ', ',', '-'];
    let words: Vec<&str> = text.split(separators).filter(|word| !word.is_empty()).collect();
    let (form, day, month, year, clock) = match *words.as_slice() {
        [_, day, month, year, clock, "GMT"] if year.len() == 2 => (Form::Rfc850, day, month, year, clock),
        [_, day, month, year, clock, "GMT"] => (Form::Fixdate, day, month, year, clock),
        [_, month, day, clock, year] => (Form::Asctime, day, month, year, clock),
        _ => return None,
    };
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let mut year = u64::from(year.parse::<u16>().ok()?);
    if form == Form::Rfc850 {
        let this = Date::of(now).year;
        year += this - this % 100;
        if year > this + 50 {
            year -= 100;
        }
    }
    let days = days_from_civil(year, month, u64::from(day.parse::<u8>().ok()?))?;
    let second = clock.splitn(3, ':').try_fold(0, |second, part| {
        Some(second * 60 + u64::from(part.parse::<u8>().ok()?))
    })?;
    let time = UNIX_EPOCH + Duration::from_secs(days * 86_400 + second);
    (written(form, time) == text).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21T02:00:00Z.
    const NOW: Duration = Duration::from_secs(1_795_226_400);

    fn parse(text: &str) -> Option<SystemTime> {
        parse_http(text, UNIX_EPOCH + NOW)
    }

    #[test]
    fn the_web_has_three_forms_of_one_moment() {
        let moment = UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(http_date(moment), "Sun, 06 Nov 1994 08:49:37 GMT");
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse(text), Some(moment), "{text}");
        }
        let year = |text: &str| parse(text).map(|time| http_date(time)[12..16].to_owned());
        assert_eq!(year("Wednesday, 01-Jan-76 00:00:00 GMT").as_deref(), Some("2076"));
        assert_eq!(year("Saturday, 01-Jan-77 00:00:00 GMT").as_deref(), Some("1977"));
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
            "Sun, 06 Nov 1994 08:49:37:00:00:00:00:00:00:00:00:00:00:00:00 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Son, 06 Nov 1994 08:49:37 GMT",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 06 Nov 1 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Nov 65535 08:49:37 GMT",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_can_be_read_back() {
        for days in 0..80_000 {
            let time = UNIX_EPOCH + Duration::from_secs(days * 86_400 + days % 86_400);
            for form in [Form::Fixdate, Form::Rfc850, Form::Asctime] {
                assert_eq!(parse_http(&written(form, time), time), Some(time));
            }
        }
    }
}
