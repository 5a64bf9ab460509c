//! The program as people use it: the client's commands against the real server and against servers that lie,
//! exit codes, messages, mistyped words, closed pipes, interrupted transfers, and a server that cannot start.

use crate::support::pty::Terminal;
use crate::support::*;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// The commands that talk to a server, each with the words it needs.
const CLIENT: [&str; 5] = ["list", "download a", "upload - --as a", "delete a", "stats"];

/// Runs a client command against the server at `address`.
#[track_caller]
fn ask(address: SocketAddr, words: impl Words) -> Ended {
    run([words.words(), format!("--server {address}").words()].concat())
}

// ---- the client and its server ----

#[test]
fn the_client_uploads_lists_downloads_counts_and_deletes() {
    each_case(MODES, FILE, |case, files| {
        let mode = case.mode;
        let here = Folder::new();
        let server = case.serve(files, 2, "");
        let content = noise(1_500_001, 1);
        here.write("a.bin", &content);
        here.write("empty", b"");
        let [source, empty, target] = ["a.bin", "empty", "b.bin"].map(|name| here.word(name));
        let address = server.address;
        assert_eq!(
            ask(address, format!("upload {source}")).ok(),
            "a.bin uploaded, 1500001 bytes\n"
        );
        let sent = ask(address, &["upload", &empty, "--as", "my empty \"file\""]);
        assert_eq!(sent.ok().lines().count(), 1);
        assert!(files.read("a.bin") == content);
        assert_eq!(ask(address, "list").ok(), "a.bin\nmy empty \"file\"\n");
        assert_eq!(
            ask(address, format!("download a.bin -o {target}")).ok(),
            format!("{target} downloaded, 1500001 bytes\n")
        );
        assert!(here.read("b.bin") == content);
        assert_eq!(
            ask(address, &["download", "my empty \"file\"", "-o", &target]).code,
            Some(0)
        );
        assert_eq!(here.read("b.bin"), b"");
        assert_eq!(ask(address, "delete a.bin").ok(), "a.bin deleted\n");
        assert_eq!(ask(address, &["delete", "my empty \"file\""]).code, Some(0));
        assert_eq!(ask(address, "list").ok(), "");
        let stats = ask(address, "stats");
        let counted = |key: &str| stats.ok().lines().any(|line| line.starts_with(key));
        assert!(
            counted("mode ") && counted("requests ") && counted("per_worker 0"),
            "{stats:?}"
        );
        stats.says(&[mode]);
        assert!(files.names().is_empty());
        assert_eq!(here.names(), ["a.bin", "b.bin", "empty"]);
    });
}

#[test]
fn a_dash_is_stdin_or_stdout() {
    let files = Folder::new();
    let server = Server::start("thread", 2, &files, "");
    let address = server.address.to_string();
    for size in [0, 1, 5, 1023, 400_000] {
        let mut content = noise(size, 3);
        content.iter_mut().step_by(7).for_each(|byte| *byte = b'\n');
        let sent = run_with_input(format!("upload - --as a --server {address}"), &content);
        assert_eq!(sent.ok(), format!("a uploaded, {size} bytes\n"));
        let fetched = ask(server.address, "download a -o -");
        assert_eq!((fetched.code, fetched.stderr.as_str()), (Some(0), ""));
        assert!(fetched.stdout == content, "{size} bytes");
    }
    run_with_input(format!("upload - --server {address}"), b"A").failed(2, &["--as"]);
}

#[test]
fn a_download_goes_to_its_own_name_in_the_current_folder() {
    let (files, here) = (Folder::new(), Folder::new());
    files.write("a b", b"content");
    files.write("-x", b"dash");
    let server = Server::start("thread", 2, &files, "");
    let address = format!("--server={}", server.address);
    for words in [
        &["download", &address, "a b"][..],
        &["download", &address, "--", "-x"],
    ] {
        Run::start(kolam(words).current_dir(here.path()))
            .finish(PATIENCE)
            .ok();
    }
    assert_eq!([here.read("a b"), here.read("-x")], [&b"content"[..], b"dash"]);
    assert_eq!(here.names(), ["-x", "a b"]);
}

#[test]
fn a_download_that_is_refused_says_why_and_leaves_no_file() {
    let (files, here) = (Folder::new(), Folder::new());
    let server = Server::start("thread", 2, &files, "");
    let target = here.word("a");
    let download = || ask(server.address, format!("download a -o {target}"));
    download().failed(1, &["file not found", &server.address.to_string()]);
    assert!(here.names().is_empty());
    here.write("a", b"old");
    download().failed(1, &["file not found"]);
    assert_eq!(here.read("a"), b"old");
    ask(server.address, format!("download ../a -o {target}")).failed(1, &["invalid file name"]);
    ask(server.address, "delete a").failed(1, &["file not found"]);
    files.write("a", b"A");
    let folder = here.word("");
    ask(server.address, format!("download a -o {folder}")).failed(1, &["cannot write", &folder]);
    let nowhere = here.word("none/a");
    ask(server.address, format!("download a -o {nowhere}")).failed(1, &["cannot write", &nowhere]);
    assert_eq!(here.names(), ["a"]);
}

