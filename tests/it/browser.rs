//! The page of the HTTP server in a real browser: Chromium without a window, driven through its DevTools
//! protocol by a WebSocket client of just the size that is needed. It shows what no reading of bytes can:
//! that the links of the page lead to the files, that a browser keeps their bytes, and that no name is a
//! program.

use crate::support::*;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What the browser may be called.
const NAMES: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// Longest wait for a browser to start or to end.
const LONG: Duration = Duration::from_secs(20);

/// A browser that is installed, as a command; `None`, and a word about it, when there is none.
fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let found = NAMES
        .iter()
        .flat_map(|name| places.iter().map(move |place| place.join(name)));
    let found = found.into_iter().find(|program| program.is_file());
    if found.is_none() {
        skipped(format!("there is no browser, neither {}", NAMES.join(" nor ")));
    }
    found
}

/// A folder for all that the browser writes, and the browser in it; both are gone when this is dropped.
struct Home(Folder);

impl Home {
    fn new() -> Home {
        let home = Home(Folder::new());
        for name in ["profile", "downloads", "temporary"] {
            home.0.folder(name);
        }
        home
    }

    fn command(&self, program: &PathBuf, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        // Chromium does not run as root in its own sandbox.
        if fs::metadata("/proc/self").unwrap().uid() == 0 {
            command.arg("--no-sandbox");
        }
        command.arg(format!("--user-data-dir={}", self.0.join("profile").display()));
        let quiet = "--headless=new --disable-gpu --no-first-run --no-proxy-server --disable-sync \
                     --disable-background-networking --disable-component-update --disable-extensions \
                     --disable-breakpad --disable-dev-shm-usage";
        command.args(quiet.words());
        for name in ["HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"] {
            command.env(name, self.0.path());
        }
        command.env("TMPDIR", self.0.join("temporary"));
        // In the locale C it finds no file whose name is not ASCII.
        command.env("LC_ALL", "C.UTF-8");
        command.args(words).stdin(Stdio::null());
        command
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // The folder has a name of its own, so these are all ours: helpers of the browser that outlived it.
        // With the slash behind it, for the name may be the beginning of another one.
        let ours = || processes(self.0.join("").as_os_str().as_encoded_bytes());
        for pid in ours() {
            let _ = Command::new("kill")
                .args(["-KILL", &pid.to_string()])
                .stderr(Stdio::null())
                .status();
        }
        if !std::thread::panicking() {
            eventually("the browser has ended", || ours().is_empty());
        }
    }
}

/// What follows `before` in a JSON text, as a string.
fn string_after(text: &str, before: &str) -> Option<String> {
    Some(json_string(text.split_once(before)?.1)?.0)
}

/// A text as a string of JSON, and of JavaScript.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for unit in text.encode_utf16() {
        quoted += &format!("\\u{unit:04x}");
    }
    quoted + "\""
}

/// A WebSocket (RFC 6455), as far as text goes.
struct Socket(BufReader<TcpStream>);

impl Socket {
    fn connect(port: u16, path: &str) -> Socket {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let key = base64(&noise(16, 1));
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13";
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{upgrade}\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut socket = Socket(BufReader::new(stream));
        let mut line = String::new();
        socket.0.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 101 "), "{line}");
        while line != "\r\n" {
            line.clear();
            assert!(
                socket.0.read_line(&mut line).unwrap() > 0,
                "the answer has no end"
            );
        }
        socket
    }

