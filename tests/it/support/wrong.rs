//! A right server of the file protocol, small and in memory, that makes exactly one mistake when it is told
//! to: the mistakes of students' servers, for the grader to find.

use crate::support::{END, SYMBOLS, base64};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{iter, thread};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mistake {
    None,
    // Where does a request end?
    EachReceiveIsARequest,
    EndOnlyAtTheBuffersEnd,
    EndOnlyInTheLatestReceive,
    EndOnlyInTheLatestTwoReceives,
    IgnoresPipelining,
    UploadTakesAllThatCame,
    SearchesFromTheStart,
    // Where does a reply end?
    EndsInOneLineEnd,
    ReplyInTwoPieces,
    RepliesTwice,
    ClosesAfterEachReply,
    ClosesWithoutReplyOnError,
    ClosesAfterAnError,
    ClosesWithoutAName,
    NoStatus,
    NamesInOneString,
    GluedJson,
    // Is the content right?
    LengthOneOff,
    UrlSafeAlphabet,
    NoPaddingInReplies,
    InsistsOnPadding,
    DropsForeignSymbols,
    CutsAtTheFirstLineBreak,
    TextMode,
    MessageLimit,
    AppendsToTheOldFile,
    EmptyIsMissing,
    // Is the name right?
    NamesInLowerCase,
    KeepsQuotes,
    SplitsInsideQuotes,
    ListsPaths,
    ListsLatin1,
    LeavesTheFolder,
    // Does it do what it says, and for how many?
    VerbsInUpperCaseOnly,
    MissingIsEmpty,
    DeletesNothing,
    DeletesAnything,
    OneAtATime,
    OneAtATimeOnTwoPorts,
    TwoWorkersOfFour,
    LockHeldWhileReading,
    OkBeforeTheFileIsThere,
    WritesUnderTheNameItself,
    HalfAFileIsOk,
    OldFileCutOff,
    ResetInsteadOfRefusal,
    // No mistake: it says nothing for a while.
    SilentToOneReader,
    SilentToAll,
    SilentToTwoUploaders,
}

/// Longer than three tries of a grader that waits 3 seconds, shorter than those with one more wait.
const SILENCE: Duration = Duration::from_secs(4);

type Files = BTreeMap<String, Vec<u8>>;

struct Shared {
    mistake: Mistake,
    files: Mutex<Files>,
    /// Files that appear later than promised: when the next request has been answered.
    late: Mutex<Files>,
    /// A GET has been answered since an upload was half done.
    read: AtomicBool,
    /// Held during a request by some mistakes.
    lock: Mutex<()>,
    /// How often the file at which it falls silent was asked for or sent.
    wanted: AtomicUsize,
    stopped: AtomicBool,
    /// Connections that are served at this moment.
    busy: Mutex<usize>,
}

/// The server; it ends with this value.
pub struct WrongServer {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl WrongServer {
    pub fn start(mistake: Mistake) -> WrongServer {
        let shared = Arc::new(Shared {
            mistake,
            files: Mutex::default(),
            late: Mutex::default(),
            read: AtomicBool::default(),
            lock: Mutex::default(),
            wanted: AtomicUsize::default(),
            stopped: AtomicBool::new(false),
            busy: Mutex::default(),
        });
        let listeners = bind(if mistake == Mistake::OneAtATimeOnTwoPorts {
            2
        } else {
            1
        });
        let address = listeners[0].local_addr().unwrap();
        for listener in listeners {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&listener, &shared));
        }
        WrongServer { address, shared }
    }
}

impl Drop for WrongServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// Listeners on neighbouring ports, the first of which the kernel chooses.
fn bind(count: u16) -> Vec<TcpListener> {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        let others = (1..count).map(|next| TcpListener::bind(("127.0.0.1", port.checked_add(next)?)).ok());
        let all: Option<Vec<TcpListener>> = iter::once(Some(first)).chain(others).collect();
        if let Some(listeners) = all {
            return listeners;
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let (stream, shared) = (stream.unwrap(), Arc::clone(shared));
        if matches!(
            shared.mistake,
            Mistake::OneAtATime | Mistake::OneAtATimeOnTwoPorts
        ) {
            serve(stream, &shared);
        } else {
            wait_for_a_place(&shared);
            thread::spawn(move || {
                serve(stream, &shared);
                *shared.busy.lock().unwrap() -= 1;
            });
        }
    }
}

/// A "pool" of four in which two work: the others of its clients wait, the first of them for the first place.
fn wait_for_a_place(shared: &Shared) {
    let limit = if shared.mistake == Mistake::TwoWorkersOfFour {
        2
    } else {
        usize::MAX
    };
    while *shared.busy.lock().unwrap() >= limit && !shared.stopped.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(2));
    }
    *shared.busy.lock().unwrap() += 1;
}

