//! How does a file come out of a form? A browser without a script can send files in one way only: as a
//! form, whose body is `multipart/form-data` (RFC 7578). The length of a part is not sent; all that is not
//! the boundary is content. So the body is searched while it arrives, and the content of a file is written
//! at once.

use crate::cli::{counted, visible_name};
use crate::http::disposition::{Parameter, file_name, one, parameters};
use crate::http::head::Lines;
use crate::http::listing;
use crate::http::own::file_at;
use crate::http::request::{Framing, Request};
use crate::http::response::Reply;
use crate::http::status::{Refusal, malformed};
use crate::session::PIECE_TEXT;
use crate::stats::FileLog;
use crate::store::{self, Store, Upload, check_name};
use std::collections::BTreeSet;
use std::io;
use std::mem;
use std::sync::Arc;

/// Longest boundary in bytes (RFC 2046, section 5.1.1).
const BOUNDARY_LIMIT: usize = 70;

/// Most bytes of the head of a part: room for a name of 255 bytes with the path that old browsers send.
const HEAD_LIMIT: usize = 4096;

/// Most bytes between two files that belong to neither: what comes before the first boundary and after the
/// last one, and fields that are no files. They are read and dropped; more of them is an error.
const EXTRAS: usize = 64 * 1024;

/// Most files of a form: their names are kept until it ends, 255 bytes each at most.
const FILES: usize = 10_000;

/// A file of which this many bytes have come goes on in large pieces. One that has just begun may be tiny,
/// and thousands of tiny files in one piece would keep other connections waiting: to store one takes 100 µs.
const BEGINNING: u64 = 64 * 1024;

/// The largest piece, in bytes, for the others: 75 files at most.
const SMALL_PIECE: usize = 8 * 1024;

/// A form that is arriving. A file is stored when the boundary after it has arrived, and in one step, as
/// every upload is; of a form that is broken off or refused, the files before that point are stored and no
/// others.
pub struct Form {
    store: Arc<Store>,
    /// CR LF "--" boundary; at most 74 bytes.
    delimiter: Vec<u8>,
    state: FormState,
    /// Bytes since the last file that belong to none.
    extras: usize,
    /// Bytes of the present part so far.
    content: u64,
    /// The names of the files that are stored.
    stored: BTreeSet<String>,
    /// Bytes of all of them.
    bytes: u64,
    /// Where the browser goes when all is done: the page that the form was on.
    back: String,
    log: FileLog,
}

/// The position in a form.
///
/// ```text
///   --XYZ\r\n                                                           Line
///   Content-Disposition: form-data; name="file"; filename="a.bin"\r\n   Head
///   \r\n
///   any bytes \r\n--XY any bytes                                        Content
///   \r\n--XYZ--\r\n                                                     Line, End
/// ```
enum FormState {
    /// How many bytes of the delimiter have been seen. They are held back: they may still be content.
    Content(Part, usize),
    /// After a delimiter; the last byte of its line, 0 at the beginning.
    Line(u8),
    /// A head, as far as it has come.
    Head(Vec<u8>, Lines),
    /// After the last delimiter.
    End,
}

/// What the present content belongs to.
enum Part {
    File(Upload),
    /// A file input without a chosen file: browsers send it with an empty name and no content.
    NotChosen,
    /// A field that is no file, or bytes before the first delimiter.
    Other,
}

impl Form {
    /// The head of a POST is here: may its body come?
    pub fn begin(request: &Request, store: Arc<Store>, log: FileLog) -> Result<Form, Refusal> {
        require_own_page(request)?;
        store.require_writable()?;
        let kind = request.fields.one("content-type")?.unwrap_or_default();
        let Some((kind, list)) = parameters(kind.as_bytes()) else {
            return malformed("a Content-Type that is none");
        };
        if kind != "multipart/form-data" {
            return Err(Refusal::new(
                415,
                "send files as multipart/form-data, or each with PUT /NAME",
            ));
        }
        let delimiter = delimiter(&list)?;
        if request.framing == Framing::None {
            return Err(Refusal::new(
                411,
                "say the length of the form, or send it in chunks",
            ));
        }
        // The first delimiter may be at the very beginning: begin as if its CR LF had been seen.
        let state = FormState::Content(Part::Other, 2);
        let (stored, back) = (BTreeSet::new(), listing::location(&request.target.query));
        Ok(Form {
            store,
            delimiter,
            state,
            extras: 0,
            content: 0,
            stored,
            bytes: 0,
            back,
            log,
        })
    }

