//! # Chapter 15c. Where does a request's body end, and what happens to it?
//!
//! Either its length is in the head, or it comes in chunks, each with its own length in front, and ends with
//! a chunk of length zero and a trailer (RFC 9112, section 7.1). The chunks are read by a small automaton,
//! because a read of the socket may end anywhere, in the middle of a length as well.
//!
//! ```text
//!   5;name=value\r\n  h e l l o  \r\n   0\r\n  Trailer: x\r\n  \r\n
//!   └ Size ┘└ Extension ┘└ Data ┘└ DataEnd ┘└ Size ┘└────── Trailer ──────┘
//! ```
//!
//! The invariant: what is not content is bounded, and content is kept no longer than the read that brought
//! it.
//!
//! What must not live here: replies, what a method does.
//!
//! Experiment: read a chunk's size with `usize::from_str_radix` from whatever one read has brought, and send
//! it one byte at a time.

use crate::http::form::Form;
use crate::http::head::{Framing, Lines, Refusal, Request, malformed, plain, tchar};
use crate::session::PIECE_TEXT;
use crate::store::Upload;
use std::mem;

/// Most bytes of a trailer, and of the extensions of one chunk; both are read and discarded.
const EXTRAS: usize = 8192;

/// Most hexadecimal digits of a chunk's size: 2^60 bytes are more than any disk has.
const SIZE_DIGITS: usize = 15;

/// Bytes of a body that are not content are bounded: this many, and 16 for each byte of content (chunks of
/// one byte need 5). Without a bound extensions could go on for ever.
const OVERHEAD: u64 = 64 * 1024;

/// Most bytes of unwanted content that are read, so that the connection can go on; with more it is closed.
const UNWANTED: u64 = 1 << 20;

/// Pieces of content smaller than this, such as small chunks, are gathered and written to the file together.
const GATHER: usize = 16 * 1024;

/// The position in a body.
pub enum Body {
    /// Bytes that have not come yet.
    Length(u64),
    Chunked(Chunk),
}

/// The position in the chunks of a body.
pub enum Chunk {
    Size {
        value: u64,
        digits: usize,
    },
    /// What follows the size, up to the end of its line.
    Extension {
        value: u64,
        length: usize,
        part: ExtensionState,
    },
    Data(u64),
    /// How many bytes of the CR LF after the data have been seen.
    DataEnd(usize),
    Trailer {
        lines: Lines,
        /// Bytes so far.
        length: usize,
        /// Bytes of the name of the field that has begun; `None` after its colon.
        name: Option<usize>,
    },
}

/// The position in the extensions of a chunk.
///
/// ```text
/// extensions = *( BWS ";" BWS name [ BWS "=" BWS value ] )    (RFC 9112, section 7.1.1)
/// name       = token
/// value      = token / quoted-string                          (RFC 9110, section 5.6.4)
/// BWS        = *( SP / HTAB )
/// ```
#[derive(Clone, Copy)]
pub enum ExtensionState {
    /// Blanks after a size or a value; only `;` ends them.
    Blank,
    /// After `;`, with blanks.
    NameStart,
    Name,
    /// Blanks after a name.
    NameEnd,
    /// After `=`, with blanks.
    ValueStart,
    Value,
    Quoted,
    /// After a backslash between the quotes.
    Escaped,
    /// After the second quote.
    QuoteEnd,
    /// After the CR of the line's end.
    Cr,
}

impl ExtensionState {
    /// The state after the first byte that follows a size; `None`: this byte is not allowed there.
    fn first(byte: u8) -> Option<ExtensionState> {
        ExtensionState::QuoteEnd.next(byte)
    }

    /// The state after the next byte of the extensions; `None`: this byte is not allowed there.
    fn next(self, byte: u8) -> Option<ExtensionState> {
        Some(match (self, byte) {
            (ExtensionState::Quoted, b'"') => ExtensionState::QuoteEnd,
            (ExtensionState::Quoted, b'\\') => ExtensionState::Escaped,
            (ExtensionState::Quoted | ExtensionState::Escaped, byte) if plain(byte) => ExtensionState::Quoted,
            (ExtensionState::NameStart | ExtensionState::Name, byte) if tchar(byte) => ExtensionState::Name,
            (ExtensionState::ValueStart | ExtensionState::Value, byte) if tchar(byte) => {
                ExtensionState::Value
            }
            (ExtensionState::ValueStart, b'"') => ExtensionState::Quoted,
            (ExtensionState::Name | ExtensionState::NameEnd, b'=') => ExtensionState::ValueStart,
            (ExtensionState::NameStart | ExtensionState::ValueStart, b' ' | b'\t') => self,
            (ExtensionState::Name | ExtensionState::NameEnd, b' ' | b'\t') => ExtensionState::NameEnd,
            (ExtensionState::Value | ExtensionState::QuoteEnd | ExtensionState::Blank, b' ' | b'\t') => {
                ExtensionState::Blank
            }
            (
                ExtensionState::Name
                | ExtensionState::NameEnd
                | ExtensionState::Value
                | ExtensionState::QuoteEnd
                | ExtensionState::Blank,
                b';',
            ) => ExtensionState::NameStart,
            (ExtensionState::Name | ExtensionState::Value | ExtensionState::QuoteEnd, b'\r') => {
                ExtensionState::Cr
            }
            _ => return None,
        })
    }
}