#[test]
fn an_upload_that_is_refused_says_why() {
    let (files, here) = (Folder::new(), Folder::new());
    files.write("big", b"old");
    here.write("big", noise(16 << 20, 1));
    let server = Server::start("thread", 2, &files, "--max-upload 1MB");
    let [big, none] = ["big", "none"].map(|name| here.word(name));
    ask(server.address, format!("upload {big}")).failed(1, &["file too large"]);
    ask(server.address, format!("upload {big} --as .big")).failed(1, &["invalid file name"]);
    ask(server.address, &["upload", &big, "--as", "a\nb"]).failed(1, &["control character"]);
    ask(server.address, format!("upload {none}")).failed(1, &["cannot read", &none]);
    files.assert_only("big", b"old");
    server.stop();
    let server = Server::start("thread", 2, &files, "--read-only");
    ask(server.address, format!("upload {big}")).failed(1, &["permission denied"]);
    ask(server.address, "delete big").failed(1, &["permission denied"]);
}

#[test]
fn what_cannot_be_uploaded_is_told_before_there_is_a_connection() {
    let here = Folder::new();
    here.write("secret", b"");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let upload = |path: &str| ask(listener.local_addr().unwrap(), format!("upload {path}"));
    let folder = here.word("");
    for path in [&folder, "/", ".."] {
        upload(path).failed(1, &[&format!("cannot read {path}: it is a folder; name a file")]);
    }
    let none = here.word("none");
    upload(&none).failed(1, &[&format!("cannot read {none}: "), "No such file"]);
    let secret = here.join("secret");
    fs::set_permissions(&secret, Permissions::from_mode(0o000)).unwrap();
    // Root may read everything.
    if File::open(&secret).is_err() {
        upload(&secret.display().to_string()).failed(1, &["cannot read", "secret: Permission denied"]);
    }
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        io::ErrorKind::WouldBlock,
        "it has connected"
    );
}

