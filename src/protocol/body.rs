//! How does a file arrive without ever being whole in memory? What one read has brought is decoded into one
//! buffer and written to a temporary file, which gets its name at the end mark. The wrong version, which
//! every beginner writes first, collects the text of an upload, decodes it, then writes it: 50 clients with
//! 100 MiB each make it hold 11 GiB.

use crate::b64::{self, Decoder};
use crate::protocol::head::{EndMark, Progress};
use crate::protocol::reply::Refusal;
use crate::session::PIECE_TEXT;
use crate::store::Upload;
use std::mem;

/// A payload may be this many times as long as its content: 1.33 for base64, 1.37 with line ends, and as much
/// again for other blanks. Without this bound blanks could go on for ever.
pub const TEXT_SLACK: u64 = 3;

/// Bytes of a payload that are allowed in any case: a tiny file may be written with a blank line or two.
pub const TEXT_ALLOWANCE: u64 = 4096;

/// An UPLOAD whose payload is arriving; what is public here, besides `mark`, is so for `dialects`:
///
/// ```text
/// socket ──256 KiB text──► decode ──192 KiB──► temporary file ──commit──► name
/// ```
pub struct Body {
    pub upload: Upload,
    pub decoder: Decoder,
    /// How much of the end mark was seen last.
    pub mark: EndMark,
    /// Decoded bytes for the file: room for what one read can bring, and for what was carried before it.
    buffer: Vec<u8>,
    /// How much of `buffer` is filled.
    filled: usize,
}

impl Body {
    pub fn new(upload: Upload) -> Body {
        Body {
            upload,
            decoder: Decoder::new(),
            mark: EndMark::default(),
            buffer: vec![0; b64::decoded_room(PIECE_TEXT)],
            filled: 0,
        }
    }

    /// Decodes what one read has brought, up to the end mark or to its end, and cuts that off its front.
    pub fn take(&mut self, bytes: &mut &[u8]) -> Result<Progress, Refusal> {
        while !bytes.is_empty() {
            let decoded = self.decode(bytes)?;
            *bytes = &bytes[decoded..];
            let Some((&byte, rest)) = bytes.split_first() else {
                break;
            };
            let progress = self.pass_blank(byte)?;
            *bytes = rest;
            if progress == Progress::Complete {
                return Ok(progress);
            }
        }
        self.flush()?;
        Ok(Progress::More)
    }

    /// Decodes `text` up to the first byte that cannot stand there; returns how many bytes that took.
    fn decode(&mut self, text: &[u8]) -> Result<usize, Refusal> {
        let step = self.decoder.decode(text, &mut self.buffer[self.filled..]);
        // Checked before any later error, so that the reply does not depend on how the stream was cut.
        let (seen, decoded) = self.decoder.progress();
        let at_least = seen.saturating_sub(TEXT_ALLOWANCE) / TEXT_SLACK;
        self.upload.require_room(decoded.max(at_least))?;
        self.filled += step.wrote;
        if step.read > 0 {
            self.mark = EndMark::default();
        }
        Ok(step.read)
    }

    /// A byte between two lines of base64, or of the end mark.
    fn pass_blank(&mut self, byte: u8) -> Result<Progress, Refusal> {
        if !b" \t\r\n".contains(&byte) {
            return Err(self.decoder.reject(byte).into());
        }
        self.decoder.skip(1);
        Ok(self.mark.feed(byte))
    }

    pub fn flush(&mut self) -> Result<(), Refusal> {
        let filled = mem::take(&mut self.filled);
        Ok(self.upload.write(&self.buffer[..filled])?)
    }

    /// After the end mark: writes the last bytes, then gives the file its name. Returns the name, and the
    /// length of the file in bytes.
    pub fn finish(mut self) -> Result<(String, u64), Refusal> {
        self.filled += self.decoder.finish(&mut self.buffer[self.filled..])?;
        self.flush()?;
        let name = self.upload.name().to_owned();
        Ok((name, self.upload.commit()?))
    }
}