fn serve(mut stream: TcpStream, shared: &Shared) {
    stream.set_nodelay(true).unwrap();
    let mut collected = Vec::new();
    while let Some(request) = next_request(&mut stream, &mut collected, shared) {
        if shared.mistake == Mistake::ClosesWithoutAName && request == b"GET\r\n\r\n" {
            return;
        }
        be_silent(&request, shared);
        let reply = answer(&request, shared);
        let failed = reply.contains("\"ERROR\"");
        if failed && shared.mistake == Mistake::ClosesWithoutReplyOnError {
            return;
        }
        let sent = send(&mut stream, &reply, shared.mistake);
        let last = match shared.mistake {
            Mistake::ClosesAfterEachReply => true,
            Mistake::ClosesAfterAnError => failed,
            _ => false,
        };
        if last || sent.is_err() {
            let _ = stream.shutdown(Shutdown::Write);
            return;
        }
    }
}

/// The second reader of the file that is swapped meets it while it is swapped.
fn be_silent(request: &[u8], shared: &Shared) {
    let (file, count) = match shared.mistake {
        Mistake::SilentToOneReader => ("-swapped\r\n\r\n", 2),
        Mistake::SilentToAll => ("-nothing\r\n\r\n", 1),
        _ => return,
    };
    let all = (shared.mistake == Mistake::SilentToAll).then(|| shared.lock.lock());
    let wanted = request.starts_with(b"GET") && request.ends_with(file.as_bytes());
    if wanted && shared.wanted.fetch_add(1, Ordering::SeqCst) + 1 == count {
        thread::sleep(SILENCE);
    }
    drop(all);
}

fn send(stream: &mut TcpStream, reply: &str, mistake: Mistake) -> std::io::Result<()> {
    if mistake == Mistake::ReplyInTwoPieces {
        stream.write_all(reply.as_bytes())?;
        thread::sleep(Duration::from_millis(40));
        return stream.write_all(END);
    }
    let whole = format!("{reply}\r\n\r\n");
    let sent = match mistake {
        Mistake::RepliesTwice => whole.repeat(2),
        Mistake::EndsInOneLineEnd => format!("{reply}\r\n"),
        Mistake::NoStatus => whole.replace("\"status\":\"OK\",", ""),
        _ => whole,
    };
    stream.write_all(sent.as_bytes())
}

/// The next request without its end; `None` when there is none any more.
fn next_request(stream: &mut TcpStream, collected: &mut Vec<u8>, shared: &Shared) -> Option<Vec<u8>> {
    // Small pieces make a search from the start expensive.
    let pieces = if shared.mistake == Mistake::SearchesFromTheStart {
        4
    } else {
        1
    };
    let mut piece = vec![0; 65536 / pieces];
    // How many bytes there were before the latest receive, and before the one before it.
    let (mut searched, mut earlier) = (0, 0);
    let mut held = None;
    loop {
        if let Some(length) = request_length(collected, searched, earlier, shared.mistake) {
            let rest = collected.split_off(length);
            let request = std::mem::replace(collected, rest);
            if shared.mistake == Mistake::IgnoresPipelining {
                collected.clear();
            }
            return Some(request);
        }
        (earlier, searched) = (searched, collected.len());
        let count = stream.read(&mut piece).ok()?;
        if shared.mistake == Mistake::LockHeldWhileReading && held.is_none() {
            held = Some(shared.lock.lock());
        }
        if count == 0 {
            let half = shared.mistake == Mistake::HalfAFileIsOk && collected.starts_with(b"UPLOAD");
            return half.then(|| std::mem::take(collected));
        }
        collected.extend_from_slice(&piece[..count]);
        match shared.mistake {
            Mistake::MessageLimit if collected.len() > 6 << 20 => return None,
            Mistake::OldFileCutOff => cut_off(collected, shared),
            Mistake::ResetInsteadOfRefusal if collected.starts_with(b"UPLOAD .. ") => return None,
            _ => {}
        }
    }
}

