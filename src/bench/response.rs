//! When is an HTTP reply whole, and when is it invalid? Bytes go in as they come; the result is "more is
//! needed", "this was the last byte" or an error. How a reply was cut into pieces makes no difference. What
//! two readers could understand differently (two lengths, a bare line feed) is refused: the figure would
//! depend on the reader. It shares no code with the server's parser: it must not share the bugs of what it
//! measures.

/// Most bytes of a head, with all interim replies before it. Ours have a few hundred.
const HEAD_LIMIT: usize = 16 * 1024;

/// Most bytes of a line between chunks: a size of 16 digits, and an extension, which is rare.
const LINE_LIMIT: usize = 1024;

/// How every reply begins; the digit after it is the minor version.
const START: &[u8; 7] = b"HTTP/1.";

/// What comes next.
///
/// ```text
///   head ─┬─► Content-Length: counted ──────────────────────────┬─► whole
///    ▲    ├─► chunked: size ─► data ─► line end ─► size … 0 ─► trailer
///    │    ├─► neither: everything up to the end of the stream ──┤
///    └ 1xx┴─► 204, 304, or to HEAD: no body ───────────────────┘
/// ```
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The first line of a head.
    #[default]
    Status,
    /// A field, or the empty line after all of them.
    Field,
    /// This many bytes of body, at least one.
    Counted(u64),
    /// Body until the end of the stream.
    Open,
    /// A line with the size of a chunk.
    Size,
    /// This many bytes of a chunk, at least one.
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
    /// A field after the last chunk, or the empty line after these.
    Trailer,
    Nothing,
}

/// What is known from the head so far.
#[derive(Debug, Default, Clone, Copy)]
struct Head {
    /// Minor version of HTTP/1.x.
    minor: u8,
    status: u16,
    length: Option<u64>,
    chunked: bool,
    /// `Connection: close` and `Connection: keep-alive`.
    close: bool,
    keep: bool,
}

/// What is wrong with a reply, as the end of a sentence.
pub type Fault = &'static str;

/// The replies of a connection, one after another.
#[derive(Debug, Default)]
pub struct Answer {
    part: Part,
    /// The request is HEAD: no body follows, whatever the head says.
    bodiless: bool,
    head: Head,
    /// Bytes of the head so far, and then of the trailer too.
    head_length: usize,
    /// A line that has begun in an earlier piece.
    line: Vec<u8>,
    /// The status; 0 until the first line has come.
    pub status: u16,
    /// The server will take another request on this connection.
    pub keeps: bool,
    /// The field Server.
    pub server: Vec<u8>,
    /// Bytes of body so far, without the framing of chunks.
    pub body: u64,
    /// Bytes that came after the last byte of the reply.
    pub stray: u64,
}

impl Answer {
    /// `method` is that of all requests.
    pub fn new(method: &str) -> Answer {
        Answer {
            bodiless: method == "HEAD",
            ..Answer::default()
        }
    }

    /// Begins the next reply.
    pub fn restart(&mut self) {
        *self = Answer {
            bodiless: self.bodiless,
            ..Answer::default()
        };
    }

    /// Has any byte of the reply come?
    pub fn has_begun(&self) -> bool {
        self.head_length > 0
    }

