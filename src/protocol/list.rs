//! How does LIST answer for a folder of any size? Piece by piece, as a file is sent. A connection whose peer
//! does not read holds one piece and the last name in it.

use super::head::Progress;
use super::reply::{Reply, Source, open};
use crate::json::Writer;
use crate::store::Listing;
use std::io;

/// Bytes of a piece; it is ended by the name that reaches them. Enough to make system calls cheap.
const PIECE: usize = 32 * 1024;

/// The names of the folder, as the value of a reply.
struct Names(Listing);

impl Reply {
    /// `{"status":"OK","data":["a.bin","b.bin"]}`
    pub fn list(listing: Listing) -> io::Result<Reply> {
        let text = open("OK", |w| {
            w.key("data");
            w.open(b'[');
        });
        Reply::in_pieces(text, 0, Names(listing))
    }
}

impl Source for Names {
    fn next(&mut self, text: &mut Vec<u8>, at: usize) -> io::Result<Progress> {
        text.truncate(at);
        let mut first = !self.0.has_begun();
        let more = self.0.advance(|name| {
            let mut writer = if first {
                Writer::new(text)
            } else {
                Writer::after_value(text)
            };
            first = false;
            writer.string(name);
            text.len() < PIECE
        });
        if more {
            return Ok(Progress::More);
        }
        text.push(b']');
        Ok(Progress::Complete)
    }
}