/// The result of one step.
pub struct Step<'b> {
    /// Bytes that the step has used.
    pub used: usize,
    /// The content among them.
    pub content: &'b [u8],
    /// The body is over.
    pub over: bool,
}

impl Body {
    /// `None`: there is none.
    pub fn new(framing: Framing) -> Option<Body> {
        match framing {
            Framing::None | Framing::Length(0) => None,
            Framing::Length(length) => Some(Body::Length(length)),
            Framing::Chunked => Some(Body::Chunked(Chunk::size())),
        }
    }

    /// Takes a step into `bytes`, which are not empty.
    pub fn step<'b>(&mut self, bytes: &'b [u8]) -> Result<Step<'b>, Refusal> {
        match self {
            Body::Length(left) => {
                let content = prefix(bytes, *left);
                *left -= content.len() as u64;
                Ok(Step {
                    used: content.len(),
                    content,
                    over: *left == 0,
                })
            }
            Body::Chunked(Chunk::Data(left)) => {
                let content = prefix(bytes, *left);
                *left -= content.len() as u64;
                if *left == 0 {
                    *self = Body::Chunked(Chunk::DataEnd(0));
                }
                Ok(Step {
                    used: content.len(),
                    content,
                    over: false,
                })
            }
            Body::Chunked(chunk) => Ok(Step {
                used: 1,
                content: &[],
                over: chunk.feed(bytes[0])?,
            }),
        }
    }
}

/// The first `most` of `bytes`, or all.
fn prefix(bytes: &[u8], most: u64) -> &[u8] {
    &bytes[..bytes.len().min(usize::try_from(most).unwrap_or(usize::MAX))]
}

impl Chunk {
    fn size() -> Chunk {
        Chunk::Size { value: 0, digits: 0 }
    }

    /// The next byte that is not content; true when it is the last one of the body.
    ///
    /// ```text
    /// chunk   = 1*HEXDIG extensions CR LF data CR LF
    /// body    = *chunk 1*"0" extensions CR LF *( field-line CR LF ) CR LF
    /// ```
    fn feed(&mut self, byte: u8) -> Result<bool, Refusal> {
        match self {
            Chunk::Size { value, digits } => match char::from(byte).to_digit(16) {
                Some(_) if *digits == SIZE_DIGITS => return malformed("a chunk size that is too long"),
                Some(digit) => (*value, *digits) = (*value << 4 | u64::from(digit), *digits + 1),
                None => match ExtensionState::first(byte).filter(|_| *digits > 0) {
                    Some(part) => {
                        *self = Chunk::Extension {
                            value: *value,
                            length: 1,
                            part,
                        }
                    }
                    None => return malformed("a chunk size that is no hexadecimal number"),
                },
            },
            Chunk::Extension {
                value,
                part: ExtensionState::Cr,
                ..
            } => match byte {
                b'\n' => *self = Chunk::open(*value),
                _ => return malformed("a CR without LF"),
            },
            Chunk::Extension { length: EXTRAS, .. } if byte != b'\r' => {
                return Err(Refusal::closing(
                    431,
                    format!("chunk extension larger than {EXTRAS} bytes"),
                ));
            }
            Chunk::Extension { length, part, .. } => match part.next(byte) {
                Some(next) => (*part, *length) = (next, *length + 1),
                None => return malformed("a chunk extension that is not: ; name = value"),
            },
            Chunk::DataEnd(seen) => match (*seen, byte) {
                (0, b'\r') => *seen = 1,
                (1, b'\n') => *self = Chunk::size(),
                _ => return malformed("a chunk longer than its size"),
            },
            Chunk::Trailer { lines, length, name } => {
                *length += 1;
                if *length > EXTRAS {
                    return Err(Refusal::closing(
                        431,
                        format!("trailer larger than {EXTRAS} bytes"),
                    ));
                }
                *name = match (*name, byte) {
                    (_, b'\n') => Some(0),
                    (Some(0), b'\r') | (Some(1..), b':') | (None, _) => None,
                    (Some(count), byte) if tchar(byte) => Some(count + 1),
                    (Some(_), _) => return malformed("a trailer line without a name"),
                };
                return lines.feed(byte);
            }
            Chunk::Data(_) => {}
        }
        Ok(false)
    }

