//! HTTP by the letter, in every mode: what a path means when it has dots in it, which host counts, how long a
//! method may be, which answers a cache may keep, and the names that `--host` allows.

use crate::support::http::{Reply, ask, get, put, with};
use crate::support::*;
use std::fs;
use std::process::{Command, Stdio};

/// One request on a connection of its own, sent whole and byte by byte; both must be answered alike.
#[track_caller]
fn once(server: &Server, request: impl AsRef<[u8]>) -> Reply {
    let mut peer = server.http();
    peer.drip(request.as_ref());
    let method = http::method(request.as_ref());
    let dripped = peer.reply(method).status;
    // With one worker the next connection waits until this one is over.
    drop(peer);
    let reply = server.http().ask(&request);
    // What changes a file has been done the first time.
    let changes = ["PUT", "DELETE"].contains(&method) && reply.status < 500;
    assert!(
        changes || reply.status == dripped,
        "{dripped} byte by byte, {reply:?} at once"
    );
    reply
}

#[test]
fn dot_segments_are_removed_before_a_name_is_judged() {
    each_case(MODES, HTTP, |case, folder| {
        folder.write("x.deb", b"package");
        folder.write("..x", b"hidden");
        let server = case.serve(folder, 2, "");
        for target in "/./x.deb /././x.deb /../x.deb /pool/../x.deb /a/b/../../x.deb /%2e/x.deb \
                /%2E%2e/x.deb /pool/.%2e/x.deb?v=1 http://localhost/./x.deb"
            .split(' ')
        {
            assert_eq!(once(&server, get(target)).body, b"package", "{target}");
            assert_eq!(
                once(&server, ask("HEAD", target)).must("Content-Length"),
                "7",
                "{target}"
            );
        }
        for (target, reason) in [
            ("/./..x", "begins with a dot"),
            ("/.%2fx.deb", "begins with a dot"),
            ("/..%2f..%2fx.deb", "begins with a dot"),
            ("/pool%2f../x.deb", "contains a slash"),
            ("/x.deb/.", "contains a slash"),
            ("/pool/./x.deb", "contains a slash"),
            ("//x.deb", "contains a slash"),
            ("/%252e/x.deb", "contains a slash"),
        ] {
            let reply = once(&server, get(target));
            assert!(
                reply.status == 404 && reply.text().contains(reason),
                "{target} {reply:?}"
            );
        }
        assert_eq!(
            once(&server, get("/healthz/..")).must("Content-Type"),
            "text/html; charset=utf-8"
        );
        assert_eq!(once(&server, get("/a/../healthz")).body, b"ok\n");
        once(&server, put("/./new", b"new"));
        assert_eq!(folder.read("new"), b"new");
        once(&server, ask("DELETE", "/a/../new"));
        assert_eq!(folder.names(), ["..x", "x.deb"]);
    });
}

/// A machine of its own for apt, below `here`: no lists, no packages, one source.
fn prepare_apt(here: &Folder, source: &str) {
    for folder in ["etc/apt", "lists/partial", "archives/partial"] {
        fs::create_dir_all(here.join(folder)).unwrap();
    }
    here.write("status", b"");
    here.write("etc/apt/sources.list", source.as_bytes());
    let dir = here.path().display();
    let settings = format!(
        "Dir \"{dir}\"; Dir::Etc \"etc/apt\"; Dir::State \"{dir}\"; Dir::State::status \"{dir}/status\";\n\
         Dir::State::lists \"lists\"; Dir::Cache \"{dir}\"; Dir::Cache::archives \"archives\";\n\
         APT::Sandbox::User \"\"; Acquire::Languages \"none\";\n"
    );
    here.write("apt.conf", settings.as_bytes());
}

/// Runs apt-get there; `None`: it is not installed.
fn apt_get(here: &Folder, words: &str) -> Option<Ended> {
    let mut command = Command::new("apt-get");
    command
        .args(words.words())
        .current_dir(here.path())
        .env("APT_CONFIG", here.join("apt.conf"));
    command.env_remove("http_proxy").stdin(Stdio::null());
    installed("apt-get").then(|| Run::start(&mut command).finish(PATIENCE * 3))
}

/// The index of a repository with one package, as `dpkg-scanpackages -m .` writes it.
fn packages(folder: &Folder, deb: &str) -> String {
    let sum = Command::new("sha256sum")
        .arg(folder.join(deb))
        .output()
        .unwrap()
        .stdout;
    let sum = String::from_utf8(sum).unwrap();
    format!(
        "Package: hello\nVersion: 1.0\nArchitecture: all\nFilename: ./{deb}\nSize: {}\nSHA256: {}\n\
         Description: a file of some size\n\n",
        folder.read(deb).len(),
        sum.split(' ').next().unwrap()
    )
}

#[test]
fn apt_installs_from_a_flat_repository() {
    each_case(MODES, HTTP, |case, folder| {
        let here = Folder::new();
        folder.write("hello_1.0_all.deb", noise(300_000, 1));
        folder.write("Packages", packages(folder, "hello_1.0_all.deb").as_bytes());
        let server = case.serve(folder, 2, "");
        prepare_apt(
            &here,
            &format!("deb [trusted=yes] http://{}/ ./\n", server.address),
        );
        let Some(updated) = apt_get(&here, "update") else {
            return;
        };
        assert_eq!(updated.code, Some(0), "{updated:?}");
        let fetched = apt_get(&here, "download hello").unwrap();
        assert_eq!(fetched.code, Some(0), "{fetched:?}");
        assert!(here.read("hello_1.0_all.deb") == folder.read("hello_1.0_all.deb"));
    });
}

