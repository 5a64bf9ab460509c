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
        let mut first = !self.0.has_given();
        let more = self.0.advance(|name| {
            Writer::in_list(text, first).string(name);
            first = false;
            text.len() < PIECE
        })?;
        if more {
            return Ok(Progress::More);
        }
        text.push(b']');
        Ok(Progress::Complete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::FileSession;
    use crate::session::{Folder, play};
    use crate::stats::{RequestLog, Scoreboard};
    use crate::store::{Policy, Store};
    use std::sync::Arc;

    #[test]
    fn a_list_of_several_pieces_is_one_value_however_it_is_read() {
        let folder = Folder::new();
        let names: Vec<String> = (100..500).map(|n| format!("{n}\"{}", "x".repeat(240))).collect();
        names.iter().rev().for_each(|name| folder.write(name, b""));
        let policy = Policy {
            read_only: Some("no"),
            max_upload: 0,
            sync: false,
        };
        let store = Arc::new(Store::open(folder.path(), policy).unwrap());
        let scoreboard = Scoreboard::new("single", 1).unwrap();
        let quoted = names
            .iter()
            .map(|name| format!("\"{}\"", name.replace('"', "\\\"")));
        let list = quoted.collect::<Vec<_>>().join(",");
        assert!(list.len() > 3 * PIECE);
        let expected = format!("{{\"status\":\"OK\",\"data\":[{list}]}}\r\n\r\n").repeat(2);
        for take in [1, 1000, PIECE, 1 << 20] {
            let log = RequestLog::new(scoreboard.worker(0), None);
            let mut session = FileSession::new(store.clone(), log);
            let reply = play(&mut session, b"LIST\nLIST\n", 4096, take);
            assert!(reply == expected.as_bytes(), "{take} bytes at a time");
        }
    }
}