    /// The line of the size is over.
    fn open(size: u64) -> Chunk {
        match size {
            0 => Chunk::Trailer {
                lines: Lines::default(),
                length: 0,
                name: Some(0),
            },
            size => Chunk::Data(size),
        }
    }
}

/// A request whose body is arriving.
pub struct BodyReader {
    pub request: Request,
    body: Body,
    pub action: BodyAction,
    /// Bytes of content so far.
    arrived: u64,
    /// Bytes that were not content: sizes, extensions, line ends.
    overhead: u64,
}

/// What to do with a body.
pub enum BodyAction {
    Store(Upload),
    /// It is a form with files in it (`http/form.rs`).
    Form(Form),
    /// Read and discard it; then refuse the request, if there is a refusal.
    Discard(Option<Refusal>),
}

impl BodyReader {
    pub fn new(request: Request, body: Body, action: BodyAction) -> BodyReader {
        BodyReader {
            request,
            body,
            action,
            arrived: 0,
            overhead: 0,
        }
    }

    /// The refusal to send without waiting for the body. Usually a refused body is read to its end, because a
    /// peer that is still sending does not read; but not if it has not begun to send, or if the body is long.
    pub fn refuse_early(&mut self, expects_continue: bool) -> Option<Refusal> {
        let BodyAction::Discard(refusal) = &mut self.action else {
            return None;
        };
        let left = if let Body::Length(left) = self.body {
            left
        } else {
            0
        };
        let long = self.arrived + left > UNWANTED;
        let closes = refusal
            .as_ref()
            .is_some_and(|refusal| refusal.close || expects_continue);
        let refusal = if long || closes {
            refusal.take()
        } else {
            return None;
        };
        let refusal = refusal.unwrap_or_else(|| Refusal::new(413, "a body that nobody asked for"));
        Some(Refusal {
            close: true,
            ..refusal
        })
    }

    /// Reads the body from `bytes` until the body ends (true) or the bytes do (false); `used` grows. After an
    /// error the connection is closed.
    pub fn take(&mut self, bytes: &[u8], used: &mut usize) -> Result<bool, Refusal> {
        let mut gathered = Vec::new();
        let mut over = false;
        while *used < bytes.len() && !over {
            let step = self.body.step(&bytes[*used..])?;
            *used += step.used;
            over = step.over;
            self.arrived += step.content.len() as u64;
            self.overhead += (step.used - step.content.len()) as u64;
            if self.overhead > OVERHEAD + 16 * self.arrived {
                return Err(Refusal::closing(
                    431,
                    "chunks that consist of everything but content",
                ));
            }
            if gathered.is_empty() && step.content.len() >= GATHER {
                self.write(step.content)?;
                continue;
            }
            gathered.extend_from_slice(step.content);
            if gathered.len() >= PIECE_TEXT {
                self.write(&mem::take(&mut gathered))?;
            }
        }
        self.write(&gathered)?;
        Ok(over)
    }

