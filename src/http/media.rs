//! What kind of content does a name promise? Its extension says it, and decides what a browser does with
//! the file.

/// File extensions and their media types. All others are plain bytes.
const TYPES: [(&str, &str); 21] = [
    ("c log rs txt", "text/plain; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm html", "text/html; charset=utf-8"),
    ("ico", "image/x-icon"),
    ("jpeg jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("md", "text/markdown; charset=utf-8"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("wasm", "application/wasm"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];

/// Types that may hold scripts. A script in an uploaded file could make the browser of a reader put and
/// delete files here.
pub const ACTIVE: [&str; 3] = ["text/html; charset=utf-8", "image/svg+xml", "application/xml"];

/// The media type, by the extension of the name.
pub fn content_type(name: &[u8]) -> &'static str {
    let dot = name.iter().rposition(|&byte| byte == b'.');
    let extension = dot.map_or(&[][..], |dot| &name[dot + 1..]);
    let is_it = |known: &str| extension.eq_ignore_ascii_case(known.as_bytes());
    let found = TYPES.iter().find(|row| row.0.split(' ').any(is_it));
    found.map_or("application/octet-stream", |row| row.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_promise_a_type() {
        for (name, kind) in [
            ("a.txt", "text/plain; charset=utf-8"),
            ("a.b.HTML", "text/html; charset=utf-8"),
            ("a.bin", "application/octet-stream"),
            ("txt", "application/octet-stream"),
            ("a.", "application/octet-stream"),
        ] {
            assert_eq!(content_type(name.as_bytes()), kind, "{name}");
        }
    }
}