    /// Takes the next piece of the body.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<(), Refusal> {
        while !bytes.is_empty() {
            let step = match mem::replace(&mut self.state, FormState::End) {
                FormState::Content(part, seen) => self.content(part, seen, bytes),
                FormState::Line(last) => self.line(last, bytes[0]),
                FormState::Head(text, lines) => self.head(text, lines, bytes[0]),
                FormState::End => self.forget(bytes.len()).map(|()| bytes.len()),
            };
            let used = step.map_err(|refusal| self.with_what_is_stored(refusal))?;
            bytes = &bytes[used..];
        }
        Ok(())
    }

    /// The body is over. 303 makes the browser ask for the page again, so that a reload of the reply does not
    /// send the form again (RFC 9110, section 15.4.4).
    pub fn finish(self) -> Result<Reply, Refusal> {
        if !matches!(self.state, FormState::End) {
            let broken = malformed("a form that ends without its last boundary");
            return broken.map_err(|refusal| self.with_what_is_stored(refusal));
        }
        if self.stored.is_empty() {
            return Err(Refusal::new(400, "no file was chosen: go back and choose one"));
        }
        let text = format!("{} stored\n", counted(self.stored.len() as u64, "file"));
        let mut reply = Reply::new(303).field("Location", &self.back);
        reply.brought = self.bytes;
        Ok(reply.text("text/plain; charset=utf-8", text))
    }

    /// Most bytes that should come next.
    pub fn largest_read(&self) -> usize {
        match &self.state {
            FormState::Content(Part::File(_), _) if self.content >= BEGINNING => PIECE_TEXT,
            _ => SMALL_PIECE,
        }
    }

    /// Content, up to the delimiter or to the end of `bytes`; returns how many were used.
    fn content(&mut self, mut part: Part, held: usize, bytes: &[u8]) -> Result<usize, Refusal> {
        let (seen, used) = find(&self.delimiter, held, bytes);
        // If the delimiter that is being seen began in these bytes, all before it is content.
        let (held, fresh) = match used.checked_sub(seen) {
            Some(fresh) => (&self.delimiter[..held], &bytes[..fresh]),
            None => (&[][..], &[][..]),
        };
        let count = held.len() + fresh.len();
        self.content += count as u64;
        match &mut part {
            Part::File(upload) => {
                let written = upload.write(held).and_then(|()| upload.write(fresh));
                written.map_err(|error| refusal(upload.name(), error))?;
            }
            Part::NotChosen if count > 0 => return malformed("a file without a name"),
            Part::NotChosen => {}
            Part::Other => self.forget(count)?,
        }
        self.state = if seen < self.delimiter.len() {
            FormState::Content(part, seen)
        } else {
            if let Part::File(upload) = part {
                self.commit(upload)?;
            }
            FormState::Line(0)
        };
        Ok(used)
    }

    fn commit(&mut self, upload: Upload) -> Result<(), Refusal> {
        let name = upload.name().to_owned();
        let size = upload.commit().map_err(|error| refusal(&name, error))?;
        self.log.stored(&name, size);
        self.bytes += size;
        self.stored.insert(name);
        self.extras = 0;
        Ok(())
    }

    /// The next byte after a delimiter. Browsers send no padding, but RFC 2046 allows it.
    ///
    /// ```text
    /// line = delimiter ( *( SP / HTAB ) CRLF head / "--" anything )
    /// ```
    fn line(&mut self, last: u8, byte: u8) -> Result<usize, Refusal> {
        self.state = match (last, byte) {
            (0, b'-') | (0 | b' ', b'\r') => FormState::Line(byte),
            (0 | b' ', b' ' | b'\t') => {
                self.forget(1)?;
                FormState::Line(b' ')
            }
            (b'-', b'-') => FormState::End,
            (b'\r', b'\n') => FormState::Head(Vec::new(), Lines::default()),
            _ => return malformed("a boundary with something after it"),
        };
        Ok(1)
    }

    /// The next byte of a part's head.
    fn head(&mut self, mut text: Vec<u8>, mut lines: Lines, byte: u8) -> Result<usize, Refusal> {
        if text.len() == HEAD_LIMIT {
            return malformed(&format!(
                "the head of a part of a form larger than {HEAD_LIMIT} bytes"
            ));
        }
        self.forget(1)?;
        text.push(byte);
        self.state = match lines.feed(byte)? {
            Some(0) => FormState::Content(self.open(text)?, 0),
            _ => FormState::Head(text, lines),
        };
        Ok(1)
    }

    /// A part begins.
    fn open(&mut self, head: Vec<u8>) -> Result<Part, Refusal> {
        self.content = 0;
        let Some(name) = file_name(head)? else {
            return Ok(Part::Other);
        };
        if name.is_empty() {
            return Ok(Part::NotChosen);
        }
        let shown = visible_name(&String::from_utf8_lossy(&name));
        let refuse = |why: &str| Err(Refusal::new(400, format!("{shown}: {why}")));
        match check_name(&name) {
            Err(error) => return refuse(&error.to_string()),
            // The first one has just been stored: the second must not take its place without a word.
            Ok(name) if self.stored.contains(name) => return refuse("more than one file of this name"),
            Ok(_) if self.stored.len() == FILES => {
                return refuse(&format!(
                    "more than {FILES} files in a form; send the rest in another one"
                ));
            }
            Ok(_) => {}
        }
        if file_at(&[b"/", &name[..]].concat()).is_err() {
            return refuse("this name is an address of the server itself; choose another");
        }
        self.store
            .create(&name)
            .map(Part::File)
            .map_err(|error| refusal(&shown, error))
    }

    /// Skips bytes that belong to no file. Between two files a form needs only a few.
    fn forget(&mut self, count: usize) -> Result<(), Refusal> {
        self.extras += count;
        if self.extras > EXTRAS {
            let reason = format!("a form with more than {EXTRAS} bytes besides files");
            return Err(Refusal::new(413, reason));
        }
        Ok(())
    }

    /// A form may fail at its third file: the reply must say that the first two are stored.
    fn with_what_is_stored(&self, mut refusal: Refusal) -> Refusal {
        let before = match self.stored.len() {
            0 => "none".to_owned(),
            files => counted(files as u64, "file"),
        };
        refusal.reason += &format!("; stored before that: {before}");
        refusal
    }
}

