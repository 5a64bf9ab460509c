//! When is it better not to send the file, or not to change it? When the peer's conditions say so: it has
//! the file already (304), wants only a part (206), or wants nothing unless it is the file that it knows
//! (412).

use crate::http::date::parse_http;
use crate::http::request::{Fields, Request};
use crate::http::status::Refusal;
use std::fs::Metadata;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How a peer recognises one state of a file.
pub struct Version {
    /// Bytes.
    pub size: u64,
    /// The entity tag: length and date, to the nanosecond; the store gives each upload a date of its own.
    /// Nothing in it belongs to one machine, so a copy that kept the date (`cp -p`, rsync) has the same tag
    /// on another server, and a download can go on there.
    pub tag: String,
    /// When the content last changed, to the second, as dates in HTTP are.
    pub modified: SystemTime,
}

impl Version {
    pub fn of(about: &Metadata) -> Version {
        let (size, seconds) = (about.len(), about.mtime());
        Version {
            size,
            tag: format!("\"{size:x}-{seconds:x}.{:x}\"", about.mtime_nsec()),
            modified: UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
        }
    }
}

/// The conditions of a request, all but If-Range.
///
/// ```text
///   If-Match ─► If-Unmodified-Since ─► If-None-Match ─► If-Modified-Since ─► If-Range ─► Range
///        └─── no: 412 ───┘                  └── yes: 304 (412 for PUT, DELETE) ──┘    no: the whole file
/// ```
#[derive(Default, PartialEq, Eq)]
pub struct Conditions {
    if_match: Option<String>,
    if_none_match: Option<String>,
    if_modified_since: Option<SystemTime>,
    if_unmodified_since: Option<SystemTime>,
}

impl Conditions {
    pub fn of(request: &Request) -> Result<Conditions, Refusal> {
        let fields = &request.fields;
        Ok(Conditions {
            if_match: fields.list("if-match"),
            if_none_match: fields.list("if-none-match"),
            if_modified_since: date(fields, "if-modified-since")?,
            if_unmodified_since: date(fields, "if-unmodified-since")?,
        })
    }

    pub fn are_none(&self) -> bool {
        *self == Conditions::default()
    }

    /// Holds them against the file, or against its absence. `reading`: for GET and HEAD. True: the peer has
    /// this version already.
    pub fn check(&self, version: Option<&Version>, reading: bool) -> Result<bool, Refusal> {
        let in_list = |list: &str, weak| version.is_some_and(|version| in_tags(list, &version.tag, weak));
        let changed_since = |date| version.is_some_and(|version| version.modified > date);
        let unexpected = match &self.if_match {
            Some(list) => !in_list(list, false),
            None => self.if_unmodified_since.is_some_and(changed_since),
        };
        let known = match &self.if_none_match {
            Some(list) => in_list(list, true),
            None => reading && self.if_modified_since.is_some_and(|date| !changed_since(date)),
        };
        if unexpected || known && !reading {
            let reason = "precondition failed: the file is not what was expected";
            return Err(Refusal::new(412, reason));
        }
        Ok(known)
    }
}

/// A date that the peer has sent; an invalid one is ignored, as RFC 9110 says of each of these fields.
fn date(fields: &Fields, name: &str) -> Result<Option<SystemTime>, Refusal> {
    let text = fields.one(name)?;
    Ok(text.and_then(|text| parse_http(text, SystemTime::now())))
}

/// Is `tag` in an If-Match or If-None-Match? `weak`: a weak tag of the same text matches too.
///
/// list = "*" / #( [ "W/" ] DQUOTE *etagc DQUOTE )
fn in_tags(list: &str, tag: &str, weak: bool) -> bool {
    let mut candidates = list.split(',').map(str::trim);
    list.trim() == "*"
        || candidates.any(|one| one == tag || weak && one.strip_prefix("W/").is_some_and(|one| one == tag))
}

/// The part of a file that the field Range asks for, if If-Range still holds; `None`: all of it.
pub fn wanted(request: &Request, version: &Version) -> Result<Option<Range<u64>>, Refusal> {
    let fields = &request.fields;
    let Some(text) = fields.one("range")? else {
        return Ok(None);
    };
    let same = match fields.one("if-range")? {
        None => true,
        Some(tag) if tag.starts_with('"') => tag == version.tag,
        // A date names one state of the file only when the second that it names is over (section 13.1.5).
        Some(_) => is_over(version.modified) && date(fields, "if-range")? == Some(version.modified),
    };
    Ok(parse_range(text, version.size).filter(|_| same))
}

/// Is the second that begins at `moment` over? A file may be dated 292 billion years ahead.
fn is_over(moment: SystemTime) -> bool {
    let age = SystemTime::now().duration_since(moment);
    age.is_ok_and(|age| age > Duration::from_secs(1))
}

