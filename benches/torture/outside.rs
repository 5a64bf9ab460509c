//! Does a name lead outside the folder, or the disk lie? What lies beside the folder is never read and never changed;
//! what was answered with OK is on the disk.

use crate::site::{at_once, everywhere, exchange, launch, places};
use crate::suite;
use crate::support::{Background, Folder, MODES, PROTOCOLS, base64, noise, upload};
use crate::tools::{must, shut_down};
use crate::trial::{Trial, Verdict, require};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Instant;

/// What must not be read, and not be changed.
const SECRET: &[u8] = b"do not read this, and leave it as it is";

/// Promise 9: an entry that is a file and a link by turns, beside clients that ask for it; hostile names.
pub fn nothing_leads_outside(trial: Trial) -> Verdict {
    let time = trial.seconds(60);
    let secret = base64(SECRET);
    let found = at_once(&everywhere(), |place, folder| {
        let (inside, outside) = (folder.join("inside"), folder.join("outside"));
        fs::create_dir(&inside).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), SECRET).unwrap();
        let site = place.serve_path(&inside, 4, "");
        let swapping = Background::repeat({
            let inside = inside.clone();
            move || swap(&inside)
        });
        let case = place.case;
        let put = case.puts("turncoat", b"storm").remove(0);
        let requests = [
            case.get("turncoat"),
            put,
            case.get("turncoat"),
            case.delete("turncoat"),
        ];
        let (began, mut asked) = (Instant::now(), 0);
        while began.elapsed() < time {
            for request in &requests {
                let reply = exchange(site.address, request).unwrap();
                let text = String::from_utf8_lossy(&reply);
                assert!(!text.contains("do not read") && !text.contains(&secret), "{text}");
                asked += 1;
            }
        }
        drop(swapping);
        drop(site);
        assert_eq!(
            fs::read(outside.join("secret")).unwrap(),
            SECRET,
            "it was changed"
        );
        assert_eq!(
            crate::support::names(&outside),
            ["secret"],
            "something new is outside"
        );
        asked
    });
    let asked: usize = found.iter().map(|(_, asked)| asked).sum();
    let names = suite::shown_by(&[
        "faults::hostile_names_and_planted_links_never_lead_outside",
        "http::hostile_targets_never_lead_outside",
        "wire::bad_names_are_refused_by_all_three_verbs",
    ]);
    names.after(format!(
        "{asked} requests in {} s of swaps: 0 bytes from outside, 0 changes",
        time.as_secs()
    ))
}

/// The entry is a file, then a link to what is outside, then a link to the folder outside.
fn swap(inside: &Path) -> bool {
    let (spare, entry) = (inside.join("spare"), inside.join("turncoat"));
    for target in ["../outside/secret", "../outside"] {
        fs::write(&spare, "harmless").unwrap();
        fs::rename(&spare, &entry).unwrap();
        symlink(target, &spare).unwrap();
        fs::rename(&spare, &entry).unwrap();
    }
    true
}

/// Promise 11: the power fails right after the OK (ext4's own shutdown), with `--sync` and without it.
pub fn ok_means_on_disk(trial: Trial) -> Verdict {
    let rounds = trial.at_least(8, 50);
    let (here, disk) = (Folder::new(), Folder::new());
    let image = here.word("image");
    must(&format!("truncate -s 64M {image} && mkfs.ext4 -q -F {image}"));
    let cases = places(MODES, PROTOCOLS);
    let mut kept = [0, 0];
    for (at, options) in ["--sync", ""].into_iter().enumerate() {
        for round in 0..rounds {
            let place = cases[round % cases.len()];
            must(&format!("mount -o loop {image} {}", disk.word("")));
            let content = noise(50_000, (at * rounds + round) as u64 + 1);
            let words = format!(
                "serve --mode {} --protocol {}",
                place.case.mode, place.case.protocol
            );
            let (mut server, address) = launch(&format!("{words} {options} --root {}", disk.word("")));
            let name = format!("file-{at}-{round}");
            let request = match place.case.is_http() {
                true => place.case.puts(&name, &content).remove(0),
                false => upload(&name, &content),
            };
            let reply = exchange(address, &request).unwrap();
            shut_down(disk.path());
            assert!(
                !reply.is_empty() && !String::from_utf8_lossy(&reply).contains("ERROR"),
                "{place}: no OK"
            );
            server.signal(libc::SIGKILL);
            server.wait(crate::support::PATIENCE);
            drop(server);
            must(&format!("umount {}", disk.word("")));
            must(&format!("mount -o loop {image} {}", disk.word("")));
            kept[at] += usize::from(fs::read(disk.join(&name)).is_ok_and(|found| found == content));
            let _ = fs::remove_file(disk.join(&name));
            must(&format!("umount {}", disk.word("")));
        }
    }
    let [with, without] = kept;
    let mut wrong = Vec::new();
    require(&mut wrong, with == rounds, || "an OK was not kept".to_owned());
    require(&mut wrong, without < rounds, || {
        "the control has lost nothing".to_owned()
    });
    let figures = format!("{with} of {rounds} there and right with --sync, {without} of {rounds} without");
    Verdict::of(figures, &wrong)
}