/// Why this file is not stored, or not for certain.
fn refusal(name: &str, error: store::Error) -> Refusal {
    let but = match error {
        store::Error::Uncertain(_) => "in its place, but perhaps not on the disk: ",
        _ => "",
    };
    let mut refusal = Refusal::from(error);
    refusal.reason = format!("{name}: {but}{}", refusal.reason);
    refusal
}

/// Stops cross-site request forgery (CSRF). A page may send a form to any site without permission: without
/// this check, any page on the web could make a browser store files on a server of the browser's machine.
/// (PUT and DELETE need permission, which this server never gives: CORS.) Browsers name the sender of a form
/// in `Sec-Fetch-Site`, older ones in `Origin`. A request with neither does not come from a browser.
fn require_own_page(request: &Request) -> Result<(), Refusal> {
    let own = match (
        request.fields.one("sec-fetch-site")?,
        request.fields.one("origin")?,
    ) {
        (Some(site), _) => ["same-origin", "none"].contains(&site),
        // origin = "null" / scheme "://" host [ ":" port ] (RFC 6454, section 7.1). A proxy may have removed
        // TLS, so the scheme is not compared.
        (None, Some(origin)) => origin
            .split_once("://")
            .is_some_and(|(_, host)| host.eq_ignore_ascii_case(&request.target.host)),
        (None, None) => true,
    };
    let reason = "this form was sent by a page of another site; use the form on the page of this server";
    if own {
        Ok(())
    } else {
        Err(Refusal::new(403, reason))
    }
}