/// The bytes of a file of `size` bytes; an empty range is outside of it.
///
/// range = "bytes=" ( first "-" [ last ] / "-" length ); `None`: anything else, also several ranges; it is
/// ignored (RFC 9110, section 14.2).
fn parse_range(text: &str, size: u64) -> Option<Range<u64>> {
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range
        .trim()
        .split_once('-')
        .filter(|_| unit.eq_ignore_ascii_case("bytes"))?;
    // A number that does not fit is larger than any file.
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (number(first), number(last)) {
        (Some(from), Some(last)) if from <= last => Some(from..last.saturating_add(1).min(size)),
        (Some(from), None) if last.is_empty() => Some(from..size),
        (None, Some(length)) if first.is_empty() => Some(size.saturating_sub(length)..size),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_checked_in_the_order_of_the_rfc() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let version = Version {
            size: 5,
            tag: "\"a\"".to_owned(),
            modified: at(10),
        };
        // If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, then what they mean for GET, PUT,
        // and PUT of a new file.
        type Row = (&'static str, &'static str, u64, u64, [u16; 3]);
        let table: [Row; 14] = [
            ("", "", 0, 0, [200, 200, 200]),
            ("\"a\"", "", 0, 0, [200, 200, 412]),
            ("\"b\"", "", 0, 0, [412, 412, 412]),
            ("*", "", 0, 0, [200, 200, 412]),
            ("", "\"a\"", 0, 0, [304, 412, 200]),
            ("", "W/\"a\"", 0, 0, [304, 412, 200]),
            ("", "*", 0, 0, [304, 412, 200]),
            ("", "\"b\"", 0, 0, [200, 200, 200]),
            ("\"b\"", "\"a\"", 0, 0, [412, 412, 412]),
            ("", "", 10, 0, [304, 200, 200]),
            ("", "", 9, 0, [200, 200, 200]),
            // A tag decides, and the date next to it is not looked at.
            ("", "\"b\"", 10, 0, [200, 200, 200]),
            ("", "", 0, 9, [412, 412, 200]),
            ("\"a\"", "", 0, 9, [200, 200, 412]),
        ];
        let text = |list: &str| Some(list.to_owned()).filter(|list| !list.is_empty());
        let date = |seconds| Some(at(seconds)).filter(|_| seconds > 0);
        for (if_match, if_none_match, modified, unmodified, statuses) in table {
            let conditions = Conditions {
                if_match: text(if_match),
                if_none_match: text(if_none_match),
                if_modified_since: date(modified),
                if_unmodified_since: date(unmodified),
            };
            let status = |version: Option<&Version>, reading| match conditions.check(version, reading) {
                Ok(known) => {
                    if known {
                        304
                    } else {
                        200
                    }
                }
                Err(refusal) => refusal.status,
            };
            let found = [
                status(Some(&version), true),
                status(Some(&version), false),
                status(None, false),
            ];
            assert_eq!(
                found, statuses,
                "{if_match} {if_none_match} {modified} {unmodified}"
            );
        }
    }

    #[test]
    fn ranges_have_two_sides() {
        let part = |from, to| Some(Some(from..to));
        let outside = Some(None);
        let table = [
            ("bytes=0-0", 10, part(0, 1)),
            ("bytes=0-9", 10, part(0, 10)),
            ("bytes=0-10", 10, part(0, 10)),
            ("Bytes=9-", 10, part(9, 10)),
            ("bytes=10-", 10, outside.clone()),
            ("bytes=10-20", 10, outside.clone()),
            ("bytes=-1", 10, part(9, 10)),
            ("bytes=-10", 10, part(0, 10)),
            ("bytes=-11", 10, part(0, 10)),
            ("bytes=-0", 10, outside.clone()),
            ("bytes=0-99999999999999999999", 10, part(0, 10)),
            ("bytes=99999999999999999999-", 10, outside.clone()),
            ("bytes=0-", 0, outside.clone()),
            ("bytes=-5", 0, outside.clone()),
            ("bytes=5-4", 10, None),
            ("bytes=-", 10, None),
            ("bytes=a-b", 10, None),
            ("bytes=+1-2", 10, None),
            ("bytes=0-1,3-4", 10, None),
            ("lines=0-1", 10, None),
            ("bytes", 10, None),
        ];
        for (text, size, wanted) in table {
            let found = parse_range(text, size).map(|range| Some(range).filter(|range| !range.is_empty()));
            assert_eq!(found, wanted, "{text} of {size}");
        }
    }

    #[test]
    fn the_last_moment_that_a_file_can_have_is_not_over() {
        assert!(!is_over(UNIX_EPOCH + Duration::from_secs(i64::MAX as u64)));
        assert!(!is_over(SystemTime::now()));
        assert!(is_over(SystemTime::now() - Duration::from_secs(2)));
    }

    #[test]
    fn tags_are_compared_strongly_or_weakly() {
        let table = [
            ("*", true, true),
            ("\"a\"", true, true),
            ("\"b\" , \"a\"", true, true),
            ("W/\"a\"", false, true),
            ("\"b\"", false, false),
            ("a", false, false),
            ("", false, false),
        ];
        for (list, strong, weak) in table {
            assert_eq!(in_tags(list, "\"a\"", false), strong, "{list}");
            assert_eq!(in_tags(list, "\"a\"", true), weak, "{list}");
        }
    }
}
