//! `/_pool`: what a browser sees of the workers, who may see it, and a watch that no busy pool can hold up.

use crate::support::http::{Http, ask, get, once, put, with};
use crate::support::*;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::Stdio;

#[test]
fn the_pool_is_shown_in_every_mode_and_not_to_everybody() {
    each_case_at_once(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 2, "");
        let page = once(&server, get("/_pool"));
        let policy = page.must("Content-Security-Policy");
        assert_has(
            policy,
            &[
                "default-src 'none'",
                "connect-src 'self'",
                "frame-ancestors 'none'",
            ],
        );
        let json = once(&server, get("/_pool?json"));
        assert_has(
            json.text(),
            &["\"now\":[{\"pid\":", "\"state\":\"answers\"", "\"queue\":0,"],
        );
        let event = once(&server, get("/_pool/events"));
        assert_eq!(event.must("Content-Type"), "text/event-stream");
        // No worker is held until the browser comes back.
        assert!(event.closes() && event.text().ends_with("]}\n\n"), "{event:?}");
        assert!(
            event.text().starts_with("retry: 200\ndata: {\"mode\":"),
            "{event:?}"
        );
        for (request, status) in [
            (ask("OPTIONS", "/_pool"), 204),
            (ask("DELETE", "/_pool"), 405),
            (with("GET", "/_pool", "X-Forwarded-For: 192.0.2.1\r\n"), 403),
            (with("GET", "/_pool?json", "Via: 1.1 proxy\r\n"), 403),
            (get("/_pool").replace("Host: ", "Host: evil.example"), 421),
        ] {
            assert_eq!(once(&server, &request).status, status, "{request}");
        }
        assert_eq!(once(&server, put("/_pool", b"mine")).status, 405);
    });
}

#[test]
fn a_watch_answers_while_all_workers_are_held() {
    let folder = Folder::new();
    folder.write("big", noise(4 << 20, 1));
    let words = "serve --mode process --workers 1 --listen 127.0.0.1:0 --watch 127.0.0.1:0 --quiet --root";
    let mut server = Running::spawn(kolam(words).arg(folder.path()).stdout(Stdio::piped()));
    let mut line = String::new();
    let mut stdout = BufReader::new(server.0.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let address = |text: &str| -> SocketAddr { text.split([' ', '/', ',']).next().unwrap().parse().unwrap() };
    let main = address(line.strip_prefix("listening on ").unwrap());
    let watch = address(line.split_once(", watch http://").unwrap().1);
    let mut held = Wire::connect(main);
    held.send("GET big\n");
    // The second one waits in the kernel: the only worker is held by the first, which reads nothing.
    let mut waits = Wire::connect(main);
    waits.send("LIST\n");
    let told = || Http::connect(watch).ask(get("/_pool?json")).text().to_owned();
    eventually("both are seen", || told().contains("\"queue\":1,"));
    let peer = format!("\"peer\":\"{}\"", held.stream.local_addr().unwrap());
    assert_has(
        &told(),
        &["\"state\":\"busy\"", "\"verb\":\"GET\",\"name\":\"big\"", &peer],
    );
    let ended = run(format!(
        "top --interval 50ms --server {watch} --server http://{watch}/"
    ));
    assert_has(ended.ok(), &["queue 1", "busy", "GET big  127.0.0.1:"]);
    let (_, now) = told()
        .split_once("\"now\":[")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    signal(number(&now, "pid") as u32, libc::SIGKILL);
    eventually("the successor is seen", || {
        let told = told();
        number(&told, "restarts") == 1 && told.contains("\"queue\":0,") && number(&told, "alive") == 1
    });
    assert_eq!(waits.reply(), r#"{"status":"OK","data":["big"]}"#);
    // The watch ends with the server, and changes nothing.
    assert_eq!(Http::connect(watch).ask(put("/mine", b"x")).status, 403);
    server.signal(libc::SIGTERM);
    assert!(server.wait(PATIENCE).success());
    eventually("the watch has ended", || {
        std::net::TcpStream::connect(watch).is_err()
    });
}
