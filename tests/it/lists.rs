//! A folder with many files: LIST and the page at `/` come in pieces. They are sorted and complete, whatever
//! becomes of the folder and however slowly they are read; and many who do not read cost little.

use crate::support::http::get;
use crate::support::*;
use std::collections::BTreeSet;
use std::fs;

/// Files of the folder: their names alone are more than the kernel keeps for a peer that does not read.
const FILES: usize = 12_000;

/// Those who do not read, each with a worker of its own where that is a process or thread.
const READERS: usize = 20;

/// KiB that they may cost together: the list, twice while a newer one is made, and 512 each for a piece and
/// what an allocator keeps for a thread. All names for each of them would be 30 MiB.
const READERS_KIB: u64 = 2 * (FILES as u64 * 150 / 1024) + 512 * READERS as u64;

/// Names of 120 bytes with what has to be escaped, in no order.
fn name(number: usize) -> String {
    format!("{:05}\"é {}", number * 7919 % FILES, "x".repeat(110))
}

fn crowded() -> Folder {
    let folder = Folder::new();
    folder.write(&name(0), "");
    for number in 1..FILES {
        fs::hard_link(folder.join(&name(0)), folder.join(&name(number))).unwrap();
    }
    folder
}

fn request(case: Case) -> String {
    match case.is_http() {
        true => get("/?json"),
        false => "LIST\n".to_owned(),
    }
}

/// The names in what was answered: the strings of a list, or those with their key before them.
fn names_in(case: Case, mut text: &str) -> Vec<String> {
    let before = if case.is_http() { "\"name\":" } else { "" };
    let mut names = Vec::new();
    while let Some(at) = text.find(&format!("{before}\"")) {
        let (name, rest) = json_string(&text[at + before.len()..]).unwrap();
        names.push(name);
        text = rest;
    }
    names
}

/// All chunks of a body, together (RFC 9112, section 7.1).
fn chunks(wire: &mut Wire) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut size = Vec::new();
        while !size.ends_with(b"\r\n") {
            size.append(&mut wire.take(1).unwrap());
        }
        let size = usize::from_str_radix(str::from_utf8(&size).unwrap().trim_end(), 16).unwrap();
        let chunk = wire.take(size + 2).unwrap();
        assert!(chunk.ends_with(b"\r\n"));
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

/// The names of the folder, as a client gets them.
fn listed(case: Case, wire: &mut Wire) -> Vec<String> {
    wire.send(request(case));
    let head = String::from_utf8(wire.take_to_end().unwrap()).unwrap();
    if case.is_http() {
        assert_has(&head, &["HTTP/1.1 200 OK\r\n", "\r\nTransfer-Encoding: chunked"]);
        let body = String::from_utf8(chunks(wire)).unwrap();
        assert!(body.starts_with('[') && body.ends_with("}]\n"));
        return names_in(case, &body);
    }
    let list = head.strip_prefix(r#"{"status":"OK","data":["#);
    names_in(case, list.unwrap().strip_suffix("]}").unwrap())
}

/// Those that come and go are in between, too.
#[test]
fn a_long_list_is_sorted_and_complete_while_the_folder_changes() {
    let folder = crowded();
    let lasting: Vec<String> = (0..FILES)
        .map(name)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let (from, mut round) = (folder.join(&name(0)), 0);
    let path = folder.path().to_owned();
    let changing = Background::repeat(move || {
        round += 1;
        let passing = path.join(format!("{:05} passing", round * 7919 % FILES));
        fs::hard_link(&from, &passing).unwrap();
        fs::remove_file(&passing).unwrap();
        true
    });
    each_case_at_once(MODES, PROTOCOLS, |case, _| {
        let server = case.serve(&folder, 2, "");
        let mut wire = server.connect();
        // The connection goes on after it.
        for _ in 0..2 {
            let names = listed(case, &mut wire);
            assert!(
                names.is_sorted_by(|a, b| a < b),
                "{case}: not sorted, or one is there twice"
            );
            let stays = |name: &String| !name.ends_with(" passing");
            let found: Vec<String> = names.into_iter().filter(stays).collect();
            assert!(found == lasting, "{case}: {} of {FILES} are there", found.len());
        }
    });
    drop(changing);
}

/// KiB that belong to the processes of a server, and are no part of a file.
fn own_memory(server: &Server) -> u64 {
    let mut all = children(server.pid());
    all.push(server.pid());
    all.iter().map(|&pid| memory(pid, "RssAnon:")).sum()
}

#[test]
fn readers_who_do_not_read_share_one_list() {
    let folder = crowded();
    each_case_at_once(&["thread", "process", "event"], PROTOCOLS, |case, _| {
        let server = case.serve(&folder, READERS, "");
        assert_eq!(listed(case, &mut server.connect()).len(), FILES);
        let before = own_memory(&server);
        let mut readers: Vec<Wire> = (0..READERS)
            .map(|_| {
                let mut wire = server.connect();
                wire.take_little();
                wire.send(request(case));
                wire
            })
            .collect();
        // All are being answered.
        for wire in &mut readers {
            wire.first_byte();
        }
        let grown = own_memory(&server).saturating_sub(before);
        assert!(
            grown <= READERS_KIB,
            "{case}: {READERS} cost {grown} KiB of {READERS_KIB}"
        );
    });
}
