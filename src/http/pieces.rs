//! How is content sent whose length is not known in advance? In pieces, each made when the one before it is
//! sent: in chunks, or, to a peer that knows only HTTP/1.0, until the connection ends (RFC 9112, section 6).
//! What fits in one piece has a length and is sent like any other content.

use crate::http::request::Request;
use crate::http::response::{OutgoingReply, Reply};
use std::io::{self, Write};
use std::mem;

/// Bytes of a piece; whatever is written as one, like a row of a page, ends it when it reaches them.
pub const PIECE: usize = 32 * 1024;

/// Where the content comes from.
pub trait Source: Send {
    /// Appends the next piece, which is not empty, to `out`; returns whether there are more.
    fn next(&mut self, out: &mut Vec<u8>) -> io::Result<bool>;
}

/// Content that has more than one piece.
pub struct Pieces {
    /// Made already, to know that there are more; taken when it is sent.
    first: Vec<u8>,
    source: Box<dyn Source>,
    /// The peer knows HTTP/1.1.
    chunked: bool,
    /// Not all pieces have been sent.
    more: bool,
}

impl Reply {
    /// A text that was made for this request. The next one may differ, so no cache may keep it.
    pub fn fresh(kind: &str, text: impl Into<Vec<u8>>) -> Reply {
        let reply = Reply::new(200).text(kind, text);
        reply.field("Cache-Control", "no-store")
    }

    /// The same, of any length.
    pub fn in_pieces(kind: &str, mut source: impl Source + 'static) -> io::Result<Reply> {
        let mut first = Vec::new();
        if !source.next(&mut first)? {
            return Ok(Reply::fresh(kind, first));
        }
        let mut reply = Reply::fresh(kind, "");
        reply.pieces = Some(Pieces {
            first,
            source: Box::new(source),
            chunked: true,
            more: true,
        });
        Ok(reply)
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
    pub fn refill(&mut self) -> io::Result<bool> {
        let Some(pieces) = self.pieces.as_mut().filter(|pieces| pieces.more) else {
            return Ok(false);
        };
        self.text.clear();
        self.sent = 0;
        self.bytes += pieces.write_next(&mut self.text)?;
        Ok(true)
    }
}

impl Pieces {
    /// chunk = 1*HEXDIG CR LF content CR LF; after the last one "0" CR LF CR LF
    ///
    /// Returns the bytes of the content.
    fn write_next(&mut self, out: &mut Vec<u8>) -> io::Result<u64> {
        let mut piece = mem::take(&mut self.first);
        if piece.is_empty() {
            self.more = self.source.next(&mut piece)?;
        }
        if self.chunked {
            write!(out, "{:x}\r\n", piece.len())?;
        }
        out.extend_from_slice(&piece);
        if self.chunked {
            out.extend_from_slice(if self.more { b"\r\n" } else { b"\r\n0\r\n\r\n" });
        }
        Ok(piece.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{HttpSession, Names};
    use crate::session::{Folder, play};
    use crate::stats::{RequestLog, Scoreboard};
    use crate::store::{Policy, Store};
    use std::sync::Arc;

    /// What is answered to these requests by a folder of several pieces, whose replies leave `take` bytes at
    /// a time.
    fn answer(requests: &str, take: usize) -> String {
        let folder = Folder::new();
        for number in 100..500 {
            folder.write(&format!("{number}{}", "x".repeat(240)), b"x");
        }
        let policy = Policy {
            read_only: Some("no"),
            max_upload: 0,
            sync: false,
        };
        let store = Arc::new(Store::open(folder.path(), policy).unwrap());
        let scoreboard = Scoreboard::new("single", 1).unwrap();
        let log = RequestLog::new(scoreboard.worker(0), None);
        let mut session = HttpSession::new(store, log, Arc::new(Names::All));
        String::from_utf8(play(&mut session, requests.as_bytes(), 4096, take)).unwrap()
    }

    /// The chunks at the beginning of `text`, and what comes after the last one.
    fn chunks(mut text: &str) -> (Vec<&str>, &str) {
        let mut chunks = Vec::new();
        loop {
            let (size, rest) = text.split_once("\r\n").unwrap();
            let (chunk, rest) = rest.split_at(usize::from_str_radix(size, 16).unwrap());
            text = rest.strip_prefix("\r\n").unwrap();
            match chunk {
                "" => return (chunks, text),
                chunk => chunks.push(chunk),
            }
        }
    }

    #[test]
    fn a_page_of_several_pieces_comes_in_chunks_however_it_is_read() {
        let rows = |page: &str| page.matches("<tr><th scope=row><a href=").count();
        for take in [1, 1000, 1 << 20] {
            let two = "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /?json HTTP/1.1\r\nHost: h\r\n\r\n";
            let answer = answer(two, take);
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.contains("\r\nTransfer-Encoding: chunked") && !head.contains("Content-Length"));
            let (pieces, rest) = chunks(body);
            assert!(pieces.len() > 2 && pieces.iter().all(|piece| piece.len() < PIECE + 2000));
            let page = pieces.concat();
            assert_eq!(rows(&page), 400);
            assert!(page.contains("<caption>400 files.</caption>") && page.ends_with("</footer>\n"));
            assert!(page.contains("<th scope=row>Total<td>400 B<td>\n</table>\n"));
            let json = chunks(rest.split_once("\r\n\r\n").unwrap().1).0.concat();
            assert!(json.starts_with("[{\"name\":\"100x") && json.ends_with("}]\n"));
            assert_eq!(json.matches("},{\"name\":\"").count(), 399);
        }
    }

    #[test]
    fn who_knows_no_chunks_reads_to_the_end_of_the_connection() {
        let two = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n";
        let answer = answer(two, 1000);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\nConnection: close") && !head.contains("Transfer-Encoding"));
        assert!(body.starts_with("<!DOCTYPE html>") && body.ends_with("</footer>\n"));
        assert_eq!(body.matches("<!DOCTYPE").count(), 1);
    }

    #[test]
    fn head_has_the_fields_and_no_piece() {
        let answer = answer(&"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(2), 1000);
        assert_eq!(answer.matches("\r\nTransfer-Encoding: chunked\r\n").count(), 2);
        assert!(answer.ends_with("\r\n\r\n") && !answer.contains('<'));
    }
}
