//! Where does a request's body end, and what happens to it? Its length is in the head, or it comes in
//! chunks, each with its own length in front (RFC 9112, section 7.1). A read of the socket may end
//! anywhere, in the middle of a chunk's length as well. Content is kept no longer than the read that
//! brought it; all else is bounded.

use crate::http::conditions::Conditions;
use crate::http::form::Form;
use crate::http::head::Lines;
use crate::http::request::{Framing, Request, name_length, tchar};
use crate::http::status::{Refusal, malformed};
use crate::session::PIECE_TEXT;
use crate::store::Upload;

/// Most bytes of a line between the chunks: a size with its extensions, or a field of the trailer.
const LINE: usize = 8192;

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
    Chunked(Chunks),
}

/// The position in the chunks of a body.
///
/// ```text
///   5;name=value\r\n  h e l l o  \r\n   0\r\n  Trailer: x\r\n  \r\n
///   └───── Size ────┘└─ Data ──┘└ DataEnd ┘└ Size ┘└─────── Trailer ────────┘ Over
/// ```
#[derive(Default)]
pub struct Chunks {
    part: Part,
    /// The line that has begun, in every part but `Data`; at most `LINE` bytes and its end.
    line: Vec<u8>,
    lines: Lines,
}

#[derive(Default)]
enum Part {
    #[default]
    Size,
    /// Bytes of this chunk that have not come yet.
    Data(u64),
    DataEnd,
    Trailer,
    Over,
}

impl Body {
    /// `None`: there is none.
    pub fn new(framing: Framing) -> Option<Body> {
        match framing {
            Framing::None | Framing::Length(0) => None,
            Framing::Length(length) => Some(Body::Length(length)),
            Framing::Chunked => Some(Body::Chunked(Chunks::default())),
        }
    }

    fn is_over(&self) -> bool {
        matches!(
            self,
            Body::Length(0) | Body::Chunked(Chunks { part: Part::Over, .. })
        )
    }

    /// Takes the content that `bytes`, which are not empty, begin with. If they begin with none, this takes
    /// one byte that is not content.
    fn step<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Refusal> {
        let left = match self {
            Body::Length(left) => left,
            Body::Chunked(Chunks {
                part: Part::Data(left),
                ..
            }) => left,
            Body::Chunked(chunks) => return chunks.feed(bytes[0]).map(|()| &[][..]),
        };
        let content = &bytes[..bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX))];
        *left -= content.len() as u64;
        if let Body::Chunked(
            chunks @ Chunks {
                part: Part::Data(0), ..
            },
        ) = self
        {
            chunks.part = Part::DataEnd;
        }
        Ok(content)
    }
}

impl Chunks {
    /// Takes a byte that is not content.
    ///
    /// ```text
    /// body    = *chunk 1*"0" extensions CR LF *( field-line CR LF ) CR LF
    /// chunk   = 1*HEXDIG extensions CR LF data CR LF
    /// ```
    fn feed(&mut self, byte: u8) -> Result<(), Refusal> {
        self.line.push(byte);
        if self.line.len() > LINE + 2 {
            return malformed(&format!("a line between chunks longer than {LINE} bytes"));
        }
        let Some(length) = self.lines.feed(byte)? else {
            return Ok(());
        };
        let line = &self.line[..length];
        self.part = match self.part {
            Part::Size => match size_of(line)? {
                0 => Part::Trailer,
                size => Part::Data(size),
            },
            Part::DataEnd if length > 0 => return malformed("a chunk longer than its size"),
            Part::DataEnd => Part::Size,
            Part::Trailer if length > 0 => name_length(line).map(|_| Part::Trailer)?,
            Part::Trailer | Part::Data(_) | Part::Over => Part::Over,
        };
        self.line.clear();
        Ok(())
    }
}

/// The size of a chunk.
///
/// ```text
/// line       = 1*HEXDIG extensions
/// extensions = *( BWS ";" BWS name [ BWS "=" BWS value ] )    (RFC 9112, section 7.1.1)
/// name       = token
/// value      = token / quoted                                 (RFC 9110, section 5.6.4)
/// BWS        = *( SP / HTAB )
/// ```
fn size_of(line: &[u8]) -> Result<u64, Refusal> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, mut rest) = line.split_at(digits);
    if !(1..=SIZE_DIGITS).contains(&digits.len()) {
        return malformed("a chunk size that is not 1 to 15 hexadecimal digits");
    }
    while !rest.is_empty() {
        rest = after_extension(rest)
            .map_or_else(|| malformed("a chunk extension that is not: ; name = value"), Ok)?;
    }
    let add = |size, &digit: &u8| size << 4 | u64::from(char::from(digit).to_digit(16).unwrap_or(0));
    Ok(digits.iter().fold(0, add))
}

/// What follows the extension that `text` begins with; `None`: it begins with none.
fn after_extension(text: &[u8]) -> Option<&[u8]> {
    let rest = after_token(after_blanks(after_blanks(text).strip_prefix(b";")?))?;
    match after_blanks(rest).strip_prefix(b"=").map(after_blanks) {
        None => Some(rest),
        Some([b'"', quoted @ ..]) => after_quoted(quoted),
        Some(value) => after_token(value),
    }
}

fn after_blanks(text: &[u8]) -> &[u8] {
    let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
    &text[text.iter().take_while(is_blank).count()..]
}

fn after_token(text: &[u8]) -> Option<&[u8]> {
    let count = text.iter().take_while(|&&byte| tchar(byte)).count();
    Some(&text[count..]).filter(|_| count > 0)
}