/// CR LF "--" boundary
///
/// ```text
/// boundary = 0*69bchars bcharsnospace
/// bchars   = ALPHA / DIGIT / one of '()+_,-./:=? / SP
/// ```
fn delimiter(list: &[Parameter]) -> Result<Vec<u8>, Refusal> {
    let bchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
    match one(list, "boundary")? {
        Some(text)
            if (1..=BOUNDARY_LIMIT).contains(&text.len())
                && text.iter().all(bchar)
                && !text.ends_with(b" ") =>
        {
            Ok([b"\r\n--", text].concat())
        }
        _ => malformed("a form without a boundary of 1 to 70 characters"),
    }
}

/// Searches for the delimiter, of which earlier pieces have brought `seen` bytes, up to its end or to that of
/// `bytes`; returns how many bytes of it have been seen then, and how many of `bytes` were looked at.
///
/// Its only CR is its first byte: after a mismatch it can begin at that byte and no earlier, so no byte is
/// read twice. With the delimiter `\r\n--XY`, in three pieces:
///
/// ```text
///   bytes           seen before, after, looked at
///   ab\r\n--Q\r\n     0    2    9    `\r\n--Q` is content, the last two bytes may not be
///   --X              2    5    3    still the delimiter
///   Zab\r\n--XY--     5    6    9    the five that were held back are content too, and `Zab`
/// ```
fn find(delimiter: &[u8], mut seen: usize, bytes: &[u8]) -> (usize, usize) {
    let mut at = 0;
    while at < bytes.len() && seen < delimiter.len() {
        if bytes[at] == delimiter[seen] {
            (seen, at) = (seen + 1, at + 1);
        } else if seen > 0 {
            seen = 0;
        } else {
            at += before_cr(&bytes[at..]);
        }
    }
    (seen, at)
}

