//! What kind of content does a name promise? Its extension says it, and decides what a browser does with
//! the file.

/// A browser shows it as it is, whatever it holds.
const PLAIN: &str = "text/plain; charset=utf-8";

/// File extensions and their media types. All others are plain bytes.
const TYPES: [(&str, &str); 26] = [
    ("c", PLAIN),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/x-icon"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("log", PLAIN),
    ("md", "text/markdown; charset=utf-8"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("rs", PLAIN),
    ("svg", "image/svg+xml"),
    ("txt", PLAIN),
    ("wasm", "application/wasm"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];

/// Types that may hold scripts. A script in an uploaded file could make the browser of a reader put and
/// delete files here.
const ACTIVE: [&str; 3] = ["text/html; charset=utf-8", "image/svg+xml", "application/xml"];

/// The media type, by the extension of the name.
pub fn content_type(name: &[u8]) -> &'static str {
    // A name without a dot has no extension.
    let mut parts = name.rsplitn(2, |&byte| byte == b'.');
    let extension = parts
        .next()
        .filter(|_| parts.next().is_some())
        .unwrap_or_default();
    let found = TYPES
        .iter()
        .find(|row| extension.eq_ignore_ascii_case(row.0.as_bytes()));
    found.map_or("application/octet-stream", |row| row.1)
}

/// Must a browser not let this type act in the name of the server?
pub fn is_active(kind: &str) -> bool {
    ACTIVE.contains(&kind)
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