    /// Takes what has come; true: the reply is whole, and the bytes after it have been counted.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<bool, Fault> {
        while !bytes.is_empty() {
            let taken = match self.part {
                Part::Counted(left) => self.take_body(bytes, left, Part::Counted, Part::Nothing),
                Part::Chunk(left) => self.take_body(bytes, left, Part::Chunk, Part::ChunkEnd),
                Part::Open => self.take_body(bytes, u64::MAX, |_| Part::Open, Part::Nothing),
                Part::Nothing => {
                    self.stray += bytes.len() as u64;
                    bytes.len()
                }
                _ => self.take_line(bytes)?,
            };
            bytes = &bytes[taken..];
        }
        Ok(self.part == Part::Nothing)
    }

    /// The stream has ended; true: that makes the reply whole.
    pub fn end(&self) -> bool {
        self.part == Part::Open
    }

    /// Counts the bytes of a body, or of a chunk, of which `left` have not come.
    fn take_body(&mut self, bytes: &[u8], left: u64, more: impl Fn(u64) -> Part, then: Part) -> usize {
        let taken = left.min(bytes.len() as u64);
        self.body += taken;
        self.part = if taken < left { more(left - taken) } else { then };
        taken as usize
    }

    /// Takes a line, and reads it when its end is there.
    fn take_line(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let taken = end.map_or(bytes.len(), |at| at + 1);
        if matches!(self.part, Part::Status | Part::Field | Part::Trailer) {
            self.head_length += taken;
            if self.head_length > HEAD_LIMIT {
                return Err("its head and trailer are longer than 16 KiB");
            }
        } else if self.line.len() + taken > LINE_LIMIT {
            return Err("a line between chunks is too long");
        }
        self.line.extend_from_slice(&bytes[..taken]);
        if end.is_some() {
            // `take` leaves an empty vector in its place: the next line begins.
            let line = std::mem::take(&mut self.line);
            self.part = self.read_line(&line)?;
        } else if self.part == Part::Status {
            // A peer that does not speak HTTP may never end a line; without this we would wait for the
            // timeout.
            check_start(&self.line)?;
        }
        Ok(taken)
    }

    /// Reads a whole line; returns what comes next.
    fn read_line(&mut self, line: &[u8]) -> Result<Part, Fault> {
        let line = line
            .strip_suffix(b"\r\n")
            .ok_or("a line has no carriage return")?;
        // Without an early exit the compiler makes this loop check 32 bytes at once.
        let control = |byte: u8| byte.is_ascii_control() && byte != b'\t';
        if line.iter().fold(false, |found, &byte| found | control(byte)) {
            return Err("a line holds a control character");
        }
        match (self.part, line) {
            (Part::Status, _) => self.read_status(line).map(|()| Part::Field),
            (Part::Field, b"") => self.end_head(),
            (Part::Field, _) => self.read_field(line).map(|()| Part::Field),
            (Part::Size, _) => read_size(line),
            (Part::ChunkEnd, b"") => Ok(Part::Size),
            (Part::ChunkEnd, _) => Err("a chunk is longer than its size"),
            (_, b"") => Ok(Part::Nothing),
            (_, _) => split_field(line)
                .map(|_| Part::Trailer)
                .ok_or("a trailer is malformed"),
        }
    }

    /// status-line = "HTTP/1." digit SP 3digit [ SP reason ]
    fn read_status(&mut self, line: &[u8]) -> Result<(), Fault> {
        check_start(line)?;
        let rest = line.get(START.len()..).unwrap_or_default();
        let (version, rest) = rest.split_at_checked(2).unwrap_or_default();
        let (status, reason) = rest.split_at_checked(3).unwrap_or_default();
        match (version, read_number(status, 10)) {
            ([minor @ b'0'..=b'9', b' '], Some(status @ 100..)) if matches!(reason, [] | [b' ', ..]) => {
                self.head = Head {
                    minor: minor - b'0',
                    status: status as u16,
                    ..Head::default()
                };
                Ok(())
            }
            _ => Err("its status line is malformed"),
        }
    }

    /// Notes a field that tells where the body ends, or whether the connection stays open.
    fn read_field(&mut self, line: &[u8]) -> Result<(), Fault> {
        let (name, value) = split_field(line).ok_or("a field of its head is malformed")?;
        let head = &mut self.head;
        if name.eq_ignore_ascii_case(b"content-length") {
            let number = read_number(value, 10).ok_or("its Content-Length is no number")?;
            if head.length.replace(number).is_some() {
                return Err("it has two Content-Length");
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if head.chunked || head.minor == 0 || !value.eq_ignore_ascii_case(b"chunked") {
                return Err("its Transfer-Encoding is not chunked, once, in HTTP/1.1");
            }
            head.chunked = true;
        } else if name.eq_ignore_ascii_case(b"connection") {
            for word in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                head.close |= word.eq_ignore_ascii_case(b"close");
                head.keep |= word.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if name.eq_ignore_ascii_case(b"server") && self.server.is_empty() {
            self.server.extend_from_slice(value);
        }
        Ok(())
    }

    /// The head is whole: how will the body end (RFC 9112, section 6.3)?
    fn end_head(&mut self) -> Result<Part, Fault> {
        let head = self.head;
        let part = match (head.status, head.length, head.chunked) {
            (101, ..) => return Err("it changes to a protocol that was not asked for"),
            (_, Some(_), true) => return Err("it has both Content-Length and Transfer-Encoding"),
            // An interim reply (100 Continue): the final one follows.
            (100..=199, ..) => return Ok(Part::Status),
            _ if self.bodiless => Part::Nothing,
            (204 | 304, ..) | (_, Some(0), false) => Part::Nothing,
            (_, Some(length), false) => Part::Counted(length),
            (_, None, true) => Part::Size,
            (_, None, false) => Part::Open,
        };
        // HTTP/1.0 closes by default, HTTP/1.1 stays open; with both fields the connection closes.
        self.keeps = !head.close && (head.minor > 0 || head.keep) && part != Part::Open;
        self.status = head.status;
        Ok(part)
    }
}

/// Can this be the beginning of a reply?
fn check_start(line: &[u8]) -> Result<(), Fault> {
    let is_start = line.iter().zip(START).all(|(byte, expected)| byte == expected);
    if is_start {
        Ok(())
    } else {
        Err("it does not begin with HTTP/1.")
    }
}

/// size = 1*hexdigit *blank [ ";" extension ] ; 0 is that of the last chunk, which has no data
fn read_size(line: &[u8]) -> Result<Part, Fault> {
    let size = line
        .split(|&byte| byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii_end();
    match read_number(size, 16).ok_or("the size of a chunk is no number")? {
        0 => Ok(Part::Trailer),
        size => Ok(Part::Chunk(size)),
    }
}

/// field = name ":" blanks value blanks ; a name has no blanks, before it or after it
fn split_field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let good = !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic());
    good.then_some((name, value))
}