/// How many bytes stand before the first CR.
fn before_cr(bytes: &[u8]) -> usize {
    // Compares many bytes at once, as `position` does not. Reading from memory never fails.
    let count = io::BufRead::skip_until(&mut &bytes[..], b'\r').unwrap_or(0);
    count - usize::from(bytes[..count].ends_with(b"\r"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::HeadParser;
    use crate::session::Folder;
    use crate::store::Policy;

    fn store(folder: &Folder) -> Arc<Store> {
        let policy = Policy {
            read_only: None,
            max_upload: 300_000,
            sync: false,
        };
        Arc::new(Store::open(folder.path(), policy).unwrap())
    }

    /// The head of a POST with these lines.
    fn request(lines: &str) -> Request {
        let head = format!("POST / HTTP/1.1\r\nHost: h:80\r\n{lines}\r\n");
        HeadParser::default().take(head.as_bytes()).1.unwrap().unwrap()
    }

    fn begin(store: &Arc<Store>) -> Form {
        let kind = "Content-Type: multipart/form-data; boundary=XX\r\nContent-Length: 9\r\n";
        Form::begin(&request(kind), store.clone(), FileLog::default()).unwrap()
    }

    /// A status and its reason.
    type Refused = (u16, String);

    /// What the form answers, and which files are there then; the same for every size of the pieces.
    fn play(text: &[u8]) -> (Result<(), Refused>, Vec<Parameter>) {
        let play = |piece: usize| {
            let folder = Folder::new();
            let mut form = begin(&store(&folder));
            let taken = text.chunks(piece).try_for_each(|piece| form.take(piece));
            let result = taken.and_then(|()| form.finish().map(drop));
            let files = folder.names().into_iter().map(|name| {
                let content = std::fs::read(folder.path().join(&name)).unwrap();
                (name, content)
            });
            (
                result.map_err(|refusal| (refusal.status, refusal.reason)),
                files.collect::<Vec<_>>(),
            )
        };
        let whole = play(usize::MAX);
        for piece in [1, 2, 3, 7, 64, 65] {
            assert_eq!(
                play(piece),
                whole,
                "in pieces of {piece}: {}",
                String::from_utf8_lossy(text)
            );
        }
        whole
    }

    /// A part with this disposition after `form-data; name=file`.
    fn part(disposition: &str, content: &[u8]) -> Vec<u8> {
        let head = format!("\r\n--XX\r\nContent-Disposition: form-data; name=file{disposition}\r\n\r\n");
        [head.as_bytes(), content].concat()
    }

    fn file(name: &str, content: &[u8]) -> Vec<u8> {
        part(&format!("; filename=\"{name}\""), content)
    }

    const END: &[u8] = b"\r\n--XX--\r\n";

    #[test]
    fn files_come_out_as_they_were_however_the_form_is_cut() {
        let contents: [&[u8]; 10] = [
            b"",
            b"hello",
            b"\r\n",
            b"\r\n--X",
            b"\r\n--\r\n--X\r\n--xX",
            b"\r\r\n\r\n-\r\n--X\r",
            b"--XX",
            b"\n--XX--\n",
            b"\r",
            &[b'\r'; 300],
        ];
        for content in contents {
            let form = [
                &file("a", content)[2..],
                &part("", b"text"),
                &file("b", b"B"),
                END,
                b"more",
            ]
            .concat();
            let files = vec![
                ("a".to_owned(), content.to_vec()),
                ("b".to_owned(), b"B".to_vec()),
            ];
            assert_eq!(play(&form), (Ok(()), files));
        }
        let form = [
            b"preamble",
            &file("a", b"A")[..],
            b"\r\n--XX \t \r\n",
            &file("b", b"B")[8..],
            END,
        ]
        .concat();
        let files = vec![("a".to_owned(), b"A".to_vec()), ("b".to_owned(), b"B".to_vec())];
        assert_eq!(play(&form), (Ok(()), files));
    }

    #[test]
    fn the_search_goes_as_its_example_shows() {
        let steps: [(usize, &[u8], _); 3] = [
            (0, b"ab\r\n--Q\r\n", (2, 9)),
            (2, b"--X", (5, 3)),
            (5, b"Zab\r\n--XY--", (6, 9)),
        ];
        for (seen, bytes, expected) in steps {
            assert_eq!(find(b"\r\n--XY", seen, bytes), expected);
        }
    }

    #[test]
    fn the_search_agrees_with_a_naive_one() {
        let delimiter = b"\r\n--X-";
        let mut seed = 1_u32;
        for _ in 0..20_000 {
            let mut text = Vec::new();
            for _ in 0..40 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let bits = (seed >> 16) as usize;
                // Mostly what stands next in the delimiter, so that it is often nearly found.
                let next = text.iter().rev().take_while(|&&byte| byte != b'\r').count();
                text.push(if !bits.is_multiple_of(5) {
                    delimiter[next % 6]
                } else {
                    b"\r\n-Xa"[bits / 8 % 5]
                });
            }
            let naive = text.windows(6).position(|window| window == delimiter);
            let (mut content, mut seen) = (Vec::new(), 0);
            for piece in text.chunks(1 + seed as usize % 9) {
                let held = seen;
                let used;
                (seen, used) = find(delimiter, held, piece);
                if let Some(fresh) = used.checked_sub(seen) {
                    content.extend_from_slice(&delimiter[..held]);
                    content.extend_from_slice(&piece[..fresh]);
                }
                if seen == delimiter.len() {
                    break;
                }
                assert_eq!(used, piece.len());
            }
            assert_eq!((seen == 6).then_some(content.len()), naive, "{text:?}");
            assert!(text.starts_with(&content), "{text:?}");
        }
    }

    /// Plays a form that is refused with 400: the reason, and the files that are there then.
    fn refused(form: &[u8], reason: &str, names: &[&str]) {
        let (result, files) = play(form);
        let shown = String::from_utf8_lossy(form);
        assert_eq!(result, Err((400, reason.to_owned())), "{shown}");
        let stored: Vec<String> = files.into_iter().map(|file| file.0).collect();
        assert_eq!(stored, names, "{shown}");
    }

    /// A form with the file `a` and then this one.
    fn after_a(name: &str, content: &[u8]) -> Vec<u8> {
        [file("a", b"A"), file(name, content), END.into()].concat()
    }

    #[test]
    fn a_form_that_fails_tells_what_is_stored() {
        let dot = "invalid file name: begins with a dot";
        let own = "this name is an address of the server itself; choose another";
        let slash = "invalid file name: contains a slash or backslash";
        for (name, why) in [
            (".x", dot),
            ("a", "more than one file of this name"),
            ("healthz", own),
            ("metrics", own),
            ("back\\slash.txt", slash),
            ("\\slash.txt", slash),
            ("end\\", slash),
        ] {
            let reason = format!("{name}: {why}; stored before that: 1 file");
            refused(&after_a(name, b"second"), &reason, &["a"]);
        }
        assert_eq!(play(&after_a("a", b"second")).1[0].1, b"A");
        let control = "x\\u{d}\\u{a}y: invalid file name: contains a control character";
        for (name, reason) in [("x/.y", &*format!(".y: {dot}")), ("x%0D%0Ay", control)] {
            let form = [file(name, b""), END.into()].concat();
            refused(&form, &format!("{reason}; stored before that: none"), &[]);
        }
        let (result, files) = play(&after_a("b", &vec![b'x'; 300_001]));
        let (status, reason) = result.expect_err("there is a limit");
        assert!(
            status == 413 && reason.starts_with("b: file too large") && reason.ends_with("1 file"),
            "{reason}"
        );
        assert_eq!(files.len(), 1);
    }

    #[test]
    fn a_form_without_a_file_or_an_end_is_refused() {
        let not_chosen = [part("; filename=\"\"", b""), END.into()].concat();
        for form in [
            &not_chosen,
            &[part("", b"text"), END.into()].concat(),
            &b"--XX--"[..],
        ] {
            refused(form, "no file was chosen: go back and choose one", &[]);
        }
        let broken = "malformed request: a form that ends without its last boundary; stored before that";
        for form in [&b""[..], b"--XX", b"--XX\r\n", b"text", &file("a", b"A")] {
            refused(form, &format!("{broken}: none"), &[]);
        }
        let cut = [file("a", b""), END[..7].into()].concat();
        refused(&cut, &format!("{broken}: 1 file"), &["a"]);
    }

    #[test]
    fn a_file_in_its_place_is_not_called_missing() {
        let storage_full = std::io::ErrorKind::StorageFull.into();
        let uncertain = refusal("a", store::Error::Uncertain(storage_full));
        assert!(
            uncertain.status == 500 && uncertain.reason.starts_with("a: in its place, but"),
            "{uncertain:?}"
        );
    }

    #[test]
    fn only_a_file_that_has_begun_asks_for_large_pieces() {
        let folder = Folder::new();
        let mut form = begin(&store(&folder));
        let large = vec![b'x'; BEGINNING as usize];
        let steps: [(&[u8], usize); 5] = [
            (&file("a", b"A"), SMALL_PIECE),
            (&file("b", &large[1..]), SMALL_PIECE),
            (b"x", PIECE_TEXT),
            (&file("c", b"C"), SMALL_PIECE),
            (&part("", &large[..EXTRAS / 2]), SMALL_PIECE),
        ];
        for (step, (bytes, expected)) in steps.into_iter().enumerate() {
            form.take(bytes).unwrap();
            assert_eq!(form.largest_read(), expected, "step {step}");
        }
    }

    #[test]
    fn the_names_that_a_form_keeps_are_bounded() {
        let folder = Folder::new();
        let mut form = begin(&store(&folder));
        for number in 0..FILES {
            assert!(form.take(&file(&number.to_string(), b"")).is_ok(), "{number}");
        }
        let refused = form.take(&file("more", b"")).unwrap_err();
        assert!(refused.status == 400 && refused.reason.starts_with("more: more than 10000 files"));
        assert_eq!(folder.names().len(), FILES);
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let head = |lines: &str| format!("--XX\r\n{lines}\r\n\r\nA\r\n--XX--");
        let disposition = "Content-Disposition: form-data; name=f; filename=a";
        for form in [
            head(""),
            head("Content-Type: text/plain"),
            head("Content-Disposition: attachment; name=f; filename=a"),
            head("Content-Disposition: form-data; filename=a"),
            head("Content-Disposition: form-data; name=f; filename=a b"),
            head("Content-Disposition: form-data; name=f; filename=\"a"),
            head("Content-Disposition: form-data; name=f; filename=\"a\" b"),
            head("Content-Disposition: form-data; name=f; filename"),
            head("Content-Disposition: form-data; name=f; filename=a; filename=b"),
            head("Content-Disposition: form-data; name=f; filename*=UTF-8''a"),
            head(&format!("{disposition}\r\n{disposition}")),
            head(&format!("{disposition}\r\n folded")),
            head(&format!("{disposition}\r\nno colon")),
            head(&format!("{disposition}\r\nContent-Transfer-Encoding: base64")),
            head(&format!("{disposition}\nX: y")),
            head(&format!("{disposition}\0")),
            head("Content-Disposition: form-data; name=f; filename=\"\""),
            format!("--XX!\r\n{disposition}\r\n\r\nA\r\n--XX--"),
            format!("--XX\n{disposition}\n\nA\r\n--XX--"),
            format!("--XX-\r\n{disposition}\r\n\r\nA\r\n--XX--"),
        ] {
            let (result, files) = play(form.as_bytes());
            assert!(
                matches!(result, Err((400, _))) && files.is_empty(),
                "{form}: {result:?}"
            );
        }
        let plain = head(
            "X-More: y\r\ncontent-disposition:FORM-DATA ;NAME=f ; FileName=a;\r\n\
             Content-Transfer-Encoding: binary",
        );
        assert_eq!(
            play(plain.as_bytes()),
            (Ok(()), vec![("a".to_owned(), b"A".to_vec())])
        );
    }

    #[test]
    fn what_belongs_to_no_file_is_bounded() {
        let disposition = "Content-Disposition: form-data; name=f; filename=a\r\n";
        let head = |size: usize| {
            let field = format!("X: {}\r\n", "x".repeat(size - disposition.len() - 7));
            format!("--XX\r\n{disposition}{field}\r\nA\r\n--XX--")
        };
        assert_eq!(play(head(HEAD_LIMIT).as_bytes()).0, Ok(()));
        assert_eq!(play(head(HEAD_LIMIT + 1).as_bytes()).0.unwrap_err().0, 400);
        let status = |form: Vec<u8>| play(&form).0.map_err(|refused| refused.0);
        let spare = EXTRAS - (part("", b"").len() - 8) - (file("a", b"").len() - 8) - 2;
        let with_field = |size: usize| [part("", &vec![b'x'; size]), file("a", b"A"), END.into()].concat();
        assert_eq!(
            (status(with_field(spare)), status(with_field(spare + 1))),
            (Ok(()), Err(413))
        );
        let after = |size: usize| [&file("a", b"A")[..], &END[..8], &vec![b'x'; size]].concat();
        assert_eq!(
            (status(after(EXTRAS)), status(after(EXTRAS + 1))),
            (Ok(()), Err(413))
        );
    }

    #[test]
    fn a_boundary_has_1_to_70_characters() {
        let folder = Folder::new();
        let store = store(&folder);
        let status = |kind: &str| {
            let lines = format!("Content-Type: {kind}\r\nContent-Length: 9\r\n");
            Form::begin(&request(&lines), store.clone(), FileLog::default())
                .map_or_else(|refusal| refusal.status, |_| 0)
        };
        let long = |length: usize| format!("multipart/form-data; boundary={}", "x".repeat(length));
        for good in [
            "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW",
            "Multipart/Form-Data;charset=utf-8;BOUNDARY=\"a '()+_,-./:=?b\";",
            &long(1),
            &long(70),
        ] {
            assert_eq!(status(good), 0, "{good}");
        }
        for (bad, expected) in [
            ("multipart/form-data", 400),
            ("multipart/form-data; boundary=", 400),
            ("multipart/form-data; boundary=\"\"", 400),
            ("multipart/form-data; boundary=\"a \"", 400),
            ("multipart/form-data; boundary=\"a@b\"", 400),
            ("multipart/form-data; boundary=a; boundary=a", 400),
            (&*long(71), 400),
            ("multipart/mixed; boundary=a", 415),
            ("application/x-www-form-urlencoded", 415),
            ("", 415),
        ] {
            assert_eq!(status(bad), expected, "{bad}");
        }
        let unsized_form = request("Content-Type: multipart/form-data; boundary=a\r\n");
        assert_eq!(
            Form::begin(&unsized_form, store, FileLog::default())
                .err()
                .map(|refusal| refusal.status),
            Some(411)
        );
    }

    #[test]
    fn only_the_page_of_this_server_may_send_a_form() {
        for (lines, own) in [
            ("", true),
            ("Sec-Fetch-Site: same-origin\r\n", true),
            ("Sec-Fetch-Site: none\r\n", true),
            ("Sec-Fetch-Site: same-site\r\n", false),
            ("Sec-Fetch-Site: cross-site\r\n", false),
            ("Sec-Fetch-Site: cross-site\r\nOrigin: http://h:80\r\n", false),
            (
                "Sec-Fetch-Site: same-origin\r\nOrigin: https://proxy.example\r\n",
                true,
            ),
            (
                "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n",
                false,
            ),
            ("Origin: http://h:80\r\n", true),
            ("Origin: https://H:80\r\n", true),
            ("Origin: http://h\r\n", false),
            ("Origin: http://evil.example\r\n", false),
            ("Origin: http://h:80.evil.example\r\n", false),
            ("Origin: null\r\n", false),
            ("Origin: h:80\r\n", false),
            ("Origin:\r\n", false),
        ] {
            assert_eq!(require_own_page(&request(lines)).is_ok(), own, "{lines}");
        }
    }

    /// By the shortest way: the files of a form that is whole and has nothing rare in it. `None`: it is none.
    fn naive(text: &[u8]) -> Option<Vec<Parameter>> {
        let text = [b"\r\n", text].concat();
        let find =
            |text: &[u8], wanted: &[u8]| text.windows(wanted.len()).position(|window| window == wanted);
        let mut rest = &text[find(&text, b"\r\n--XX")? + 6..];
        let mut files = std::collections::BTreeMap::new();
        while !rest.starts_with(b"--") {
            let part = rest.strip_prefix(b"\r\n")?;
            let head = find(part, b"\r\n\r\n")?;
            let end = head + 4 + find(&part[head + 4..], b"\r\n--XX")?;
            let disposition = str::from_utf8(&part[..head]).ok()?;
            let word = disposition.strip_prefix("Content-Disposition: form-data; name=file")?;
            if !word.is_empty() {
                let name = word.strip_prefix("; filename=\"")?.strip_suffix('"')?;
                let usual = |c: char| c.is_alphanumeric() || c == ' ' || c == '.';
                let own = ["healthz", "metrics"].contains(&name) || name.starts_with('.');
                if name.is_empty() || name.len() > 255 || own || !name.chars().all(usual) {
                    return None;
                }
                let content = part[head + 4..end].to_vec();
                files.insert(name.to_owned(), content).is_none().then_some(())?;
            }
            rest = &part[end + 6..];
        }
        (!files.is_empty()).then(|| files.into_iter().collect())
    }

    #[test]
    fn fuzz_form() {
        let forms = [
            [&file("a.txt", b"hello")[2..], END].concat(),
            [
                &b"preamble"[..],
                &file("a b \u{e9}", b"\r\n--XY\r\n"),
                &file("", b""),
                &END[..8],
                b"epilogue",
            ]
            .concat(),
            [
                &file("C:\\x\\y.bin", b"1")[2..],
                &part("; filename*=UTF-8''%e2%82%ac", b"2"),
                END,
            ]
            .concat(),
            b"--XX\r\nContent-Disposition: form-data; name=\"text\"\r\nX: y\r\n\r\nvalue\r\n--XX--".to_vec(),
        ];
        let corpus: Vec<&[u8]> = forms.iter().map(Vec::as_slice).collect();
        let folder = Folder::new();
        let store = store(&folder);
        crate::session::fuzz("form", &corpus, |input, random| {
            let played = crate::session::however_cut(input, random, |pieces| {
                let mut form = begin(&store);
                let taken: Result<Vec<()>, Refusal> = pieces.map(|piece| form.take(piece)).collect();
                let result = match taken {
                    Ok(_) => form.finish().map(drop),
                    Err(refusal) => {
                        drop(form);
                        Err(refusal)
                    }
                };
                let files = folder.names().into_iter().map(|name| {
                    let path = folder.path().join(&name);
                    let content = std::fs::read(&path).unwrap();
                    std::fs::remove_file(path).unwrap();
                    (name, content)
                });
                let files: Vec<Parameter> = files.collect();
                (result.map_err(|refusal| (refusal.status, refusal.reason)), files)
            });
            let twin = naive(input);
            if let Some(files) = &twin {
                assert_eq!(played, (Ok(()), files.clone()));
            }
            twin.is_some()
        });
    }
}
