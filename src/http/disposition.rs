//! What is the file of a part called? The head of a part says it in its field Content-Disposition (RFC 7578,
//! section 4.2), in words that browsers write in three ways. Nothing is checked here: `check_name` does that.

use crate::http::request::{Fields, tchar};
use crate::http::status::{Refusal, malformed};

/// The name of the file in a part, without a path; `None` when the part is no file.
///
/// ```text
/// head        = *( token ":" value CRLF ) CRLF      one of them is the disposition
/// disposition = "Content-Disposition:" "form-data" parameters
/// ```
pub fn file_name(head: Vec<u8>) -> Result<Option<Vec<u8>>, Refusal> {
    let fields = Fields::find(head, 0)?;
    // Deprecated (RFC 7578, section 4.7), and to ignore it would store other bytes than were meant.
    let encoding = fields.one("content-transfer-encoding")?.unwrap_or("binary");
    if !matches!(&*encoding.to_ascii_lowercase(), "binary" | "8bit" | "7bit") {
        return malformed("a part of a form in an encoding; send its bytes as they are");
    }
    let disposition = fields.one_of_bytes("content-disposition")?.and_then(parameters);
    let Some((_, list)) = disposition.filter(|(kind, _)| kind == "form-data") else {
        return malformed("a part of a form without Content-Disposition: form-data");
    };
    if one(&list, "filename*")?.is_some() {
        return malformed("filename* in a form (RFC 7578, section 4.2, forbids it); use filename");
    }
    if one(&list, "name")?.is_none() {
        return malformed("a part of a form without a name");
    }
    Ok(one(&list, "filename")?.map(last_component))
}

/// Undoes the three escapes of browsers (HTML, section 4.10.22.8), and leaves out the path, which old ones
/// send. A backslash is part of a path on Windows only; elsewhere it is a character of the name: what follows
/// it may be the name of quite another file.
fn last_component(text: &[u8]) -> Vec<u8> {
    let windows = is_windows_path(text);
    let mut name = Vec::with_capacity(text.len());
    let mut rest = text
        .rsplit(|&byte| byte == b'/' || byte == b'\\' && windows)
        .next()
        .unwrap_or_default();
    while let [first, after @ ..] = rest {
        let (byte, length) = match after.get(..2) {
            Some(b"22") if *first == b'%' => (b'"', 3),
            Some(b"0D") if *first == b'%' => (b'\r', 3),
            Some(b"0A") if *first == b'%' => (b'\n', 3),
            _ => (*first, 1),
        };
        name.push(byte);
        rest = &rest[length..];
    }
    name
}

/// windows = letter ":\" anything / "\" host "\" anything "\" anything
///
/// The second one begins with two backslashes on Windows, of which `value_of` has left one.
fn is_windows_path(text: &[u8]) -> bool {
    match text {
        [letter, b':', b'\\', ..] => letter.is_ascii_alphabetic(),
        [b'\\', share @ ..] => share.iter().filter(|&&byte| byte == b'\\').count() >= 2,
        _ => false,
    }
}

/// A name in small letters, and a value.
pub type Parameter = (String, Vec<u8>);

/// The first word of a field in small letters, and what follows it.
///
/// ```text
/// field     = word *( OWS ";" OWS [ token "=" ( token / quoted ) ] )
/// quoted    = DQUOTE *( `\"` / `\\` / any byte but DQUOTE ) DQUOTE
/// ```
pub fn parameters(text: &[u8]) -> Option<(String, Vec<Parameter>)> {
    let small = |text: &[u8]| String::from_utf8(text.to_ascii_lowercase()).ok();
    let (word, mut rest) = text.split_at(text.iter().position(|&byte| byte == b';').unwrap_or(text.len()));
    let mut list = Vec::new();
    while let Some(after) = rest.strip_prefix(b";").map(<[u8]>::trim_ascii_start) {
        rest = after;
        if matches!(after, [] | [b';', ..]) {
            continue;
        }
        let (name, value) = after.split_at(after.iter().position(|&byte| !tchar(byte))?);
        let (value, left) = value_of(value.strip_prefix(b"=")?)?;
        list.push((small(name)?, value));
        rest = left.trim_ascii_start();
    }
    rest.is_empty().then_some((small(word.trim_ascii())?, list))
}

/// The value that `text` begins with, and what follows it. A backslash is an escape only before a quote or a
/// backslash, which today's browsers never send: an old one sends `C:\a.txt` as it is.
fn value_of(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|&byte| !tchar(byte)).unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_vec(), &text[end..]));
    };
    let mut value = Vec::new();
    loop {
        let byte;
        (byte, rest) = match rest {
            [b'"', after @ ..] => return Some((value, after)),
            // The quote is the last byte of the field, so it ends the value: a name that ends in a backslash.
            [b'\\', b'"'] => (b'\\', &rest[1..]),
            [b'\\', byte @ (b'"' | b'\\'), after @ ..] | [byte, after @ ..] => (*byte, after),
            [] => return None,
        };
        value.push(byte);
    }
}

/// The value of a parameter that may come once.
pub fn one<'l>(list: &'l [Parameter], name: &str) -> Result<Option<&'l [u8]>, Refusal> {
    let mut values = list.iter().filter(|parameter| parameter.0 == name);
    match (values.next(), values.next()) {
        (_, Some(_)) => malformed(&format!("more than one {name}")),
        (value, None) => Ok(value.map(|parameter| &*parameter.1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_out_of_a_disposition_as_browsers_put_them_in() {
        let table: [(&str, Option<&str>); 19] = [
            ("", None),
            ("; filename=\"\"", Some("")),
            ("; filename=a.bin", Some("a.bin")),
            ("; filename=\"é日😀 ;=.bin\"", Some("é日😀 ;=.bin")),
            ("; filename=\"a%22b%0D%0Ac\"", Some("a\"b\r\nc")),
            ("; filename=\"100%, %0d%41%2\"", Some("100%, %0d%41%2")),
            ("; filename=\"a\\\"b\"", Some("a\"b")),
            ("; filename=\"C:\\Users\\me\\a.bin\"", Some("a.bin")),
            ("; filename=\"C:\\\\me\\\\a.bin\"", Some("a.bin")),
            ("; filename=\"C:/me\\a.bin\"", Some("me\\a.bin")),
            ("; filename=\"\\\\host\\share\\a.bin\"", Some("a.bin")),
            ("; filename=\"back\\slash.txt\"", Some("back\\slash.txt")),
            ("; filename=\"\\slash.txt\"", Some("\\slash.txt")),
            ("; filename=\"end\\\"", Some("end\\")),
            ("; filename=\"\\\"", Some("\\")),
            ("; filename=\"folder/a.bin\"", Some("a.bin")),
            ("; filename=\"../../a\"", Some("a")),
            ("; filename=\"folder/\"", Some("")),
            ("; filename=\"%2F\"", Some("%2F")),
        ];
        for (disposition, expected) in table {
            let head = format!("Content-Disposition: form-data; name=\"f\"{disposition}\r\n\r\n");
            let name = file_name(head.into_bytes()).unwrap();
            assert_eq!(name.as_deref(), expected.map(str::as_bytes), "{disposition}");
        }
    }
}