/// Length of the first request with its end; `searched` bytes were looked at before the latest receive, and
/// `earlier` before the one before it.
fn request_length(collected: &[u8], searched: usize, earlier: usize, mistake: Mistake) -> Option<usize> {
    let from = match mistake {
        Mistake::EachReceiveIsARequest => return (!collected.is_empty()).then_some(collected.len()),
        Mistake::EndOnlyAtTheBuffersEnd => return collected.ends_with(END).then_some(collected.len()),
        Mistake::EndOnlyInTheLatestReceive => searched,
        Mistake::EndOnlyInTheLatestTwoReceives => earlier,
        Mistake::SearchesFromTheStart => 0,
        _ => searched.saturating_sub(END.len() - 1),
    };
    let at = collected[from..]
        .windows(END.len())
        .position(|window| window == END)?;
    match mistake {
        Mistake::UploadTakesAllThatCame if collected.starts_with(b"UPLOAD") => Some(collected.len()),
        _ => Some(from + at + END.len()),
    }
}

/// Opens the old file for writing as soon as its name is known.
fn cut_off(collected: &[u8], shared: &Shared) {
    let head = String::from_utf8_lossy(&collected[..collected.len().min(300)]).into_owned();
    let mut words = head.split(' ');
    if let (Some("UPLOAD"), Some(name), Some(_)) = (words.next(), words.next(), words.next())
        && let Some(content) = shared.files.lock().unwrap().get_mut(name)
    {
        content.clear();
    }
}

fn ok(members: &str) -> String {
    format!("{{\"status\":\"OK\",{members}}}")
}

fn error(reason: &str, mistake: Mistake) -> String {
    let reason = match mistake {
        Mistake::GluedJson => reason.to_owned(),
        _ => escaped(reason),
    };
    format!("{{\"status\":\"ERROR\",\"data\":\"{reason}\"}}")
}

/// The inside of a JSON string.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// word = one that is not quoted, or one in quotes with \" and \\; returns it and what follows.
fn take_name(text: &str, mistake: Mistake) -> (String, &str) {
    let looks_at_quotes = !matches!(mistake, Mistake::KeepsQuotes | Mistake::SplitsInsideQuotes);
    let Some(quoted) = text.strip_prefix('"').filter(|_| looks_at_quotes) else {
        let (name, rest) = text.split_once(' ').unwrap_or((text.trim_end(), ""));
        return match mistake {
            Mistake::SplitsInsideQuotes => (name.trim_matches('"').to_owned(), rest),
            _ => (name.to_owned(), rest),
        };
    };
    let (mut name, mut chars) = (String::new(), quoted.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (name, quoted[at + 1..].trim_start_matches(' ')),
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            c => name.push(c),
        }
    }
    (name, "")
}

fn answer(request: &[u8], shared: &Shared) -> String {
    let mistake = shared.mistake;
    let text = String::from_utf8_lossy(request);
    let text = text.strip_suffix("\r\n\r\n").unwrap_or(&text);
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let (mut name, content) = take_name(rest, mistake);
    if mistake == Mistake::NamesInLowerCase {
        name = name.to_lowercase();
    }
    let leaves = name.starts_with('.') || name.contains(['/', '\\']);
    let bad = name.is_empty() || leaves && mistake != Mistake::LeavesTheFolder;
    let verb = match mistake {
        Mistake::VerbsInUpperCaseOnly => verb.to_owned(),
        _ => verb.to_uppercase(),
    };
    let reply = match verb.as_str() {
        "LIST" => list(&shared.files.lock().unwrap(), mistake),
        "STATS" if mistake == Mistake::TwoWorkersOfFour => ok("\"data\":{\"workers\":4}"),
        "GET" | "UPLOAD" | "DELETE" if bad => error(&format!("invalid file name: {name}"), mistake),
        "GET" => get(&name, shared),
        "UPLOAD" => return upload(name, content, rest, shared),
        "DELETE" => delete(&name, shared),
        _ => error("request tidak dikenali", mistake),
    };
    shared
        .files
        .lock()
        .unwrap()
        .append(&mut shared.late.lock().unwrap());
    reply
}

fn list(files: &Files, mistake: Mistake) -> String {
    let listed = |name: &String| match mistake {
        Mistake::ListsPaths => format!("files/{name}"),
        Mistake::ListsLatin1 => name.bytes().map(char::from).collect(),
        _ => name.clone(),
    };
    let names: Vec<String> = files
        .keys()
        .filter(|name| !name.contains('/'))
        .map(|name| format!("\"{}\"", escaped(&listed(name))))
        .collect();
    match mistake {
        Mistake::NamesInOneString => ok("\"data\":\"no files\""),
        _ => ok(&format!("\"data\":[{}]", names.join(","))),
    }
}