#[test]
fn a_name_that_no_file_can_have_is_not_found_and_cannot_be_made() {
    each_case(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 2, "");
        for (target, reason) in [
            ("/a/b", "contains a slash"),
            ("/a/", "contains a slash"),
            ("/.well-known/security.txt", "begins with a dot"),
            ("/.git", "begins with a dot"),
            ("/a%00b", "contains a control character"),
            ("/%ff", "not UTF-8"),
        ] {
            for method in ["GET", "HEAD", "DELETE"] {
                let reply = once(&server, ask(method, target));
                assert_eq!(
                    (reply.status, reply.closes()),
                    (404, false),
                    "{method} {target} {reply:?}"
                );
                let told = method == "HEAD" || reply.text().contains(reason);
                assert!(told, "{method} {target} {reply:?}");
            }
            let reply = once(&server, put(target, b"content"));
            assert!(
                reply.status == 400 && reply.text().contains(reason),
                "{target} {reply:?}"
            );
            // Whoever asks for a condition is told the same.
            let lines = "Content-Length: 1\r\nIf-None-Match: *\r\n";
            assert_eq!(
                once(&server, with("PUT", target, lines) + "x").status,
                400,
                "{target}"
            );
        }
        assert_eq!(folder.names(), [""; 0]);
    });
}

#[test]
fn the_authority_of_a_whole_url_replaces_the_host() {
    let request = |method: &str, authority: &str, host: &str| {
        format!("{method} http://{authority}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")
    };
    each_case(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 2, "");
        let reply = once(&server, request("GET", "127.0.0.1:81", "localhost:82"));
        assert!(reply.text().contains("127.0.0.1:81") && !reply.text().contains("localhost:82"));
        assert_eq!(
            once(&server, request("GET", "localhost", "example.org")).status,
            200
        );
        assert_eq!(
            once(&server, request("GET", "example.org", "localhost")).status,
            421
        );
        assert_eq!(
            once(&server, "GET http://example.org/ HTTP/1.0\r\n\r\n").status,
            421
        );
        assert_eq!(
            once(&server, "GET http://localhost/ HTTP/1.0\r\n\r\n").status,
            200
        );
    });
}

#[test]
fn a_method_longer_than_all_known_ones_is_not_implemented() {
    each_case(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 2, "");
        for (length, status) in [(8, 501), (100, 501), (8000, 501), (9000, 501), (20_000, 501)] {
            assert_eq!(
                once(&server, ask(&"M".repeat(length), "/")).status,
                status,
                "{length}"
            );
        }
        for (method, status) in [("M(".repeat(50), 400), ("M(".repeat(5000), 414)] {
            assert_eq!(once(&server, ask(&method, "/")).status, status);
        }
    });
}

#[test]
fn no_cache_keeps_what_is_made_up_for_a_request() {
    each_case(MODES, HTTP, |case, folder| {
        folder.write("a", b"a");
        let server = case.serve(folder, 2, "");
        for target in ["/", "/?json", "/metrics", "/healthz"] {
            for method in ["GET", "HEAD"] {
                let reply = once(&server, ask(method, target));
                assert_eq!(reply.must("Cache-Control"), "no-store", "{method} {target}");
            }
        }
        assert_eq!(once(&server, get("/a")).header("Cache-Control"), None);
    });
}

// ---- --host ----

/// The status of a request to `host`.
fn asked_as(server: &Server, host: &str) -> u16 {
    once(server, format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n")).status
}

#[test]
fn names_given_with_host_are_answered_to_and_no_others() {
    each_case(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 2, "--host Files.example --host=other.example:8443");
        for host in "files.example FILES.example:80 files.example. other.example other.example:1".split(' ') {
            assert_eq!(asked_as(&server, host), 200, "{host}");
        }
        for host in ["localhost", "127.0.0.1:80", "[::1]"] {
            assert_eq!(asked_as(&server, host), 200, "{host}");
        }
        for host in "example www.files.example files.example.org xfiles.example".split(' ') {
            assert_eq!(asked_as(&server, host), 421, "{host}");
        }
    });
}

#[test]
fn a_refused_name_is_told_both_remedies() {
    each_case(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 2, "");
        for (host, remedy) in [
            ("files.example:80", "--host files.example,"),
            // What a shell would run is not repeated.
            ("$(id)", "--host NAME,"),
        ] {
            let reply = once(&server, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            let told = reply.text().contains(remedy) && reply.text().contains("--any-host");
            assert!(reply.status == 421 && reply.closes() && told, "{reply:?}");
        }
    });
}

#[test]
fn a_host_option_that_makes_no_sense_is_a_usage_error() {
    assert_usage(
        &"S --host 0.0.0.0:80 => to listen there, use --listen
        S --host 192.0.2.1 => to listen there, use --listen
        S --host [::1]:80 => to listen there, use --listen
        S --host :: => to listen there, use --listen
        S --host= => expected the name of a host
        S --host http://files.example/ => expected the name of a host
        S --host *.example => expected the name of a host
        S --host files.example:http => expected the name of a host
        S --host a.example --any-host => use one of the two
        S --host => --host NAME"
            .replace("S ", "serve --protocol http "),
    );
    let words = ["serve", "--protocol=http", "--host=a.example", "--host", "a b"];
    run(&words).failed(2, &["--host a b: expected"]);
}

#[test]
fn mistakes_about_http_end_with_2_and_one_line() {
    assert_usage(
        "serve --protocol htpp => --protocol htpp | file, http | did you mean http?
        serve --host a.example => --host | --protocol http | --listen HOST:PORT
        serve --host 127.0.0.1 --protocol file => --host | --protocol http
        serve --any-host => --any-host | --protocol http",
    );
}