/// quoted = DQUOTE *( qdtext / "\" any ) DQUOTE, of which the first quote is taken
fn after_quoted(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = match text {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', _, rest @ ..] | [_, rest @ ..] => rest,
            [] => return None,
        };
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
    /// It is a file, which may be stored if the conditions still hold then.
    Store(Upload, Conditions),
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
        let left = match self.body {
            Body::Length(left) => left,
            Body::Chunked(_) => 0,
        };
        let closes = |refusal: &Refusal| refusal.close || expects_continue;
        if self.arrived + left <= UNWANTED && !refusal.as_ref().is_some_and(closes) {
            return None;
        }
        let unwanted = || Refusal::new(413, "a body that was not asked for");
        let mut refusal = refusal.take().unwrap_or_else(unwanted);
        refusal.close = true;
        Some(refusal)
    }

    /// Most bytes that should come next.
    pub fn largest_read(&self) -> usize {
        match &self.action {
            BodyAction::Form(form) => form.largest_read(),
            _ => PIECE_TEXT,
        }
    }

    /// Reads the body from `bytes` until the body ends (true) or the bytes do (false); `used` grows. After an
    /// error the connection is closed.
    pub fn take(&mut self, bytes: &[u8], used: &mut usize) -> Result<bool, Refusal> {
        // At most as much as `bytes`, which are one read.
        let mut gathered = Vec::new();
        while *used < bytes.len() && !self.body.is_over() {
            let content = self.body.step(&bytes[*used..])?;
            *used += content.len().max(1);
            self.arrived += content.len() as u64;
            self.overhead += u64::from(content.is_empty());
            if self.overhead > OVERHEAD + 16 * self.arrived {
                return Err(Refusal::new(431, "chunks that consist of everything but content"));
            }
            if gathered.is_empty() && content.len() >= GATHER {
                self.write(content)?;
                continue;
            }
            gathered.extend_from_slice(content);
        }
        self.write(&gathered)?;
        Ok(self.body.is_over())
    }

    fn write(&mut self, content: &[u8]) -> Result<(), Refusal> {
        let written = match &mut self.action {
            BodyAction::Store(upload, _) => upload.write(content).map_err(Refusal::from),
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
                let found = body.step(&piece[used..]).map_err(|refusal| refusal.status)?;
                content.extend_from_slice(found);
                used += found.len().max(1);
                if body.is_over() {
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
        let table: [&[u8]; 37] = [
            b"\r\n",
            b"1000000000000000\r\n",
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
        assert_eq!(chunked(b"fffffffffffffff\r\nx"), Ok((b"x".to_vec(), None)));
    }

    #[test]
    fn what_is_no_content_is_bounded() {
        let size = |length: usize| format!("0;{}\r\n\r\n", "x".repeat(length - 2));
        let trailer = |length: usize| format!("0\r\nx:{}\r\n\r\n", "x".repeat(length - 2));
        for text in [size(LINE), trailer(LINE)] {
            assert!(chunked(text.as_bytes()).is_ok_and(|read| read.1.is_some()));
        }
        for text in [size(LINE + 1), trailer(LINE + 1)] {
            assert_eq!(chunked(text.as_bytes()), Err(400));
        }
    }

    /// Chunks by the shortest way, without extensions and trailers: their content, and the bytes that took.
    /// `None`: not whole, or more than this can tell. `Some(None)`: it is wrong.
    type Naive = Option<Option<(Vec<u8>, usize)>>;

    fn naive(text: &[u8]) -> Naive {
        let (mut content, mut at) = (Vec::new(), 0);
        loop {
            let length = text[at..].windows(2).position(|window| window == b"\r\n")?;
            let line = str::from_utf8(&text[at..at + length]).ok()?;
            if line.len() > 15 || line.contains([';', ' ', '\t']) {
                return None;
            }
            if line.is_empty() || !line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Some(None);
            }
            let size = usize::from_str_radix(line, 16).unwrap();
            at += length + 2;
            let end = text.get(at + size..at + size + 2)?;
            match (size, end == b"\r\n") {
                (0, true) => return Some(Some((content, at + 2))),
                (0, false) => return None,
                // It is refused at the end of its line.
                (_, false) => {
                    return text[at + size..]
                        .windows(2)
                        .any(|window| window == b"\r\n")
                        .then_some(None);
                }
                (_, true) => content.extend_from_slice(&text[at..at + size]),
            }
            at += size + 2;
        }
    }

    #[test]
    fn fuzz_chunked() {
        let corpus: [&[u8]; 5] = [
            b"5\r\nhello\r\n0\r\n\r\n",
            b"2\r\nhe\r\n00003\r\nllo\r\n0000\r\n\r\nGET",
            b"a ; x=y\r\n0123456789\r\n0;z=\"q\\\"\"\r\n\r\n",
            b"1\r\nA\r\n1\r\nB\r\n0\r\nField: value\r\nOther:\r\n\r\n",
            b"1F\r\n0123456789012345678901234567890\r\n0\r\n\r\n",
        ];
        crate::session::fuzz("chunked", &corpus, |input, random| {
            let whole = read(Framing::Chunked, input, usize::MAX);
            assert_eq!(read(Framing::Chunked, input, 1), whole);
            assert_eq!(read(Framing::Chunked, input, 1 + random.below(20)), whole);
            let twin = naive(input);
            match &twin {
                Some(Some((content, used))) => assert_eq!(whole, Ok((content.clone(), Some(*used)))),
                Some(None) => assert!(whole.is_err(), "{whole:?}"),
                None => {}
            }
            twin.is_some()
        });
    }
}