    fn write(&mut self, content: &[u8]) -> Result<(), Refusal> {
        let written = match &mut self.action {
            BodyAction::Store(upload) => upload.write(content).map_err(Refusal::from),
            BodyAction::Form(form) => form.take(content),
            BodyAction::Discard(_) => Ok(()),
        };
        if let Err(refusal) = written {
            self.action = BodyAction::Discard(Some(refusal));
        }
        self.refuse_early(false).map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The content of `text`, read in pieces of `piece` bytes, and how many bytes that took; or the status.
    fn read(framing: Framing, text: &[u8], piece: usize) -> Result<(Vec<u8>, Option<usize>), u16> {
        let mut body = Body::new(framing).unwrap();
        let (mut content, mut at) = (Vec::new(), 0);
        for piece in text.chunks(piece) {
            let mut used = 0;
            while used < piece.len() {
                let step = body.step(&piece[used..]).map_err(|refusal| refusal.status)?;
                content.extend_from_slice(step.content);
                used += step.used;
                if step.over {
                    return Ok((content, Some(at + used)));
                }
            }
            at += used;
        }
        Ok((content, None))
    }

    fn chunked(text: &[u8]) -> Result<(Vec<u8>, Option<usize>), u16> {
        let whole = read(Framing::Chunked, text, usize::MAX);
        for piece in 1..text.len().min(9) {
            assert_eq!(read(Framing::Chunked, text, piece), whole, "{piece}");
        }
        whole
    }

    #[test]
    fn a_length_is_counted() {
        for piece in 1..8 {
            assert_eq!(
                read(Framing::Length(5), b"helloGET", piece),
                Ok((b"hello".to_vec(), Some(5)))
            );
        }
        assert_eq!(
            read(Framing::Length(u64::MAX), b"hello", 2),
            Ok((b"hello".to_vec(), None))
        );
        assert!(Body::new(Framing::Length(0)).is_none() && Body::new(Framing::None).is_none());
    }

    #[test]
    fn chunks_are_put_together() {
        let table: [(&[u8], &[u8]); 9] = [
            (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
            (b"2\r\nhe\r\n00003\r\nllo\r\n0000\r\n\r\n", b"hello"),
            (
                b"a;name=\"v\";x\r\n0123456789\r\n0;last\r\nTrailer: x\r\nMore: y\r\n\r\n",
                b"0123456789",
            ),
            (b"5;a;b=c;d=\"e\"\r\nhello\r\n0\r\n\r\n", b"hello"),
            (b"5 \t; \ta \t= \tb \t; \tc\r\nhello\r\n0 ;a\r\n\r\n", b"hello"),
            (
                b"5;a=\"\" ;b= \"\\\"\\\\;=\xff\t\"\r\nhello\r\n0\r\n\r\n",
                b"hello",
            ),
            (b"5;a=\"\\\xff\"\r\nhello\r\n0;!=~\r\n\r\n", b"hello"),
            (b"A\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n\r\n\r\n\r\n"),
            (b"0\r\n\r\n", b""),
        ];
        for (text, content) in table {
            assert_eq!(chunked(text), Ok((content.to_vec(), Some(text.len()))));
            let more = [text, b"GET / HTTP/1.1"].concat();
            assert_eq!(chunked(&more), Ok((content.to_vec(), Some(text.len()))));
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        let table: [&[u8]; 36] = [
            b"\r\n",
            b";\r\n",
            b"x\r\n",
            b"+5\r\nhello\r\n",
            b"-1\r\n",
            b"0x5\r\nhello\r\n",
            b" 5\r\nhello\r\n",
            b"5 \r\nhello\r\n",
            b"5\nhello\r\n",
            b"5\rhello\r\n",
            b"5;\x01\r\nhello\r\n",
            b"5;\r\nhello\r\n",
            b"5; \r\nhello\r\n",
            b"5;;a\r\nhello\r\n",
            b"5;a;\r\nhello\r\n",
            b"5;a \r\nhello\r\n",
            b"5;a b\r\nhello\r\n",
            b"5;=b\r\nhello\r\n",
            b"5;a=\r\nhello\r\n",
            b"5;a=;b\r\nhello\r\n",
            b"5;a==b\r\nhello\r\n",
            b"5;a=b=c\r\nhello\r\n",
            b"5;a=b \r\nhello\r\n",
            b"5;a=b c\r\nhello\r\n",
            b"5;a=b\"c\"\r\nhello\r\n",
            b"5;a=\"b\r\nhello\r\n",
            b"5;a=\"b\"c\r\nhello\r\n",
            b"5;a=\"b\\\r\n\"\r\nhello\r\n",
            b"5;a=\"\x7f\"\r\nhello\r\n",
            b"5 a\r\nhello\r\n",
            b"5\r\nhello!\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"0\r\nTrailer: x\n\r\n",
            b"0\r\n: x\r\n\r\n",
            b"0\r\n Trailer: x\r\n\r\n",
            b"0\r\nGET / HTTP/1.1\r\n\r\n",
        ];
        for text in table {
            assert_eq!(chunked(text), Err(400), "{}", String::from_utf8_lossy(text));
        }
        assert_eq!(chunked(b"1000000000000000\r\n"), Err(400));
        assert_eq!(chunked(b"fffffffffffffff\r\nx"), Ok((b"x".to_vec(), None)));
    }

    #[test]
    fn what_is_no_content_is_bounded() {
        let extension = |length: usize| format!("0;{}\r\n\r\n", "x".repeat(length - 1));
        assert!(chunked(extension(EXTRAS).as_bytes()).is_ok_and(|read| read.1.is_some()));
        assert_eq!(chunked(extension(EXTRAS + 1).as_bytes()), Err(431));
        let trailer = |length: usize| format!("0\r\nx:{}\r\n\r\n", "x".repeat(length - 6));
        assert!(chunked(trailer(EXTRAS).as_bytes()).is_ok_and(|read| read.1.is_some()));
        assert_eq!(chunked(trailer(EXTRAS + 1).as_bytes()), Err(431));
    }
}