    /// frame = FIN and opcode, mask bit and length, mask, payload. A client masks what it sends.
    fn send(&mut self, text: &str) {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![0x81];
        match text.len() {
            length @ 0..126 => frame.push(0x80 | length as u8),
            length @ 126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(
            text.bytes()
                .zip(mask.into_iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        self.0.get_mut().write_all(&frame).unwrap();
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The next message, put together from its frames.
    fn receive(&mut self) -> String {
        let mut message = Vec::new();
        loop {
            let [first, second] = self.bytes();
            assert_eq!(second & 0x80, 0, "a server does not mask");
            let length = match second {
                126 => u64::from(u16::from_be_bytes(self.bytes())),
                127 => u64::from_be_bytes(self.bytes()),
                length => u64::from(length),
            };
            let mut payload = vec![0; length as usize];
            self.0.read_exact(&mut payload).unwrap();
            match first & 0xf {
                0 | 1 => message.extend(payload),
                8 => panic!("the browser hangs up"),
                // A ping needs an answer only from those who stay.
                _ => continue,
            }
            if first & 0x80 != 0 {
                return String::from_utf8(message).unwrap();
            }
        }
    }
}

/// A running browser with one tab.
struct Browser {
    socket: Socket,
    /// Number of the last command.
    last: u32,
    /// The tab's session: `,"sessionId":"…"`, or nothing for the browser itself.
    tab: String,
    child: Child,
    home: Home,
}

impl Browser {
    fn start(program: &PathBuf) -> Browser {
        let home = Home::new();
        let mut command = home.command(program, &["--remote-debugging-port=0", "about:blank"]);
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut whole = String::new();
        within(LONG, "the browser is ready", || {
            whole = fs::read_to_string(home.0.join("profile/DevToolsActivePort")).unwrap_or_default();
            whole.lines().count() == 2
        });
        let (port, path) = whole.split_once('\n').unwrap();
        let socket = Socket::connect(port.parse().unwrap(), path.trim_end());
        let mut browser = Browser {
            socket,
            last: 0,
            tab: String::new(),
            child,
            home,
        };
        let folder = browser.home.0.join("downloads").display().to_string();
        let allow = format!(
            "\"behavior\":\"allowAndName\",\"downloadPath\":{}",
            quoted(&folder)
        );
        browser.command("Browser.setDownloadBehavior", &allow);
        let tab = browser.command("Target.createTarget", "\"url\":\"about:blank\"");
        let tab = string_after(&tab, "\"targetId\":").unwrap();
        let attach = format!("\"targetId\":\"{tab}\",\"flatten\":true");
        let session = browser.command("Target.attachToTarget", &attach);
        let session = string_after(&session, "\"sessionId\":").unwrap();
        browser.tab = format!(",\"sessionId\":\"{session}\"");
        browser.command("Page.enable", "");
        browser
    }

    /// Sends a command and waits for its answer; what else the browser tells meanwhile is let go.
    fn command(&mut self, method: &str, parameters: &str) -> String {
        self.last += 1;
        let Browser { last, tab, .. } = self;
        self.socket.send(&format!(
            "{{\"id\":{last},\"method\":\"{method}\",\"params\":{{{parameters}}}{tab}}}"
        ));
        let answer = format!("{{\"id\":{last},");
        loop {
            let message = self.socket.receive();
            if message.starts_with(&answer) {
                assert!(!message.contains("\"error\":{"), "{method}: {message}");
                return message;
            }
        }
    }

    /// The value of an expression of JavaScript, as text.
    fn evaluate(&mut self, expression: &str) -> String {
        let text = quoted(&format!("String({expression})"));
        let answer = self.command("Runtime.evaluate", &format!("\"expression\":{text}"));
        assert!(!answer.contains("exceptionDetails"), "{expression}: {answer}");
        string_after(&answer, "\"value\":").unwrap_or_else(|| panic!("{expression}: {answer}"))
    }

    /// Opens an address and waits until it is there.
    fn open(&mut self, address: &str) {
        self.command("Page.navigate", &format!("\"url\":{}", quoted(address)));
        self.arrive(address);
    }

    /// Waits until the tab shows this address.
    fn arrive(&mut self, address: &str) {
        self.wait_for("location.href + ' ' + document.readyState", |found| {
            found == format!("{address} complete")
        });
    }

    /// Waits until the value of an expression is as it should be.
    fn wait_for(&mut self, expression: &str, right: impl Fn(&str) -> bool) {
        let (mut found, began) = (String::new(), Instant::now());
        while !right(&found) {
            assert!(began.elapsed() < PATIENCE, "{expression} stays {found:?}");
            // Between two pages there is nothing to ask; a little later there is.
            std::thread::sleep(Duration::from_millis(5));
            found = self.evaluate(expression);
        }
    }

    /// Clicks the link with exactly this text; returns where it leads.
    fn click(&mut self, name: &str) -> String {
        let link = format!(
            "[...document.links].find(a => a.textContent === {})",
            quoted(name)
        );
        let target = self.evaluate(&format!("({link} || {{}}).href"));
        assert_ne!(target, "undefined", "there is no link {name:?}");
        self.evaluate(&format!("{link}.click()"));
        target
    }

    /// Chooses files in the file input of the page, as its dialog would, and sends the form.
    fn submit(&mut self, files: &[PathBuf]) {
        let input = quoted("document.querySelector('input[type=file]')");
        let input = self.command("Runtime.evaluate", &format!("\"expression\":{input}"));
        let input = string_after(&input, "\"objectId\":").unwrap();
        let files: Vec<String> = files.iter().map(|file| quoted(file.to_str().unwrap())).collect();
        let files = files.join(",");
        self.command(
            "DOM.setFileInputFiles",
            &format!("\"files\":[{files}],\"objectId\":\"{input}\""),
        );
        self.evaluate("document.querySelector('button').click()");
    }

    /// Waits until the page says this.
    fn read(&mut self, text: &str) {
        let shown = "document.body ? document.body.innerText : ''";
        self.wait_for(shown, |found| found.contains(text));
    }

    /// Waits for a download of that many bytes, and takes it away.
    fn downloaded(&mut self, size: usize) -> Vec<u8> {
        let folder = self.home.0.join("downloads");
        let mut bytes = Vec::new();
        eventually("the download is whole", || {
            let [name] = &*names(&folder) else {
                return false;
            };
            bytes = fs::read(folder.join(name)).unwrap_or_default();
            // While it is on its way it bears another name, or is shorter.
            !name.ends_with(".crdownload") && bytes.len() >= size
        });
        names(&folder)
            .iter()
            .for_each(|name| fs::remove_file(folder.join(name)).unwrap());
        bytes
    }

    fn close(mut self) {
        self.tab.clear();
        self.command("Browser.close", "");
        within(LONG, "the browser ends", || {
            self.child.try_wait().unwrap().is_some()
        });
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Each of these would be something else than a name, if the page let it.
const NAMES_OF_FILES: [&str; 5] = [
    "a.bin",
    "<img src=x onerror=document.title='broken'>.bin",
    "what?json#top 100%.bin",
    "\" onclick=\"alert(1)\" é日😀.bin",
    "a&amp;b.bin",
];

/// A text that only a reader of UTF-8 reads right.
const NOTES: &str = "Kolam ikan <b>di</b> taman &amp; é日😀.";

fn folder() -> Folder {
    let folder = Folder::new();
    for (at, name) in NAMES_OF_FILES.iter().enumerate() {
        folder.write(name, noise(300_000 + at, at as u64));
    }
    folder.write("notes.txt", NOTES.as_bytes());
    folder
}

/// An impatient server, because browsers open connections that they do not use, and `single` has one worker.
fn start(mode: &str, folder: &Folder) -> Server {
    Server::start(mode, 4, folder, "--protocol http --idle-timeout 0.5")
}

#[test]
fn a_browser_shows_the_page() {
    let Some(program) = installed() else { return };
    let (home, folder) = (Home::new(), folder());
    let server = start("event", &folder);
    let address = format!("http://{}/", server.address);
    let ended: Ended = Run::start(&mut home.command(&program, &["--dump-dom", &address])).finish(LONG);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let page = ended.text();
    assert_has(
        page,
        &[
            "a.bin",
            "notes.txt",
            "&lt;img src=x",
            "100%.bin",
            "é日😀.bin",
            "a&amp;amp;b.bin",
        ],
    );
    assert!(page.contains("curl -T") && page.contains(&address), "{page}");
}

#[test]
fn a_browser_follows_the_links_and_gets_the_bytes() {
    let Some(program) = installed() else { return };
    let mut browser = Browser::start(&program);
    each_case(MODES, HTTP, |Case { mode, .. }, _| {
        let folder = folder();
        let server = start(mode, &folder);
        let address = format!("http://{}/", server.address);
        browser.open(&address);
        for (at, name) in NAMES_OF_FILES.iter().enumerate() {
            browser.click(name);
            let bytes = browser.downloaded(300_000 + at);
            assert!(
                bytes == noise(300_000 + at, at as u64),
                "{name}: {} bytes",
                bytes.len()
            );
            assert_eq!(
                browser.evaluate("location.href"),
                address,
                "{name}: it left the page"
            );
        }
        assert_eq!(
            browser.evaluate("document.images.length"),
            "0",
            "a name became an image"
        );
        assert_ne!(
            browser.evaluate("document.title"),
            "broken",
            "a name became a program"
        );
        let target = browser.click("notes.txt");
        browser.arrive(&target);
        assert_eq!(target, format!("{address}notes.txt"));
        assert_eq!(browser.evaluate("document.body.innerText.trim()"), NOTES);
        browser.open("about:blank");
    });
    browser.close();
}

#[test]
fn a_browser_uploads_through_the_form() {
    let Some(program) = installed() else { return };
    let mut browser = Browser::start(&program);
    let sources = Folder::new();
    let names = ["a b.bin", "\" onclick=\"alert(1)\" é日😀.bin", "<b>.bin"];
    for (at, name) in names.iter().enumerate() {
        sources.write(name, noise(300_000 + at, at as u64));
    }
    // Large enough that it is refused while the browser is still sending.
    sources.write("large.bin", noise(8 << 20, 9));
    each_case(MODES, HTTP, |case, folder| {
        folder.write("a b.bin", b"old");
        let options = "--protocol http --idle-timeout 0.5 --max-upload 1M";
        let server = case.serve(folder, 4, options);
        let address = format!("http://{}/", server.address);
        browser.open(&format!("{address}?sort=size&other"));
        browser.submit(&names.map(|name| sources.join(name)));
        // The answer has led back to the page in its order, and there the new files are.
        browser.arrive(&format!("{address}?sort=size"));
        for (at, name) in names.iter().enumerate() {
            assert!(folder.read(name) == noise(300_000 + at, at as u64), "{name}");
            let link = format!(
                "[...document.links].some(a => a.textContent === {})",
                quoted(name)
            );
            assert_eq!(browser.evaluate(&link), "true", "{name}");
        }
        // A reload shows the page again and does not send the form again.
        fs::remove_file(folder.join("a b.bin")).unwrap();
        browser.evaluate("document.title = 'old'");
        browser.command("Page.reload", "");
        browser.read("Total\t585.9 KiB");
        assert_eq!(folder.names().len(), 2);
        browser.submit(&[sources.join("a b.bin"), sources.join("large.bin")]);
        browser.read("large.bin: file too large");
        browser.read("stored before that: 1 file");
        assert_eq!(folder.names().len(), 3);
        browser.open("about:blank");
    });
    browser.close();
}

/// What a page of another site could do to the user of this one, if it were let (CSRF).
#[test]
fn a_browser_cannot_be_made_to_upload_by_another_page() {
    let Some(program) = installed() else { return };
    let mut browser = Browser::start(&program);
    let (sources, folder) = (Folder::new(), Folder::new());
    sources.write("a", b"A");
    let server = start("event", &folder);
    let form = format!(
        "data:text/html,<form method=post enctype=multipart/form-data action=http://{}/>\
         <input type=file name=file><button>x</button></form>",
        server.address
    );
    browser.command("Page.navigate", &format!("\"url\":{}", quoted(&form)));
    browser.read("x");
    browser.submit(&[sources.join("a")]);
    browser.read("this form was sent by a page of another site");
    assert!(folder.names().is_empty());
    browser.open("about:blank");
    server.stop();
    browser.close();
}

#[test]
fn a_browser_sorts_by_the_heads_and_needs_no_wide_screen() {
    let Some(program) = installed() else { return };
    let mut browser = Browser::start(&program);
    let folder = Folder::new();
    for (name, size) in [
        ("a", 5),
        ("b", 2000),
        (&*"W".repeat(255), 1),
        (&*"日".repeat(85), 0),
    ] {
        folder.write(name, noise(size, 1));
    }
    let server = start("event", &folder);
    let address = format!("http://{}/", server.address);
    let metrics = "\"width\":390,\"height\":844,\"deviceScaleFactor\":1,\"mobile\":true";
    browser.command("Emulation.setDeviceMetricsOverride", metrics);
    browser.open(&address);
    let sizes = "[...document.querySelectorAll('tbody td:nth-child(2)')].map(cell => cell.innerText)";
    for (head, order, sorted) in [
        ("Size", "2.0 KiB,5 B,1 B,0 B", "descending"),
        ("Size \u{2193}", "0 B,1 B,5 B,2.0 KiB", "ascending"),
        ("Name", "1 B,5 B,2.0 KiB,0 B", "ascending"),
    ] {
        let target = browser.click(head);
        browser.arrive(&target);
        assert_eq!(browser.evaluate(sizes), order, "{head}");
        let heads = "document.querySelectorAll('[aria-sort]')";
        assert_eq!(
            browser.evaluate(&format!("{heads}.length + {heads}[0].ariaSort")),
            format!("1{sorted}")
        );
        // Nothing stands beside the screen: every cell ends on it.
        let right =
            "Math.max(...[...document.querySelectorAll('*')].map(e => e.getBoundingClientRect().right))";
        assert_eq!(
            browser.evaluate(&format!(
                "{right} <= 390 && document.documentElement.scrollWidth <= 390"
            )),
            "true"
        );
    }
    // One letter, with more marks than the screen is wide, is cut off before the next column.
    folder.write(&format!("ก{}", "ำ".repeat(80)), b"");
    folder.write(&format!("1{}", "\u{20e3}".repeat(80)), b"");
    browser.open(&address);
    assert_eq!(
        browser.evaluate("document.documentElement.scrollWidth <= 390"),
        "true"
    );
    let covered = "[...document.querySelectorAll('tbody td:nth-child(2)')].filter(cell => { \
         cell.scrollIntoView(); const box = cell.getBoundingClientRect(); \
         return document.elementFromPoint(box.left + 9, box.top + 9) != cell }).length";
    assert_eq!(browser.evaluate(covered), "0", "a name lies over the next column");
    let paper = "getComputedStyle(document.body).backgroundColor";
    let light = browser.evaluate(paper);
    let dark = "\"features\":[{\"name\":\"prefers-color-scheme\",\"value\":\"dark\"}]";
    browser.command("Emulation.setEmulatedMedia", dark);
    assert_ne!(browser.evaluate(paper), light);
    browser.open("about:blank");
    server.stop();
    browser.close();
}