/// Digits and nothing else, below 2^64.
fn read_number(text: &[u8], base: u32) -> Option<u64> {
    // `from_str_radix` alone would take a sign.
    let digits = text.iter().all(|&byte| char::from(byte).is_digit(base));
    digits.then(|| u64::from_str_radix(str::from_utf8(text).ok()?, base).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in pieces of `size`; the result, and how many bytes were taken until then.
    fn feed(answer: &mut Answer, bytes: &[u8], size: usize) -> (Result<bool, Fault>, usize) {
        let mut taken = 0;
        for piece in bytes.chunks(size.max(1)) {
            taken += piece.len();
            match answer.feed(piece) {
                Ok(false) => {}
                over => return (over, taken),
            }
        }
        (Ok(false), taken)
    }

    /// Replies that end by themselves: text, status, bytes of body, connection stays open.
    const WHOLE: [(&str, u16, u64, bool); 18] = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, 5, true),
        ("HTTP/1.1 200 OK\r\ncontent-length:5\r\n\r\nhello", 200, 5, true),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: \t05 \r\n\r\nhello",
            200,
            5,
            true,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, 0, true),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, 0, true),
        (
            "HTTP/1.1 200 \r\nContent-Length: 4\r\nServer: \r\n\r\n\r\n\r\n",
            200,
            4,
            true,
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, 1, false),
        (
            "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx",
            200,
            1,
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nConnection: x, CLOSE\r\nContent-Length: 1\r\n\r\nx",
            200,
            1,
            false,
        ),
        (
            "HTTP/1.1 204 A\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n",
            204,
            0,
            false,
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, 0, true),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
            304,
            0,
            true,
        ),
        ("HTTP/1.1 500 Oh\r\nContent-Length: 1\r\n\r\nx", 500, 1, true),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            200,
            1,
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            200,
            5,
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n\
             1\r\na\r\n00A ;x=y\r\n0123456789\r\n0\r\n\r\n",
            200,
            11,
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\nC: d\r\n\r\n",
            200,
            0,
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nX: \u{e9}\tb\r\nContent-Length: 2\r\n\r\n\n\n",
            200,
            2,
            true,
        ),
    ];

    #[test]
    fn a_trailer_does_not_go_on_for_ever() {
        let mut answer = Answer::new("GET");
        assert_eq!(
            answer.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"),
            Ok(false)
        );
        let bound = (0..HEAD_LIMIT).find_map(|_| answer.feed(b"A: b\r\n").err());
        assert_eq!(bound, Some("its head and trailer are longer than 16 KiB"));
    }

    #[test]
    fn an_answer_is_whole_at_its_last_byte_however_it_comes() {
        for (text, status, body, keeps) in WHOLE {
            let mut answer = Answer::new("GET");
            for size in [text.len(), 1, 2, 3, 7] {
                answer.restart();
                assert!(!answer.has_begun());
                assert_eq!(
                    feed(&mut answer, text.as_bytes(), size),
                    (Ok(true), text.len()),
                    "{text:?} by {size}"
                );
                assert!(answer.has_begun());
                let found = (answer.status, answer.body, answer.keeps);
                assert_eq!(found, (status, body, keeps), "{text:?} by {size}");
            }
        }
    }

    #[test]
    fn an_answer_that_is_cut_is_not_whole_and_what_is_too_much_is_counted() {
        for (text, ..) in WHOLE {
            for length in 0..text.len() {
                let mut answer = Answer::new("GET");
                assert_eq!(
                    answer.feed(&text.as_bytes()[..length]),
                    Ok(false),
                    "{text:?} to {length}"
                );
                assert!(!answer.end(), "{text:?} to {length}");
            }
            let longer = [text.as_bytes(), b"\r\n\r\n"].concat();
            let mut answer = Answer::new("GET");
            for size in [longer.len(), 1, text.len()] {
                answer.restart();
                let fed: Vec<_> = longer.chunks(size).map(|piece| answer.feed(piece)).collect();
                assert_eq!(
                    (fed.last(), answer.stray),
                    (Some(&Ok(true)), 4),
                    "{text:?} by {size}"
                );
                assert_eq!(
                    fed.iter().filter(|fed| **fed == Ok(false)).count(),
                    (text.len() - 1) / size
                );
            }
        }
    }

    #[test]
    fn an_answer_to_head_is_whole_when_its_head_is() {
        for head in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", ""] {
            let mut answer = Answer::new("HEAD");
            let text = format!("HTTP/1.1 200 OK\r\n{head}\r\n");
            assert_eq!(answer.feed(text.as_bytes()), Ok(true), "{head:?}");
            assert_eq!(
                (answer.body, answer.keeps, answer.stray),
                (0, true, 0),
                "{head:?}"
            );
            assert_eq!(answer.feed(b"hello"), Ok(true));
            assert_eq!(answer.stray, 5, "a body that must not be there");
        }
    }

    #[test]
    fn without_a_length_the_end_of_the_stream_is_the_end() {
        for version in ["1.0", "1.1"] {
            let text = format!("HTTP/{version} 200 OK\r\nConnection: keep-alive\r\n\r\nhello\r\n\r\n");
            for size in [text.len(), 1] {
                let mut answer = Answer::new("GET");
                assert_eq!(feed(&mut answer, text.as_bytes(), size).0, Ok(false));
                assert_eq!((answer.body, answer.keeps, answer.end()), (9, false, true));
            }
        }
    }

    /// Fields of a head, each of them wrong by itself or beside the other, and why.
    const HEADS: [(&str, &str); 20] = [
        ("Content-Length: 1\r\nContent-Length: 1", "two Content-Length"),
        ("Content-Length: 1\r\nContent-Length: 2", "two Content-Length"),
        ("Content-Length: +1", "no number"),
        ("Content-Length: -1", "no number"),
        ("Content-Length: 1, 1", "no number"),
        ("Content-Length: 0x1", "no number"),
        ("Content-Length: 18446744073709551616", "no number"),
        ("Content-Length:", "no number"),
        ("Content-Length: 1\r\nTransfer-Encoding: chunked", "both"),
        ("Transfer-Encoding: gzip, chunked", "not chunked"),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "not chunked",
        ),
        ("Content-Length : 1", "malformed"),
        ("A: b\r\n Content-Length: 1", "malformed"),
        (": b", "malformed"),
        ("no colon", "malformed"),
        ("A: b\nContent-Length: 1", "no carriage return"),
        ("A: b\rx\nContent-Length: 1", "no carriage return"),
        ("A: b\rContent-Length: 1", "control character"),
        ("A: \0", "control character"),
        ("A: \x1b[2J", "control character"),
    ];

    #[test]
    fn what_could_be_understood_in_two_ways_is_refused() {
        let whole = HEADS.map(|(head, why)| (format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n"), why));
        let starts = [
            "HTTP/1.1 20 OK",
            "HTTP/1.1 2000",
            "HTTP/1.1 099",
            "HTTP/1.1  200",
            "HTTP/1.x 200",
            "HTTP/1.1",
        ];
        let starts = starts.map(|start| (format!("{start}\r\nContent-Length: 0\r\n\r\n"), "status line"));
        let chunks = [
            ("-1\r\n", "no number"),
            ("+1\r\n", "no number"),
            ("\r\n", "no number"),
            (" 1\r\n", "no number"),
            ("1 1\r\n", "no number"),
            ("10000000000000000\r\n", "no number"),
            ("1\n", "carriage return"),
            ("1\r\nab\r\n", "longer than its size"),
            ("0\r\nx\r\n", "trailer"),
        ];
        let chunks = chunks.map(|(text, why)| {
            (
                format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{text}"),
                why,
            )
        });
        let others = [
            (
                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
                "not chunked",
            ),
            ("HTTP/1.1 101 Switching\r\n\r\n".to_owned(), "protocol"),
            ("garbage".to_owned(), "does not begin"),
            ("x\r\n\r\n".to_owned(), "does not begin"),
            ("HTTP/2".to_owned(), "does not begin"),
        ];
        for (text, why) in whole.into_iter().chain(starts).chain(chunks).chain(others) {
            for size in [text.len(), 1] {
                let (result, _) = feed(&mut Answer::new("GET"), text.as_bytes(), size);
                let fault = result.expect_err(&text);
                assert!(fault.contains(why), "{text:?} by {size}: {fault}");
            }
        }
    }

    #[test]
    fn heads_and_lines_have_a_limit() {
        let head = |length: usize| {
            let frame = "HTTP/1.1 200 OK\r\nA: \r\nContent-Length: 0\r\n\r\n".len();
            format!(
                "HTTP/1.1 200 OK\r\nA: {}\r\nContent-Length: 0\r\n\r\n",
                "a".repeat(length - frame)
            )
        };
        let line = |length: usize| {
            let start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            format!("{start}0;{}\r\n\r\n", "a".repeat(length - "0;\r\n".len()))
        };
        for size in [1, 1000, 100_000] {
            let fed = |text: String| feed(&mut Answer::new("GET"), text.as_bytes(), size).0;
            assert_eq!(fed(head(HEAD_LIMIT)), Ok(true));
            assert_eq!(
                fed(head(HEAD_LIMIT + 1)),
                Err("its head and trailer are longer than 16 KiB")
            );
            assert_eq!(fed(line(LINE_LIMIT)), Ok(true));
            assert_eq!(
                fed(line(LINE_LIMIT + 1)),
                Err("a line between chunks is too long")
            );
        }
    }

    #[test]
    fn the_server_is_called_what_it_says_first() {
        let mut answer = Answer::new("GET");
        answer
            .feed(b"HTTP/1.1 200 OK\r\nserver:  a b \r\nServer: c\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        assert_eq!(answer.server, b"a b");
        answer.restart();
        assert_eq!(answer.server, b"");
    }

    /// Whole; whole at the end of the stream; status; bytes of body; the connection stays; bytes after it.
    type Known = (bool, bool, u16, u64, bool, u64);

    /// By the shortest way, without interim replies, extensions and trailers. `None`: the head is not whole,
    /// or more than this can tell. `Some(None)`: it is wrong.
    fn naive(text: &[u8], method: &str) -> Option<Option<Known>> {
        let end = text.windows(4).position(|window| window == b"\r\n\r\n")?;
        let (head, rest) = (str::from_utf8(&text[..end]).ok()?, &text[end + 4..]);
        let left = rest.len() as u64;
        let lines: Vec<&str> = head.split("\r\n").collect();
        let fields: Vec<_> = lines[1..]
            .iter()
            .map(|line| line.split_once(':').unwrap_or_default())
            .collect();
        let control = |c: char| c.is_ascii_control() && c != '\t';
        let blank = |c: char| !c.is_ascii_graphic();
        let (version, words) = lines[0].split_once(' ').unwrap_or_default();
        let (status, _) = words.split_once(' ').unwrap_or((words, ""));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let minor = version
            .strip_prefix("HTTP/1.")
            .filter(|minor| minor.len() == 1 && digits(minor));
        let status = Some(status).filter(|status| status.len() == 3 && digits(status));
        let (Some(minor), Some(status)) = (minor, status.and_then(|status| status.parse::<u16>().ok()))
        else {
            return Some(None);
        };
        let named = fields
            .iter()
            .all(|field| !field.0.is_empty() && !field.0.contains(blank));
        let values = |name: &str| {
            let same = fields.iter().filter(|field| field.0.eq_ignore_ascii_case(name));
            same.map(|field| field.1.trim_matches([' ', '\t']))
                .collect::<Vec<_>>()
        };
        let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
        let chunked = codings.len() == 1 && codings[0].eq_ignore_ascii_case("chunked") && minor != "0";
        let length = lengths
            .first()
            .filter(|length| digits(length))
            .and_then(|length| length.parse::<u64>().ok());
        let framed = lengths.len() + codings.len() <= 1
            && (chunked || codings.is_empty())
            && (length.is_some() || lengths.is_empty());
        if !named || !framed || status < 100 || status == 101 || head.replace("\r\n", "").contains(control) {
            return Some(None);
        }
        let options = values("connection").join(",").to_ascii_lowercase();
        let has = |option: &str| {
            options
                .split(',')
                .any(|word| word.trim_matches([' ', '\t']) == option)
        };
        let keeps = !has("close") && (minor != "0" || has("keep-alive"));
        Some(Some(match length {
            _ if status < 200 => return None,
            _ if method == "HEAD" || status == 204 || status == 304 => (true, false, status, 0, keeps, left),
            Some(length) if length <= left => (true, false, status, length, keeps, left - length),
            Some(_) => (false, false, status, left, keeps, 0),
            None if chunked => {
                let (body, stray) = naive_chunks(rest)?;
                (true, false, status, body, keeps, stray)
            }
            None => (false, true, status, left, false, 0),
        }))
    }

    /// Bytes of the body, and of what comes after it.
    fn naive_chunks(mut rest: &[u8]) -> Option<(u64, u64)> {
        let mut body = 0;
        loop {
            let end = rest
                .windows(2)
                .position(|window| window == b"\r\n")
                .filter(|end| *end < 8)?;
            let digits = str::from_utf8(&rest[..end])
                .ok()
                .filter(|digits| !digits.starts_with('+'))?;
            let size = usize::from_str_radix(digits, 16).ok()?;
            let line_end = rest.get(end + 2 + size..)?.strip_prefix(b"\r\n")?;
            (body, rest) = (body + size as u64, line_end);
            if size == 0 {
                return Some((body, rest.len() as u64));
            }
        }
    }

    /// What becomes of a reply, in whatever pieces it comes, with what is known of it then.
    #[test]
    fn fuzz_answer() {
        let corpus: Vec<&[u8]> = WHOLE.iter().map(|row| row.0.as_bytes()).collect();
        crate::session::fuzz("answer", &corpus, |input, random| {
            let twins = ["GET", "HEAD"].map(|method| {
                let known = crate::session::however_cut(input, random, |pieces| {
                    let mut answer = Answer::new(method);
                    let fed: Result<Vec<bool>, Fault> = pieces.map(|piece| answer.feed(piece)).collect();
                    assert!(
                        answer.line.len() <= HEAD_LIMIT && answer.head_length <= HEAD_LIMIT + input.len()
                    );
                    fed.ok().map(|fed| {
                        (
                            fed.last().copied().unwrap_or_default(),
                            answer.end(),
                            answer.status,
                            answer.body,
                            answer.keeps,
                            answer.stray,
                        )
                    })
                });
                let twin = naive(input, method).filter(|_| input.len() < LINE_LIMIT);
                if let Some(twin) = twin {
                    assert_eq!(known, twin, "{method}");
                }
                twin.is_some()
            });
            twins == [true, true]
        });
    }
}
