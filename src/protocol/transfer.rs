//! # Chapter 3b. How does a file cross the wire without ever being whole in memory?
//!
//! Up: whatever has arrived is decoded into one buffer and written to a temporary file. Down: one piece is
//! read, encoded and sent, then the next. Memory does not depend on the size of the file.
//!
//! ```text
//!   Body       socket ──256 KiB text──► decode ──192 KiB──► temporary file ──commit──► name
//!   Download   file ──192 KiB──► encode ──256 KiB text──► socket        (3 bytes are 4 symbols)
//! ```
//!
//! The invariant: two buffers of one piece each, whatever the peer does. The wrong version, which every
//! beginner writes first, collects the text of an upload, decodes it, then writes it: 50 clients with
//! 100 MiB each make it hold 11 GiB.
//!
//! What must not live here: replies and verbs.
//!
//! Experiment: change `PIECE` in `session.rs` to 3 KiB and to 3 MiB and run one row of the stress test.

use crate::b64::{self, Decoder, Encoder};
use crate::protocol::head::{EndMark, Refusal};
use crate::session::{PIECE, PIECE_TEXT};
use crate::store::Upload;
use std::fs::File;
use std::io::{self, Read};
use std::mem;

/// A payload may be this many times as long as its content: 1.33 for base64, 1.37 with line ends, and as much
/// again for other blanks. Without this bound blanks could go on for ever.
const TEXT_SLACK: u64 = 3;

/// Bytes of a payload that are allowed in any case: a tiny file may be written with a blank line or two.
const TEXT_ALLOWANCE: u64 = 4096;

/// An UPLOAD whose payload is arriving.
pub struct Body {
    upload: Upload,
    decoder: Decoder,
    /// How much of the end mark was seen last.
    mark: EndMark,
    /// Decoded bytes for the file; one piece.
    buffer: Vec<u8>,
    /// How much of `buffer` is filled.
    filled: usize,
}

impl Body {
    pub fn new(upload: Upload) -> Body {
        let buffer = vec![0; b64::decoded_room(PIECE_TEXT)];
        Body {
            upload,
            decoder: Decoder::new(),
            mark: EndMark::default(),
            buffer,
            filled: 0,
        }
    }

    /// Decodes into the file until the end mark (true) or the end of `bytes` (false); `used` grows.
    pub fn take(&mut self, bytes: &[u8], used: &mut usize) -> Result<bool, Refusal> {
        while *used < bytes.len() {
            let room = (self.buffer.len() - self.filled) / 3 * 4;
            let Some(room) = room.checked_sub(4).filter(|&room| room > 0) else {
                self.flush()?;
                continue;
            };
            let text = &bytes[*used..bytes.len().min(*used + room)];
            let step = self.decoder.decode(text, &mut self.buffer[self.filled..]);
            // Checked before any later error, so that the reply does not depend on how the stream was cut.
            let (seen, decoded) = self.decoder.progress();
            self.upload
                .require_room(decoded.max(seen.saturating_sub(TEXT_ALLOWANCE) / TEXT_SLACK))?;
            *used += step.read;
            self.filled += step.wrote;
            if step.read > 0 {
                self.mark = EndMark::default();
            }
            if step.read < text.len() {
                let byte = bytes[*used];
                if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                    return Err(self.decoder.reject(byte).into());
                }
                self.decoder.skip(1);
                *used += 1;
                if self.mark.feed(byte) {
                    return Ok(true);
                }
            }
        }
        self.flush()?;
        Ok(false)
    }

    fn flush(&mut self) -> Result<(), Refusal> {
        let filled = mem::take(&mut self.filled);
        Ok(self.upload.write(&self.buffer[..filled])?)
    }

    /// The state of the search for the end mark, for skipping the rest of the payload.
    pub fn mark(&self) -> EndMark {
        self.mark
    }

    /// The name that the file will have.
    pub fn name(&self) -> &str {
        self.upload.name()
    }

    /// After the end mark: writes the last bytes, then gives the file its name. Returns the length of the
    /// file in bytes.
    pub fn finish(mut self) -> Result<u64, Refusal> {
        self.flush()?;
        self.filled = self.decoder.finish(&mut self.buffer)?;
        self.flush()?;
        Ok(self.upload.commit()?)
    }
}

/// What closes the reply to a GET.
const TAIL: &[u8] = b"\"}\r\n\r\n";

/// The rest of a file that is being sent.
pub struct Download {
    file: File,
    /// Bytes not read yet.
    left: u64,
    encoder: Encoder,
    /// One piece as it is in the file.
    raw: Vec<u8>,
}

impl Download {
    /// Begins to send the first `size` bytes of `file`.
    pub fn new(file: File, size: u64) -> Download {
        let raw = vec![0; size.min(PIECE as u64) as usize];
        Download {
            file,
            left: size,
            encoder: Encoder::new(),
            raw,
        }
    }

    /// Room in bytes that `refill` needs. A carry of up to 2 bytes may join a piece.
    pub fn room(&self) -> usize {
        b64::encoded_len(self.raw.len() + 2) + 4 + TAIL.len()
    }

    /// All pieces have been encoded.
    pub fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Writes the next piece as text into `text`, and after the last one the end of the reply. Returns how
    /// many bytes it wrote.
    pub fn refill(&mut self, text: &mut [u8]) -> io::Result<usize> {
        let piece = self.raw.len().min(self.left as usize);
        // The whole piece, even if one read gives less; a file that has shrunk is an error.
        self.file.read_exact(&mut self.raw[..piece])?;
        self.left -= piece as u64;
        let mut length = self.encoder.encode(&self.raw[..piece], text);
        if self.left == 0 {
            length += self.encoder.finish(&mut text[length..]);
            text[length..length + TAIL.len()].copy_from_slice(TAIL);
            length += TAIL.len();
        }
        Ok(length)
    }
}
