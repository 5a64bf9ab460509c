//! What does a large file cost? Time, but no memory: a control group kills what takes more than 128 MiB.

use crate::site::{Place, everywhere, in_turn};
use crate::support::{END, PATIENCE, base64, noise};
use crate::tools::{MemoryGroup, bound_writeback};
use crate::trial::{Trial, Verdict, joined, require};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Files are this block, again and again: 3 times a power of two, so that its base64 can be repeated, too.
const BLOCK: usize = 3 << 18;

/// Blocks of 100 MiB.
const BLOCKS: usize = (100 << 20) / BLOCK + 1;

/// Promise 8: 50 files of 100 MiB up and down at once.
pub fn memory_does_not_follow_files(trial: Trial) -> Verdict {
    let clients = trial.at_least(4, 50);
    let block = noise(BLOCK, 1);
    let text = base64(&block).into_bytes();
    bound_writeback();
    let group = MemoryGroup::of(128 << 20);
    let found = in_turn(&everywhere(), |place, folder| {
        let site = place.serve(folder, 8, "--idle-timeout 300", "--idle-timeout 300");
        site.family().into_iter().for_each(|pid| group.add(pid));
        let wire = if place.case.is_http() { &block } else { &text };
        let address = site.address;
        let at_once = |work: &(dyn Fn(usize) + Sync)| {
            thread::scope(|scope| {
                let threads: Vec<_> = (0..clients)
                    .map(|number| scope.spawn(move || work(number)))
                    .collect();
                threads.into_iter().for_each(joined);
            });
        };
        at_once(&|number| upload(place, address, &format!("file-{number}"), wire));
        (0..clients).for_each(|number| assert_stored(&folder.join(&format!("file-{number}")), &block));
        at_once(&|_| download(place, address, "file-0", wire));
    });
    let killed = group.killed();
    let mut wrong = Vec::new();
    require(&mut wrong, killed == 0, || "out of memory".to_owned());
    let all = 2 * clients * found.len();
    Verdict::of(
        format!("{all} of {all} transfers of 100 MiB right, {killed} kills by the kernel"),
        &wrong,
    )
}

/// A connection that may wait for its turn for minutes.
fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(600))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(600))).unwrap();
    stream
}

fn upload(place: Place, address: SocketAddr, name: &str, wire: &[u8]) {
    let mut stream = connect(address);
    let length = BLOCKS * BLOCK;
    let (head, end, good) = match place.case.is_http() {
        true => {
            let head = format!("PUT /{name} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
            (head, &b""[..], "HTTP/1.1 201 ")
        }
        false => (format!("UPLOAD {name} "), END, "{\"status\":\"OK\""),
    };
    let send = |stream: &mut TcpStream| -> io::Result<()> {
        stream.write_all(head.as_bytes())?;
        (0..BLOCKS).try_for_each(|_| stream.write_all(wire))?;
        stream.write_all(end)?;
        stream.shutdown(Shutdown::Write)
    };
    send(&mut stream).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with(good), "{reply}");
}

fn download(place: Place, address: SocketAddr, name: &str, wire: &[u8]) {
    let mut stream = connect(address);
    stream.write_all(&place.case.get(name)).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut reader = BufReader::with_capacity(64 << 10, stream);
    let (head, tail) = match place.case.is_http() {
        true => (END, &b""[..]),
        false => (&b"\"data_file\":\""[..], &b"\"}\r\n\r\n"[..]),
    };
    let mut start = Vec::new();
    while !start.ends_with(head) {
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        start.push(byte[0]);
    }
    assert_blocks(&mut reader, wire);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert!(rest == tail, "{} bytes more", rest.len());
}

fn assert_stored(path: &Path, block: &[u8]) {
    let mut file = File::open(path).unwrap();
    assert_blocks(&mut file, block);
    assert_eq!(file.read(&mut [0]).unwrap(), 0, "more than was sent");
}

fn assert_blocks(from: &mut impl Read, block: &[u8]) {
    let mut piece = vec![0; block.len()];
    for number in 0..BLOCKS {
        from.read_exact(&mut piece).unwrap();
        assert!(piece == block, "block {number} is another");
    }
}
