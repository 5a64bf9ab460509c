//! Who was served when: what clients note and what the server logs fit together, in every mode, also when a
//! worker is killed in the middle.

use crate::support::*;
use std::fs;

/// The lines of `trace.csv`, as cells, without the first.
fn trace(out: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(format!("{out}/trace.csv")).unwrap();
    let cells = |line: &str| line.split(',').map(str::to_owned).collect();
    text.lines().skip(1).map(cells).collect()
}

#[test]
fn each_client_connects_is_taken_is_served_and_ends_in_this_order() {
    let folder = Folder::new();
    let (out, root) = (folder.word("out"), folder.word("root"));
    let rows = "--clients 5 --servers 2 --volumes 4";
    // The client whose worker is killed is no failure of the run.
    run(format!("stress --timeline {rows} --out {out} --root {root}")).ok();
    let lines = trace(&out);
    for mode in MODES {
        let lines: Vec<_> = lines.iter().filter(|line| line[0] == *mode).collect();
        let (deaths, clients): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line[3] == "death");
        assert_eq!(
            (clients.len(), deaths.len()),
            (5, usize::from(*mode == "process")),
            "{mode}"
        );
        assert_eq!(clients.iter().filter(|line| line[3] == "slow client").count(), 1);
        for line in &clients {
            // Taken, first byte, last byte; a worker may take a connection before its client has noted it.
            let times: Vec<f64> = line[8..11].iter().map(|cell| cell.parse().unwrap()).collect();
            assert!(times.is_sorted() && times[0] >= 0.0, "{line:?}");
            let done = line[11].parse::<f64>();
            assert_eq!(done.is_ok(), line[12] == "ok", "{line:?}");
            assert!(
                done.is_ok_and(|done| done >= times[0]) || line[12] == "short",
                "{line:?}"
            );
        }
        let processes = clients
            .iter()
            .filter(|line| deaths.iter().any(|death| death[6] == line[6]));
        let lost = processes.filter(|line| line[12] != "ok").count();
        assert_eq!(
            lost,
            deaths.len(),
            "the killed worker served one client at a time"
        );
    }
    let page = fs::read_to_string(format!("{out}/timeline.html")).unwrap();
    assert_eq!(page.matches("<svg").count(), MODES.len());
    assert_has(&page, &["slow client: ", "✕ killed at "]);
}

#[test]
fn a_trace_needs_a_server_of_our_own() {
    for (option, value) in [("--target", "127.0.0.1:9"), ("--launch", "{}")] {
        let ended = run(format!("stress --trace {option} {value}"));
        ended.failed(2, &["--trace", "a server of our own", option]);
    }
    run("serve --trace --quiet").failed(2, &["--trace", "--quiet"]);
}
