//! What becomes of a run: a page that needs nothing else, the same in Markdown, and a clear word when there
//! is nothing to show.

use crate::support::*;
use std::fs;

/// A run of eight small rows.
fn small_run(folder: &Folder, more: &str) -> Ended {
    let (out, root) = (folder.word("out"), folder.word("root"));
    let rows = "--volumes 1 --clients 1,2 --servers 1,2 --ops download";
    run(format!("stress {rows} --out {out} --root {root} {more}"))
}

#[test]
fn a_run_becomes_a_page_and_the_same_in_markdown() {
    let folder = Folder::new();
    small_run(&folder, "").ok();
    let out = folder.word("out");
    let ended = run(format!("report {out}"));
    assert_eq!(ended.ok(), format!("{out}/report.html\n{out}/report.md\n"));
    let [page, text] =
        ["report.html", "report.md"].map(|name| fs::read_to_string(folder.join("out").join(name)).unwrap());
    assert_has(
        &page,
        &[
            "<svg",
            "Of 12 client workers none failed.",
            "thread: download, 1 MiB",
        ],
    );
    assert_has(
        &text,
        &[
            "- Of 12 client workers none failed.",
            "| 4 | download | 1 | 2 | 2 |",
        ],
    );
    for outside in ["http:", "https:", "<script", "src="] {
        assert!(!page.contains(outside), "{outside}");
    }
    // Again, in the other language, over the old one.
    run(format!("report {out} --lang id")).ok();
    let page = fs::read_to_string(folder.join("out").join("report.html")).unwrap();
    assert_has(&page, &["lang=\"id\"", "Nomor", "tidak ada yang gagal"]);
}

#[test]
fn the_stress_test_makes_the_page_when_it_is_asked_to() {
    let folder = Folder::new();
    let ended = small_run(&folder, "--report --lang id");
    ended.says(&["report.html", "report.md"]);
    let page = fs::read_to_string(folder.join("out").join("report.html")).unwrap();
    assert_has(&page, &["lang=\"id\""]);
}

#[test]
fn what_cannot_be_shown_is_told_with_its_place() {
    let folder = Folder::new();
    let out = folder.word("nothing");
    run(format!("report {out}")).failed(1, &[&out, "No such file", "make stress-quick"]);
    folder.folder("empty");
    let empty = folder.word("empty");
    run(format!("report {empty}")).failed(1, &[&empty, "no rows", "another folder"]);
    run("report . --lang fr").failed(2, &["--lang fr", "en", "id"]);
    // A row that is cut off, and a file that is no CSV at all.
    fs::write(
        folder.join("empty/thread.csv"),
        b"no,mode,operation\n1,thread,download\n2,thr",
    )
    .unwrap();
    fs::write(folder.join("empty/notes.csv"), b"\xff\xfe").unwrap();
    run(format!("report {empty}")).failed(1, &["notes.csv", "UTF-8"]);
    fs::remove_file(folder.join("empty/notes.csv")).unwrap();
    run(format!("report {empty}")).ok();
}

// ---- two runs ----

/// A run with one row a rate: downloads by 1, 2, … clients.
fn written_run(folder: &Folder, name: &str, machine: &str, rates: &[u32]) -> String {
    folder.folder(name);
    let titles = "no,operation,volume_mib,client_workers,server_workers,mode,client_mode,total_Bps\n";
    let row = |(at, rate): (usize, &u32)| format!("{0},download,10,{0},1,thread,thread,{rate}\n", at + 1);
    let rows: String = rates.iter().enumerate().map(row).collect();
    fs::write(folder.join(name).join("thread.csv"), titles.to_owned() + &rows).unwrap();
    fs::write(folder.join(name).join("machine.txt"), machine).unwrap();
    folder.word(name)
}

#[test]
fn two_runs_are_compared_and_a_slower_one_is_an_exit_code() {
    let folder = Folder::new();
    let first = written_run(&folder, "a", "cpu      old\ncores    2\n", &[1000, 1000, 1000]);
    let second = written_run(&folder, "b", "cpu      new\ncores    2\n", &[500, 1010, 500]);
    let ended = run(format!("compare {first} {second}"));
    assert_has(
        ended.ok(),
        &[
            "| thread | download | 10 | 1 | 1 | 0.0010 | 0.0005 | 0.50 |  | slower |",
            "download   0.50 × in the middle; 0 rows faster, 2 slower, 1 neither",
            "cpu        old / new",
        ],
    );
    assert!(!ended.text().contains("cores"));
    run(format!("compare {first} {second} --threshold 0.4")).ok();
    run(format!("compare {first} {second} --threshold 0.9")).failed(3, &["download", "0.500", "0.9"]);
    run(format!("compare {second} {first} --threshold 1.0")).ok();
    let page = folder.word("page.html");
    run(format!("compare {first} {second} --html {page}")).ok();
    let page = fs::read_to_string(folder.join("page.html")).unwrap();
    assert_has(&page, &["<!DOCTYPE html>", "<td>slower</td>", "old / new"]);
    // What a file says is text on the page, too.
    let third = written_run(&folder, "d", "cpu      <script>\n", &[1000]);
    let page = folder.word("page.html");
    run(format!("compare {first} {third} --html {page}")).ok();
    let page = fs::read_to_string(folder.join("page.html")).unwrap();
    assert_has(&page, &["old / &lt;script&gt;"]);
    // Nothing in common.
    let other = written_run(&folder, "c", "", &[]);
    fs::write(folder.join("c/x.csv"), "operation,mode,total_Bps\nlist,event,1\n").unwrap();
    run(format!("compare {first} {other}")).failed(1, &["no row in common"]);
    run(format!("compare {first} {second} --threshold fast")).failed(2, &["--threshold fast", "0.9"]);
    run(format!("compare {first}")).failed(2, &["DIR is missing"]);
}
