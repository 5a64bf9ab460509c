//! What does a status say, and does the connection survive it? One table for all replies. A refusal is a
//! status with a reason for a person; which mistake leads to which status stands where the mistake is
//! found.

use crate::store;

/// The status, its phrase (optional, RFC 9112, section 4, but expected by people), and whether the connection
/// is closed after it: where the next request begins is then unknown, or too far away.
const STATUSES: [(u16, &str, bool); 26] = [
    (200, "OK", false),
    (201, "Created", false),
    (204, "No Content", false),
    (206, "Partial Content", false),
    (303, "See Other", false),
    (304, "Not Modified", false),
    (400, "Bad Request", false),
    (401, "Unauthorized", false),
    (403, "Forbidden", false),
    (404, "Not Found", false),
    (405, "Method Not Allowed", false),
    (408, "Request Timeout", true),
    (411, "Length Required", true),
    (412, "Precondition Failed", false),
    (413, "Content Too Large", true),
    (414, "URI Too Long", true),
    (415, "Unsupported Media Type", false),
    (416, "Range Not Satisfiable", false),
    (417, "Expectation Failed", true),
    (421, "Misdirected Request", true),
    (431, "Request Header Fields Too Large", true),
    (500, "Internal Server Error", false),
    (501, "Not Implemented", true),
    (503, "Service Unavailable", false),
    (505, "HTTP Version Not Supported", true),
    (507, "Insufficient Storage", false),
];

/// The row of `status`, which is one of the table.
fn row(status: u16) -> (u16, &'static str, bool) {
    let found = STATUSES.into_iter().find(|row| row.0 == status);
    found.expect("every status that is sent has a row")
}

pub fn phrase(status: u16) -> &'static str {
    row(status).1
}

/// Why a request is refused.
#[derive(Debug)]
pub struct Refusal {
    pub status: u16,
    pub reason: String,
    /// Close the connection after the reply.
    pub close: bool,
    /// One more field of the reply, which tells the peer the remedy.
    pub field: Option<(&'static str, String)>,
}

impl Refusal {
    pub fn new(status: u16, reason: impl Into<String>) -> Refusal {
        Refusal {
            status,
            reason: reason.into(),
            close: row(status).2,
            field: None,
        }
    }

    pub fn with_field(self, name: &'static str, value: impl Into<String>) -> Refusal {
        let field = Some((name, value.into()));
        Refusal { field, ..self }
    }

    /// 405: the method is not allowed here; `allowed` are.
    pub fn method(allowed: &str) -> Refusal {
        let reason = format!("method not allowed here; allowed: {allowed}");
        Refusal::new(405, reason).with_field("Allow", allowed)
    }
}

/// 400, and the end of the connection: the request has no meaning, or more than one.
pub fn malformed<T>(reason: &str) -> Result<T, Refusal> {
    let mut refusal = Refusal::new(400, format!("malformed request: {reason}"));
    refusal.close = true;
    Err(refusal)
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Refusal {
        let status = match &error {
            // A name that no file can have is no mistake of the peer: there is no such file.
            store::Error::InvalidName(_) | store::Error::NotFound => 404,
            store::Error::NotRegular | store::Error::Denied(_) => 403,
            store::Error::TooLarge(_) => 413,
            store::Error::Full => 507,
            store::Error::Exhausted(_) => {
                return Refusal::new(503, error.to_string()).with_field("Retry-After", "1");
            }
            store::Error::Io(_) | store::Error::Uncertain(_) => 500,
        };
        Refusal::new(status, error.to_string())
    }
}
