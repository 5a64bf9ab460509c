//! What if the server speaks something else? The first bytes of its reply may say so plainly: then a user is
//! told what it is, and what to do, instead of where a reply stopped being JSON.

use crate::json::Reader;
use std::fmt;
use std::io::Read;
use std::net::SocketAddr;

/// What a server speaks whose reply is no object.
#[derive(Debug)]
pub enum Stranger {
    /// The server at this address speaks HTTP.
    Http(SocketAddr),
    /// This dialect of the file protocol.
    Dialect(&'static str),
}

/// First bytes of replies. A status line begins with HTTP (RFC 9112, section 4); servers that take our
/// request for one of HTTP/0.9 answer it with a page alone. No two rows begin with the same byte.
const STARTS: [(&[u8], Option<&str>); 5] = [
    (b"HTTP/1.", None),
    (b"<", None),
    (b"READY TO RECEIVE FILE", Some("line")),
    (b"OK ", Some("sized")),
    (b"ERROR ", Some("sized")),
];

impl Stranger {
    /// Looks at what comes next from the server at `address`, and takes as much of it as is recognised.
    pub fn recognise(reader: &mut Reader<impl Read>, address: SocketAddr) -> Option<Stranger> {
        let mut next = |byte: u8| {
            let same = matches!(reader.available(), Ok([first, ..]) if *first == byte);
            if same {
                reader.consume(1);
            }
            same
        };
        let mut starts = STARTS.into_iter();
        let (_, dialect) = starts.find(|(start, _)| start.iter().all(|&byte| next(byte)))?;
        Some(dialect.map_or(Stranger::Http(address), Stranger::Dialect))
    }
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stranger::Http(address) => {
                let remedy =
                    format!("say --server http://{address} to list or download, or use a browser or curl");
                write!(f, "this looks like HTTP, not the file protocol; {remedy}")
            }
            Stranger::Dialect(name) => {
                let remedy =
                    "this client speaks delimiter alone, so start the server with --dialect delimiter";
                write!(f, "this looks like the {name} dialect; {remedy}")
            }
        }
    }
}