#[test]
fn a_path_may_hold_any_bytes_and_a_name_on_the_wire_may_not() {
    let here = Folder::new();
    let odd = |name: &[u8]| here.path().join(OsStr::from_bytes(name));
    let (source, target, root) = (odd(b"a\xff.bin"), odd(b"\xfe"), odd(b"files\xfd"));
    fs::write(&source, b"content").unwrap();
    let server = Server::launch("thread", 2, &root, "--quiet");
    // A word that holds `@` stands for a path.
    let ask = |words: &str, path: &OsStr| {
        let words = words.words().into_iter().map(|word| {
            let parts: Vec<&[u8]> = word.as_bytes().split(|&byte| byte == b'@').collect();
            OsString::from_vec(parts.join(path.as_bytes()))
        });
        run([words.collect(), format!("--server {}", server.address).words()].concat())
    };
    ask("upload @", source.as_os_str()).failed(2, &["not UTF-8", "add --as NAME"]);
    let uploaded = ask("upload @ --as a.bin", source.as_os_str());
    assert_eq!(uploaded.ok(), "a.bin uploaded, 7 bytes\n");
    assert_eq!(fs::read(root.join("a.bin")).unwrap(), b"content");
    for words in ["download a.bin -o @", "download a.bin -o=@"] {
        ask(words, target.as_os_str()).ok();
        assert_eq!(fs::read(&target).unwrap(), b"content");
        fs::remove_file(&target).unwrap();
    }
    let odd_name = OsStr::from_bytes(b"\xff");
    ask("upload - --as @", odd_name).failed(2, &["--as", "not UTF-8"]);
    ask("delete @", odd_name).failed(2, &["delete: NAME", "not UTF-8"]);
    ask("list --@", odd_name).failed(2, &["unknown option"]);
    let out = odd(b"results\xfc");
    let small = "stress --modes thread --ops list --volumes 1MB --clients 1 --servers 1 --out";
    let ended = run([small.words(), vec![out.clone().into()]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(out.join("thread.csv").is_file());
}

#[test]
fn a_download_into_a_pipe_does_not_put_a_file_in_its_place() {
    let (files, here) = (Folder::new(), Folder::new());
    files.write("a", b"content");
    let server = Server::start("thread", 2, &files, "");
    let pipe = here.join("pipe");
    here.pipe("pipe");
    // Open for both, so that nobody waits for the other end.
    let mut ends = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let ended = ask(server.address, format!("download a -o {}", pipe.display()));
    let kind = fs::symlink_metadata(&pipe).unwrap().file_type();
    assert!(kind.is_fifo(), "the pipe has become {kind:?}");
    if ended.code == Some(0) {
        let mut content = [0; 7];
        ends.read_exact(&mut content).unwrap();
        assert_eq!(&content, b"content");
    }
}

// ---- mistakes ----

#[test]
fn mistakes_on_the_command_line_end_with_2_and_one_line() {
    assert_usage(
        "uplaod a => uplaod | did you mean upload?
        serv => did you mean serve?
        frobnicate => frobnicate | kolam --help
        serve --wrokers 3 => --wrokers | did you mean --workers?
        list --sever x:1 => --sever | did you mean --server?
        stress --volums 1 => did you mean --volumes?
        serve --xyzzyplugh => unknown option --xyzzyplugh
        serve --mode thraed => thraed | did you mean thread?
        serve --mode single --workers 5 => --workers 5 | single
        serve --workers 0 => --workers 0 | from 1
        serve --workers many => --workers many
        stress --volumes 1KB => --volumes 1KB | numbers of MiB from 1 to 100000
        serve --workers => --workers | needs a value
        serve --quiet=yes => --quiet | no value
        serve --listen localhost => --listen localhost | HOST:PORT
        serve --listen 127.0.0.1:70000 => --listen 127.0.0.1:70000
        serve --max-upload 5X => --max-upload 5X
        serve --max-upload 99999999999G => --max-upload
        serve --idle-timeout -1 => --idle-timeout -1
        serve --grace nan => --grace nan
        serve extra => extra
        download => NAME is missing | kolam download --help
        delete a b => 'b'
        download a b -o c => -o FILE is for one NAME
        download a --resume => --resume | http://
        list --server https://x:1 => --server https://x:1 | http://HOST:PORT
        upload a b --as c => --as NAME is for one FILE
        upload x/a y/a => two files have the name \"a\"
        stats --server http://127.0.0.1:1 => the file protocol alone | /metrics
        download ../a => -o
        stress --ops downlaod => did you mean download?
        stress --volumes 1,1 => --volumes 1,1
        stress --clients 1,,5 => --clients 1,,5
        stress --servers 0 => --servers 0
        stress --modes single --servers 5 => --servers 5 | single",
    );
    run("serve --mode thraed").failed(2, &[&MODES.join(", ")]);
    let ended = run("");
    assert!(
        ended.code == Some(2) && ended.stderr.contains("usage: kolam COMMAND"),
        "{ended:?}"
    );
}

#[test]
fn a_guessed_option_or_command_leads_to_the_right_one() {
    // At the end, what is near in letters to nothing, and guessed by no other program.
    assert_usage(
        "serve --port 80 => --port; it is part of --listen HOST:PORT
        serve -p 80 => -p; it is part of --listen HOST:PORT
        list --port 80 => --port; it is part of --server HOST:PORT
        list --host 127.0.0.1 => --host; it is part of --server HOST:PORT
        stress --port 80 => --port; it is part of --target HOST:PORT
        serve --bind 0.0.0.0 => --bind; did you mean --listen HOST:PORT?
        serve --address 0.0.0.0 => --address; did you mean --listen HOST:PORT?
        serve --dir x => --dir; did you mean --root DIR?
        serve --folder x => --folder; did you mean --root DIR?
        serve --threads 5 => --threads; did you mean --workers N or --mode MODE?
        serve --processes 5 => --processes; did you mean --workers N or --mode MODE?
        download a --output b => --output; did you mean -o FILE?
        stress --output b => --output; did you mean --out DIR?
        serve --limit 5 => --limit; did you mean --max-upload SIZE?
        ls => unknown command ls; did you mean list?
        get a => unknown command get; did you mean download?
        server => unknown command server; did you mean serve?
        help nonsense => unknown command nonsense; try kolam --help
        help srve => unknown command srve; did you mean serve?
        serve --colour => unknown option --colour; kolam serve --help lists all
        delete a --force => unknown option --force; kolam delete --help lists all",
    );
}

#[test]
fn help_is_given_for_each_command() {
    for words in ["--help", "-h", "help", "help --help", "help help"] {
        let overview = run(words);
        assert!(
            overview.ok().lines().all(|line| line.chars().count() < 80),
            "{overview:?}"
        );
        overview.says(COMMANDS);
    }
    assert_eq!(
        run("--version").ok(),
        concat!("kolam ", env!("CARGO_PKG_VERSION"), "\n")
    );
    for command in COMMANDS {
        let asked = run(format!("help {command}"));
        assert_eq!(asked.ok(), run(format!("{command} --help")).ok());
        for words in ["--help", "-h", "--help --nonsense"] {
            let help = run(format!("{command} {words}"));
            help.says(&[&format!("usage: kolam {command}")]);
            assert!(
                help.ok().lines().all(|line| line.chars().count() < 80),
                "{help:?}"
            );
        }
    }
    let serve = run("serve --help");
    let options = "--protocol --mode --workers --listen --root --max-upload --sync --read-only";
    options.split(' ').for_each(|option| serve.says(&[option]));
    serve.says(&[
        "--idle-timeout TIME",
        "TIME: ",
        "500ms",
        "--max-upload SIZE",
        "SIZE: ",
        "10MB",
        "1024",
    ]);
}

fn make(words: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new("make");
    command.args(["-n", "-C", env!("CARGO_MANIFEST_DIR"), "--no-print-directory"]);
    // Where the tests themselves were started by make, or the user has variables of these names.
    for name in "MAKEFLAGS MFLAGS MAKELEVEL PROTOCOL MODE W HOST PORT ROOT ARGS".split(' ') {
        command.env_remove(name);
    }
    let output = command.args(words.words()).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.code(), stdout, stderr)
}

/// Make runs a command that holds `part`, wherever its lines are broken.
#[track_caller]
pub fn assert_passes(words: &str, part: &str) {
    let (code, stdout, stderr) = make(words);
    assert_eq!(code, Some(0), "{words}: {stderr}");
    let plain: Vec<&str> = stdout.split_whitespace().filter(|word| *word != "\\").collect();
    assert_has(&plain.join(" "), &[part]);
}

#[test]
fn variables_of_make_in_small_letters_are_told() {
    let makefile = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Makefile")).unwrap();
    let variables = makefile.lines().filter_map(|line| line.split_once(" ?="));
    // CARGO is not for users of kolam, STRESS_ROOT has no default.
    let variables = variables.map(|(name, _)| name).filter(|name| *name != "CARGO");
    let variables = variables.chain(["STRESS_ROOT"]);
    let mut count = 0;
    for (variable, target) in variables.zip(["server", "stress", "help", "clean"].into_iter().cycle()) {
        let small = variable.to_lowercase();
        let (code, stdout, stderr) = make(&format!("{target} {small}=process"));
        let told = format!("{small}=process: variables are in capitals here: {variable}=process");
        assert!(
            code == Some(2) && stderr.contains(&told),
            "{variable}: let a target take it. {stderr}"
        );
        assert_eq!((stdout.as_str(), stderr.lines().count()), ("", 1), "{variable}");
        count += 1;
    }
    assert!(count > 5, "these are not all variables");
    let (code, stdout, stderr) = make("server MODE=process W=5");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_has(&stdout, &["--mode process --workers 5"]);
}

#[test]
fn a_variable_that_the_target_does_not_use_is_told() {
    for (words, told) in rows(
        "server Mode=process => Mode=process: variables are in capitals here: MODE=process.
        server WORKERS=3 => WORKERS=3: make server does not use it; did you mean W?.
        server workers=3 => workers=3: make server does not use it; did you mean W?.
        server MODES=thread => MODES=thread: make server does not use it; did you mean MODE?.
        stress MODE=thread => MODE=thread: make stress does not use it; did you mean MODES?.
        ab SERVERS=3 => SERVERS=3: make ab does not use it; did you mean BACKENDS?.
        modes N=1 => N=1: make modes does not use it; it uses COLUMN OUT FORCE KOLAM SHM.
        build W=3 => W=3: make build does not use it; it uses no variable.
        stress FORCE=1 => FORCE=1: expected yes.",
    ) {
        let (code, stdout, stderr) = make(words);
        assert_has(&stderr, &[told]);
        assert_eq!(
            (code, stdout.as_str(), stderr.lines().count()),
            (Some(2), "", 1),
            "{words}"
        );
    }
    for (words, part) in rows(
        "stress OUT=x FORCE=yes => --out 'x' --force
        stress-quick MODES=event STRESS_ROOT=x => --modes event --root 'x'
        ab ROUNDS=3 SHM=x SERVING_KOLAM=x => ROUNDS=3
        stress server MODE=thread MODES=thread => serve --protocol file --mode thread
        test RUSTFLAGS=-g CARGO=cargo => cargo test",
    ) {
        assert_passes(words, part);
    }
    let (_, help, _) = make("help");
    assert_has(&help, &["FORCE=yes", "ROUNDS"]);
}

#[test]
fn a_server_that_cannot_start_says_why_in_one_line() {
    let folder = Folder::new();
    folder.write("file", b"");
    let root = folder.path().to_str().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    each_case(MODES, FILE, |Case { mode, .. }, _| {
        let serve = format!("serve --mode {mode} --listen");
        run(format!("{serve} {address} --root {root}"))
            .failed(1, &["cannot listen", &address, "make: PORT="]);
        for root in [&folder.word("file"), &folder.word("file/below"), "/proc/kolam"] {
            let ended = run(format!("{serve} 127.0.0.1:0 --root {root}"));
            ended.failed(1, &["--root", root]);
            assert_eq!(ended.text(), "");
        }
    });
    assert_eq!(folder.names(), ["file"]);
}

#[test]
fn a_folder_that_cannot_be_made_is_told_with_the_cause() {
    // No user may make a folder there.
    let ended = run("serve --listen 127.0.0.1:0 --root /sys/kolam");
    ended.failed(1, &["cannot make --root /sys/kolam: ", "; name a folder"]);
    assert!(!ended.stderr.contains("No such file"), "{ended:?}");
    let ended = Run::start(kolam("stress --quick").current_dir("/sys")).finish(PATIENCE);
    assert_eq!(ended.code, Some(1));
    assert_has(
        &ended.stderr,
        &[
            "cannot make the folder results: ",
            "name another one with --out DIR",
        ],
    );
    run("stress --quick --out /sys/kolam").failed(1, &["cannot make --out /sys/kolam: "]);
}

#[test]
fn a_folder_to_serve_is_made_when_it_is_missing() {
    let folder = Folder::new();
    let server = Server::launch("thread", 2, &folder.join("new/files"), "--quiet");
    assert!(server.ask(upload("a", b"A")).contains("OK"));
    server.stop();
    assert_eq!(names(&folder.join("new/files")), ["a"]);
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let address = nobody();
    for words in CLIENT {
        ask(address, words).failed(1, &["cannot connect", &address.to_string()]);
    }
}

// ---- output that nobody takes ----

/// A pipe whose reader has gone.
fn closed_pipe() -> Stdio {
    io::pipe().unwrap().1.into()
}

fn run_into(stdout: Stdio, words: impl Words) -> (Option<i32>, String) {
    let mut command = kolam(words);
    command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_closed_stdout_is_a_clean_end() {
    let files = Folder::new();
    files.write("a", noise(3 << 20, 1));
    let server = Server::start("thread", 2, &files, "");
    let address = server.address.to_string();
    let clean = (Some(0), String::new());
    for words in ["list", "stats", "download a -o -"] {
        let ended = run_into(closed_pipe(), format!("{words} --server {address}"));
        assert_eq!(ended, clean, "{words}");
    }
    for words in ["--help", "serve --help", "--version", "stress --dry-run"] {
        assert_eq!(run_into(closed_pipe(), words), clean, "{words:?}");
    }
}

#[test]
fn a_server_serves_on_when_nobody_reads_its_one_line() {
    let (files, address) = (Folder::new(), nobody());
    let mut command = kolam(format!(
        "serve --quiet --listen {address} --root {}",
        files.word("")
    ));
    let mut server = Running::spawn(command.stdout(closed_pipe()).stderr(Stdio::piped()));
    eventually("it serves", || TcpStream::connect(address).is_ok());
    let listed = ask(address, "list");
    server.signal(libc::SIGTERM);
    assert_eq!((listed.ok(), server.wait(PATIENCE).code()), ("", Some(0)));
    let stderr = server.0.stderr.take().unwrap();
    assert_eq!(io::read_to_string(stderr).unwrap(), "");
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let files = Folder::new();
    let server = Server::start("thread", 2, &files, "");
    let address = server.address.to_string();
    let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").unwrap());
    for size in [10, 300_000] {
        files.write("a", noise(size, 1));
        for words in ["list", "stats", "download a -o -"] {
            let (code, stderr) = run_into(full(), format!("{words} --server {address}"));
            assert_eq!(code, Some(1), "{words:?} of {size} bytes: {stderr:?}");
            assert_eq!(stderr.lines().count(), 1, "{words:?}: {stderr}");
            assert_has(&stderr, &["o space left"]);
        }
    }
}

// ---- servers that lie ----

/// A server that answers one request with `reply` and, if `close`, ends the connection there.
fn fake(reply: impl AsRef<[u8]>, close: bool) -> Fake {
    let reply = reply.as_ref().to_vec();
    Fake::start(move |guest| {
        guest.read_to(END);
        guest.send(&reply);
        while !close && guest.stream.read(&mut [0]).is_ok_and(|count| count > 0) {}
    })
}

/// A server that answers one request on each connection with what `reply` makes of it.
fn fake_with(reply: impl FnMut(&str) -> String + Send + 'static) -> Fake {
    let reply = Mutex::new(reply);
    Fake::start(move |guest| {
        let request = guest.read_to(END);
        let answer = reply.lock().unwrap()(&request);
        guest.send(answer + "\r\n\r\n");
    })
}

/// A server as a course makes one: it splits each request at its blanks and knows no quotes. It keeps what it
/// was asked, and the files that it was sent, as base64.
fn splitting_server() -> (Fake, Arc<Mutex<Vec<String>>>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let (told, mut files) = (requests.clone(), BTreeMap::new());
    let fake = fake_with(move |request| {
        told.lock().unwrap().push(request.to_owned());
        let words: Vec<&str> = request.split_whitespace().collect();
        match words[..] {
            ["UPLOAD", name, text] => {
                files.insert(name.to_owned(), text.to_owned());
                r#"{"status":"OK","data":"stored"}"#.to_owned()
            }
            ["GET", name] if files.contains_key(name) => {
                format!(
                    r#"{{"status":"OK","data_namafile":"{name}","data_file":"{}"}}"#,
                    files[name]
                )
            }
            ["DELETE", name] if files.remove(name).is_some() => r#"{"status":"OK","data":"gone"}"#.to_owned(),
            _ => refused("request tidak dikenali") + "\"}",
        }
    });
    (fake, requests)
}

#[test]
fn a_server_that_splits_at_blanks_gets_plain_names_without_quotes() {
    let here = Folder::new();
    here.write("a.bin", b"content");
    let [source, target] = ["a.bin", "b.bin"].map(|name| here.word(name));
    let (server, requests) = splitting_server();
    let address = server.address;
    ask(address, format!("upload {source}")).ok();
    ask(address, format!("upload {source} --as it's_naïve-(1).bin")).ok();
    ask(address, format!("download it's_naïve-(1).bin -o {target}")).ok();
    assert_eq!(here.read("b.bin"), b"content");
    ask(address, "delete a.bin").ok();
    ask(address, format!("download a.bin -o {target}")).failed(1, &["tidak dikenali"]);
    // What needs quotes has them in every verb, also where a server does not understand them.
    requests.lock().unwrap().clear();
    for words in [
        &["upload", &source, "--as", "my \"a\""][..],
        &["download", "my \"a\"", "-o", &target],
    ] {
        ask(address, words).failed(1, &["tidak dikenali"]);
    }
    ask(address, &["delete", "a b"]).failed(1, &["tidak dikenali"]);
    let wanted = [
        r#"UPLOAD "my \"a\"" Y29udGVudA=="#,
        r#"GET "my \"a\"""#,
        r#"DELETE "a b""#,
    ];
    assert_eq!(
        *requests.lock().unwrap(),
        wanted.map(|request| format!("{request}\r\n\r\n"))
    );
}

#[test]
fn a_reply_may_be_written_in_any_way_that_json_allows() {
    let here = Folder::new();
    let target = here.word("a");
    // "???>>>ok" holds both special symbols and padding.
    assert_eq!(base64(b"???>>>ok"), "Pz8/Pj4+b2s=");
    let replies = [
        r#"{"status":"OK","data_namafile":"a","data_file":"Pz8/Pj4+b2s="}"#,
        r#"{"data_file":"Pz8/Pj4+b2s=","data_namafile":"a","status":"OK"}"#,
        " \r\n{ \"status\" :\t\"OK\" ,\n\"data_file\"\r:  \"Pz8/Pj4+b2s=\" } ",
        r#"{"status":"OK","data_file":"Pz8\/Pj4+b2s\u003d"}"#,
        r#"{"status":"OK","data_file":"\u0050\u007a8\u002fPj4\u002Bb2s\u003D"}"#,
        r#"{"status":"OK","data_file":"Pz8/\r\nPj4+\nb2s="}"#,
        r#"{"status":"\u004f\u004B","more":[1,{"x":[null,true,-1.5e3]},"]}"],"data_file":"Pz8/Pj4+b2s="}"#,
    ];
    for reply in replies {
        let fake = fake(format!("{reply}\r\n\r\n"), true);
        let ended = ask(fake.address, format!("download a -o {target}"));
        assert_eq!(ended.code, Some(0), "{reply} {ended:?}");
        assert_eq!(here.read("a"), b"???>>>ok", "{reply}");
    }
    assert_eq!(here.names(), ["a"]);
}

#[test]
fn a_download_that_is_not_whole_and_right_leaves_the_old_file() {
    let here = Folder::new();
    here.write("a", b"old");
    let target = here.word("a");
    let whole = r#"{"status":"OK","data_namafile":"a","data_file":"S29sYW0="}"#.to_owned() + "\r\n\r\n";
    let cuts = (0..whole.len()).map(|length| whole[..length].to_owned());
    let wrong = [
        r#"{"status":"OK","data_namafile":"a"}"#,
        r#"{"status":"OK","data_file":null}"#,
        r#"{"status":"OK","data_file":["S29sYW0="]}"#,
        r#"{"status":"OK","data_file":"S29sYW0*"}"#,
        r#"{"status":"OK","data_file":"S29sYW0=="}"#,
        r#"{"status":"OK","data_file":"S29sYW0=S29s"}"#,
        r#"{"status":"OK","data_file":"S29sY"}"#,
        r#"{"status":"OK","data_file":"S29sYW0"}"#,
        r#"{"status":"OK","data_file":"S29sYQ="}"#,
        r#"{"status":"OK","data_file":"S29sYQ"}"#,
        r#"{"status":"OK","data_file":"S29sYQ=\u0020"}"#,
        r#"{"status":"OK","data_file":"S29sYW1="}"#,
        r#"{"status":"OK","data_file":"S29s\u00e9"}"#,
        r#"{"data_file":"S29sYW0=","status":"ERROR","data":"changed my mind"}"#,
        r#"{"data_file":"S29sYW0="}"#,
        r#"{"status":true,"data_file":"S29sYW0="}"#,
        r#"{"status":"OK","data_file":"S29sYW0=",}"#,
        r#"{"status":"OK" "data_file":"S29sYW0="}"#,
        r#"{"status":"OK","data_file":"S29sYW0="}}"#,
        r#"{"status":"OK","data_file":"S29sYW0="}x"#,
        r#"{"status":"ERROR","data":"no"}"#,
        "{}",
        "[]",
        "HTTP/1.1 400 Bad Request",
        "\u{1}\u{2}\u{3}",
    ];
    let half = fake(&whole[..50], true);
    ask(half.address, format!("download a -o {target}")).failed(1, &["closed the connection after 50 bytes"]);
    for reply in cuts.chain(wrong.iter().map(|reply| format!("{reply}\r\n\r\n"))) {
        let fake = fake(&reply, true);
        let ended = ask(fake.address, format!("download a -o {target}"));
        ended.failed(1, &[&fake.address.to_string()]);
        here.assert_only("a", b"old");
    }
}

/// Answers each GET with a text of `symbols` symbols in lines of `line`, in which the byte at the offset that
/// its name tells is wrong, or the text ends: `cut-1000`, `raw-1000`, `escaped-1000`.
fn broken_texts(symbols: usize, line: usize) -> Fake {
    let text = base64(&noise(symbols / 4 * 3, 1)).into_bytes();
    let text = text.chunks(line).collect::<Vec<_>>().join(&b"\n"[..]);
    fake_with(move |request| {
        let name = request.split_whitespace().nth(1).unwrap();
        let (kind, at) = name.split_once('-').unwrap();
        let (head, tail) = text.split_at(at.parse().unwrap());
        let tail = match kind {
            "cut" => Vec::new(),
            "raw" => [b"!", &tail[1..]].concat(),
            _ => [b"\\u0021", &tail[1..]].concat(),
        };
        let text = String::from_utf8([head, &tail].concat()).unwrap();
        format!(r#"{{"status":"OK","data_file":"{}"}}"#, text.replace('\n', "\\n"))
    })
}

#[test]
fn what_is_wrong_in_a_download_is_reported_at_its_own_offset() {
    let here = Folder::new();
    let target = here.word("a");
    // Around the borders of lines, of the blocks of the quick loops and of the pieces that are received.
    let places = [
        1, 63, 256, 1019, 65_530, 262_114, 262_144, 262_400, 363_984, 524_288, 786_433, 1_000_001,
    ];
    for line in [usize::MAX, 76] {
        let server = broken_texts(1 << 20, line);
        for at in places {
            for kind in ["raw", "escaped"] {
                let name = format!("{kind}-{at}");
                let ended = ask(server.address, format!("download {name} -o {target}"));
                ended.failed(1, &[&format!("invalid base64 at byte {at}: not a base64 symbol")]);
            }
        }
        for at in places {
            let symbols = at - if line == 76 { at / 77 } else { 0 };
            if symbols % 4 > 0 {
                let ended = ask(server.address, format!("download cut-{at} -o {target}"));
                let told = format!("invalid base64 at byte {at}: the text ends without its padding");
                ended.failed(1, &[&told]);
            }
        }
        assert!(here.names().is_empty());
    }
}

#[test]
fn words_of_another_server_do_not_reach_the_terminal_raw() {
    let saying = |reply: &str| fake(format!("{reply}\r\n\r\n"), true);
    let list = saying(r#"{"status":"OK","data":["a\u001b[2Jb","c\nd"]}"#);
    let error = saying(r#"{"status":"ERROR","data":"\u001b[2J\u001b]0;title\u0007\nline"}"#);
    let stats = saying(r#"{"status":"OK","data":{"mode":"\u001b[2J","x\u001b[2J\n":1}}"#);
    let names = ask(list.address, "list");
    assert_eq!(
        (names.code, names.text().lines().count()),
        (Some(0), 2),
        "{names:?}"
    );
    let ended = [names, ask(stats.address, "stats"), ask(error.address, "list")];
    for ended in ended {
        let raw = |text: &str| text.contains(|c: char| c.is_control() && c != '\n');
        assert!(
            !raw(ended.text()) && !raw(&ended.stderr) && ended.stderr.lines().count() <= 1,
            "{ended:?}"
        );
    }
}

#[test]
fn names_that_deceive_are_listed_visibly_on_a_terminal_and_exactly_in_a_pipe() {
    let (files, deceptive) = (Folder::new(), "photo\u{202e}gpj\u{200b}.exe");
    files.write(deceptive, b"");
    files.write("плюс été 日本", b"");
    let server = Server::start("thread", 2, &files, "");
    assert_eq!(
        ask(server.address, "list").ok(),
        format!("{deceptive}\nплюс été 日本\n")
    );
    let mut command = kolam(format!("list --server {}", server.address));
    let (code, shown) = Terminal::start(&mut command, 80).finish(PATIENCE);
    assert_eq!(code, Some(0));
    assert_eq!(
        str::from_utf8(&shown).unwrap(),
        "photo\\u{202e}gpj\\u{200b}.exe\r\nплюс été 日本\r\n"
    );
}

/// Every command, and an upload that is larger than all buffers on its way, tells that `server` speaks HTTP.
#[track_caller]
fn tell_of_http(server: SocketAddr, here: &Folder) {
    here.write("large", noise(16 << 20, 1));
    let [source, target] = ["large", "b"].map(|name| here.word(name));
    let [download, upload] = [format!("download a -o {target}"), format!("upload {source}")];
    for words in ["list", "stats", "delete a", &download, "upload - --as a", &upload] {
        let told =
            format!("{server}: this looks like HTTP, not the file protocol; say --server http://{server} ");
        ask(server, words).failed(1, &[&told, "curl"]);
    }
    assert_eq!(here.names(), ["large"]);
}

#[test]
fn a_server_that_speaks_http_is_recognised() {
    let here = Folder::new();
    each_case(MODES, HTTP, |case, files| {
        let server = case.serve(files, 2, "");
        tell_of_http(server.address, &here);
        assert!(files.names().is_empty());
    });
    let page = "<!DOCTYPE HTML>\n<html><title>400 Bad Request</title></html>\n";
    for reply in [
        format!("HTTP/1.0 400 Bad Request\r\nServer: other\r\n\r\n{page}"),
        page.to_owned(),
    ] {
        // It answers before it has read everything, and closes: what we send from then on is reset.
        let hasty = Fake::start(move |guest| {
            guest.wait();
            guest.send(&reply);
        });
        (0..3).for_each(|_| tell_of_http(hasty.address, &here));
    }
}

#[test]
fn an_upload_that_the_server_stored_differently_is_a_failure() {
    let here = Folder::new();
    here.write("a", b"four");
    let source = here.word("a");
    let reply = |size: &str| format!("{{\"status\":\"OK\",\"size\":{size}}}\r\n\r\n");
    let upload = |size: &str| ask(fake(reply(size), true).address, format!("upload {source}"));
    assert_eq!(upload("4").code, Some(0));
    for size in ["3", "5", "-4", "4.5", "\"4\"", "null"] {
        upload(size).failed(1, &["size"]);
    }
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let silent = fake("", false);
    let half = fake(r#"{"status":"OK","data_file":"S29s"#, false);
    for server in [&silent, &half] {
        for words in CLIENT {
            let ended = ask(server.address, format!("{words} --timeout 0.3"));
            assert_eq!(ended.code, Some(1), "{words:?} {ended:?}");
        }
    }
    ask(silent.address, "list --timeout 300ms").failed(1, &["too long", "--timeout"]);
}

// ---- interrupted ----

#[test]
fn an_interrupted_download_ends_with_130_and_leaves_the_old_file() {
    let here = Folder::new();
    here.write("a", b"old");
    let target = here.word("a");
    // Often, because the signal must be noticed also just before the client begins to wait for more.
    for round in 0..20 {
        let size = 30_000 * (1 + round / 2);
        let begun = r#"{"status":"OK","data_file":""#.to_owned() + &base64(&noise(size, 1));
        let half = fake(begun, false);
        let words = format!("download a -o {target} --server {}", half.address);
        let run = Run::start(&mut kolam(words));
        eventually("the download has begun", || {
            let part = here.names().into_iter().find(|name| name != "a");
            part.is_some_and(|part| here.read(&part).len() >= size / 2)
        });
        run.signal([libc::SIGINT, libc::SIGTERM, libc::SIGHUP][round % 3]);
        run.finish(PATIENCE).failed(130, &["interrupted"]);
        here.assert_only("a", b"old");
    }
}

#[test]
fn an_interrupted_upload_ends_with_130_and_stores_nothing() {
    each_case(MODES, FILE, |case, files| {
        let server = case.serve(files, 2, "");
        let words = format!("upload - --as a --server {}", server.address);
        // Often, because the signal must be noticed also just before the client begins to wait for stdin.
        for round in 0..10 {
            let mut run = Run::start(kolam(words.as_str()).stdin(Stdio::piped()));
            let mut stdin = run.0.stdin.take().unwrap();
            stdin.write_all(&noise(30_000 * round, 1)).unwrap();
            eventually("the upload has begun", || !files.temporary().is_empty());
            run.signal(libc::SIGINT);
            run.finish(PATIENCE).failed(130, &["interrupted"]);
            eventually("nothing is left", || files.names().is_empty());
        }
    });
}

#[test]
fn a_file_as_large_as_its_limit_crosses_by_the_client() {
    let (files, here) = (Folder::new(), Folder::new());
    here.sparse("a", 20 << 20);
    let server = Server::start("process", 2, &files, "--max-upload 20MiB");
    let [source, target] = ["a", "b"].map(|name| here.word(name));
    ask(server.address, format!("upload {source}")).ok();
    ask(server.address, format!("download a -o {target}")).ok();
    assert!(here.read("b") == vec![0; 20 << 20]);
    here.sparse("a", (20 << 20) + 1);
    ask(server.address, format!("upload {source}")).failed(1, &["file too large"]);
}
