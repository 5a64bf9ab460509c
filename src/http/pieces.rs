//! How is content sent whose length is not known in advance? In pieces, each made when the one before it is
//! sent: in chunks, or, to a peer that knows only HTTP/1.0, until the connection ends (RFC 9112, section 6).
//! What fits in one piece has a length and is sent like any other content.

use crate::http::request::Request;
use crate::http::response::{OutgoingReply, Reply};
use std::io::Write;
use std::mem;

/// Bytes of a piece; whatever is written as one, like a row of a page, ends it when it reaches them.
pub const PIECE: usize = 32 * 1024;

/// Where the content comes from.
pub trait Source: Send {
    /// Appends the next piece, which is not empty, to `out`; returns whether there are more.
    fn next(&mut self, out: &mut Vec<u8>) -> bool;
}

/// Content that has more than one piece.
pub struct Pieces {
    /// Made already, to know that there are more; taken when it is sent.
    first: Vec<u8>,
    source: Box<dyn Source>,
    /// The peer knows HTTP/1.1.
    chunked: bool,
    /// Which pieces are still to come: none after the last one.
    more: bool,
}

impl Reply {
    /// A text that was made for this request. The next one may differ, so no cache may keep it.
    pub fn fresh(kind: &str, text: impl Into<Vec<u8>>) -> Reply {
        let reply = Reply::new(200).text(kind, text);
        reply.field("Cache-Control", "no-store")
    }

    /// The same, of any length.
    pub fn in_pieces(kind: &str, mut source: impl Source + 'static) -> Reply {
        let mut first = Vec::new();
        if !source.next(&mut first) {
            return Reply::fresh(kind, first);
        }
        let mut reply = Reply::fresh(kind, "");
        reply.pieces = Some(Pieces {
            first,
            source: Box::new(source),
            chunked: true,
            more: true,
        });
        reply
    }

    /// Tells where the pieces end, in a field, or by closing the connection. False: there are none.
    pub fn write_framing(&mut self, head: &mut Vec<u8>, request: Option<&Request>) -> bool {
        let Some(pieces) = &mut self.pieces else {
            return false;
        };
        pieces.chunked = request.is_some_and(|request| request.modern);
        self.close |= !pieces.chunked;
        if pieces.chunked {
            head.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        true
    }
}

impl OutgoingReply {
    /// Puts the next piece in the place of what is sent; false: there is none.
    pub fn refill(&mut self) -> bool {
        let Some(pieces) = self.pieces.as_mut().filter(|pieces| pieces.more) else {
            return false;
        };
        self.text.clear();
        self.sent = 0;
        self.bytes += pieces.write_next(&mut self.text);
        true
    }
}

impl Pieces {
    /// chunk = 1*HEXDIG CR LF content CR LF; after the last one "0" CR LF CR LF
    ///
    /// Returns the bytes of the content.
    fn write_next(&mut self, out: &mut Vec<u8>) -> u64 {
        let mut piece = mem::take(&mut self.first);
        if piece.is_empty() {
            self.more = self.source.next(&mut piece);
        }
        if self.chunked {
            let _ = write!(out, "{:x}\r\n", piece.len());
        }
        out.extend_from_slice(&piece);
        if self.chunked {
            out.extend_from_slice(if self.more { b"\r\n" } else { b"\r\n0\r\n\r\n" });
        }
        piece.len() as u64
    }
}