fn get(name: &str, shared: &Shared) -> String {
    let files = shared.files.lock().unwrap();
    shared.read.store(true, Ordering::SeqCst);
    let content = match files.get(name) {
        Some(content) => content.as_slice(),
        None if shared.mistake == Mistake::MissingIsEmpty => b"",
        None => return error(&format!("file not found: {name}"), shared.mistake),
    };
    let length = content
        .len()
        .saturating_sub(usize::from(shared.mistake == Mistake::LengthOneOff));
    let mut content = content[..length].to_vec();
    if shared.mistake == Mistake::TextMode {
        content.retain(|byte| *byte != b'\r');
    }
    let text = base64(&content);
    let text = match shared.mistake {
        Mistake::UrlSafeAlphabet => text.replace('+', "-").replace('/', "_"),
        Mistake::NoPaddingInReplies => text.replace('=', ""),
        _ => text,
    };
    ok(&format!("\"data_namafile\":\"{name}\",\"data_file\":\"{text}\""))
}

fn upload(name: String, text: &str, rest: &str, shared: &Shared) -> String {
    let mistake = shared.mistake;
    let text = match mistake {
        Mistake::CutsAtTheFirstLineBreak => text.lines().next().unwrap_or_default(),
        _ => text,
    };
    let missing = text.is_empty() && (mistake == Mistake::EmptyIsMissing || !rest.ends_with(' '));
    let Some(content) = decode(text, mistake).filter(|_| !missing) else {
        return error(
            if missing {
                "missing file content"
            } else {
                "invalid base64"
            },
            mistake,
        );
    };
    let reply = ok(&format!("\"data\":\"{name} uploaded successfully\""));
    if mistake == Mistake::SilentToTwoUploaders && name.ends_with("-padding") {
        match shared.wanted.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => thread::sleep(SILENCE),
            // What the first has sent takes the place of this.
            3 => return reply,
            _ => {}
        }
    }
    let mut files = shared.files.lock().unwrap();
    match mistake {
        Mistake::OkBeforeTheFileIsThere => {
            files.remove(&name);
            shared.late.lock().unwrap().insert(name, content);
        }
        Mistake::WritesUnderTheNameItself => {
            files.insert(name.clone(), content[..content.len() / 2].to_vec());
            shared.read.store(false, Ordering::SeqCst);
            drop(files);
            // Until a reader has met it, if there is one.
            let mut looks = 0..10;
            while !shared.read.load(Ordering::SeqCst) && looks.next().is_some() {
                thread::sleep(Duration::from_millis(2));
            }
            shared.files.lock().unwrap().insert(name, content);
        }
        Mistake::AppendsToTheOldFile => files.entry(name).or_default().extend(content),
        _ => {
            files.insert(name, content);
        }
    }
    reply
}

fn delete(name: &str, shared: &Shared) -> String {
    let mut files = shared.files.lock().unwrap();
    let known = match shared.mistake {
        Mistake::DeletesNothing => files.contains_key(name),
        Mistake::DeletesAnything => {
            files.remove(name);
            true
        }
        _ => files.remove(name).is_some(),
    };
    if known {
        ok(&format!("\"data\":\"{name} deleted successfully\""))
    } else {
        error(&format!("file not found: {name}"), shared.mistake)
    }
}

/// Base64 with or without padding and with line breaks; by the book and not by the program under test.
fn decode(text: &str, mistake: Mistake) -> Option<Vec<u8>> {
    let count = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).count();
    if mistake == Mistake::InsistsOnPadding && count % 4 != 0 {
        return None;
    }
    let mut content = Vec::with_capacity(text.len());
    let mut symbols = text.trim_end().trim_end_matches('=').as_bytes();
    // Whole groups as long as nothing else stands between them, which is quick.
    while let Some((group, rest)) = symbols.split_first_chunk::<4>() {
        let [a, b, c, d] = group.map(|symbol| VALUES[usize::from(symbol)]);
        if (a | b | c | d) & FOREIGN != 0 {
            break;
        }
        content.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]);
        symbols = rest;
    }
    let (mut bits, mut have) = (0_u32, 0);
    for &symbol in symbols.iter().filter(|symbol| !symbol.is_ascii_whitespace()) {
        match VALUES[usize::from(symbol)] {
            FOREIGN if mistake == Mistake::DropsForeignSymbols => continue,
            FOREIGN => return None,
            value => bits = bits << 6 | u32::from(value),
        }
        have += 6;
        if have >= 8 {
            have -= 8;
            content.push((bits >> have) as u8);
        }
    }
    Some(content)
}

const FOREIGN: u8 = 0x80;

/// The six bits that each byte stands for, or `FOREIGN`.
static VALUES: [u8; 256] = {
    let mut values = [FOREIGN; 256];
    let mut value = 0;
    while value < SYMBOLS.len() {
        values[SYMBOLS[value] as usize] = value as u8;
        value += 1;
    }
    values
};
