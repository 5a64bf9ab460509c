//! What does the balancer promise about its back ends? One that dies costs the requests that it had in hand, and no
//! more; it gets its share again when it is back.

use crate::site::{Balancer, Place, balanced, exchange, in_turn, is_whole, launch, launch_at};
use crate::support::{Background, Folder, Running, noise, within};
use crate::trial::{Trial, Verdict, require, shown};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Clients at once.
const CLIENTS: usize = 50;

/// A process that is killed closes what it has, one after another; by then it has ended.
const ENDS: Duration = Duration::from_millis(200);

/// What a client has seen.
struct Seen {
    began: Instant,
    ended: Instant,
    /// Which back end has answered; `None`: the request has failed.
    by: Option<usize>,
}

/// Back ends whose answers tell them apart.
struct Fleet {
    folders: Vec<Folder>,
    servers: Vec<Running>,
    addresses: Vec<SocketAddr>,
    contents: Arc<Vec<Vec<u8>>>,
}

impl Fleet {
    fn start(place: Place) -> Fleet {
        let contents: Vec<Vec<u8>> = (1..=3).map(|seed| noise(100_000, seed)).collect();
        let folders: Vec<Folder> = contents.iter().map(|_| Folder::new()).collect();
        folders
            .iter()
            .zip(&contents)
            .for_each(|(folder, content)| folder.write("a", content));
        let start = |folder: &Folder| launch(&words(place, folder));
        let (servers, addresses) = folders.iter().map(start).unzip();
        Fleet {
            folders,
            servers,
            addresses,
            contents: contents.into(),
        }
    }
}

fn words(place: Place, folder: &Folder) -> String {
    let (protocol, root) = (place.case.protocol, folder.path().display());
    format!("serve --quiet --mode event --workers 2 --protocol {protocol} --root {root}")
}

/// Which back end answers; `None`: none does as it should. The client says first that it sends no more, and the
/// server closes only when it has heard that.
fn ask_which(place: Place, address: SocketAddr, contents: &[Vec<u8>]) -> Option<usize> {
    let reply = exchange(address, &place.case.get("a")).ok()?;
    contents
        .iter()
        .position(|content| is_whole(place.case, "a", content, &reply))
}

/// Promise 22: kill -9 of one back end of three beside 50 clients; later it starts again.
pub fn a_back_end_may_die(trial: Trial) -> Verdict {
    let rounds = trial.times(5);
    let mut wrong = Vec::new();
    let (mut failed, mut all, mut slowest) = (0, 0, Duration::ZERO);
    let mut uneven = 0;
    let found = in_turn(&balanced(), |place, _| {
        let mut fleet = Fleet::start(place);
        let balancer = Balancer::start(&fleet.addresses, "");
        let shares = shares(place, &balancer, &fleet);
        let lost: Vec<_> = (0..rounds)
            .map(|_| lose_one(place, &balancer, &mut fleet))
            .collect();
        (shares, lost)
    });
    for (place, (shares, lost)) in found {
        uneven = uneven.max(shares.iter().max().unwrap() - shares.iter().min().unwrap());
        for Lost {
            requests,
            failures,
            late,
            back,
        } in lost
        {
            all += requests;
            failed = failed.max(failures);
            slowest = slowest.max(back);
            require(&mut wrong, failures <= CLIENTS, || {
                format!("{place}: {failures} failed")
            });
            require(&mut wrong, late == 0, || format!("{place}: {late} failed later"));
        }
    }
    require(&mut wrong, uneven <= 1, || "shares are uneven".to_owned());
    require(&mut wrong, slowest <= Duration::from_secs(2), || {
        "it is back late".to_owned()
    });
    let figures = format!(
        "{failed} of {CLIENTS} requests in hand lost at most ({all} requests), 0 after 0.2 s; back after {}; \
         shares ± {uneven}; half-close passed on",
        shown(slowest)
    );
    Verdict::of(figures, &wrong)
}

/// How many of 300 requests, one after another, each back end has answered.
fn shares(place: Place, balancer: &Balancer, fleet: &Fleet) -> Vec<usize> {
    let mut counts = vec![0; fleet.contents.len()];
    for _ in 0..300 {
        counts[ask_which(place, balancer.address, &fleet.contents).expect("a good answer")] += 1;
    }
    counts
}

/// What the loss of one back end has cost.
struct Lost {
    requests: usize,
    failures: usize,
    /// Of requests that began when the back end had ended, or later.
    late: usize,
    /// From its start until it has answered a client.
    back: Duration,
}

fn lose_one(place: Place, balancer: &Balancer, fleet: &mut Fleet) -> Lost {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let client = |_| {
        let (address, contents, seen) = (balancer.address, fleet.contents.clone(), seen.clone());
        Background::repeat(move || {
            let began = Instant::now();
            let by = ask_which(place, address, &contents);
            seen.lock().unwrap().push(Seen {
                began,
                ended: Instant::now(),
                by,
            });
            true
        })
    };
    let clients: Vec<Background> = (0..CLIENTS).map(client).collect();
    thread::sleep(Duration::from_millis(500));
    let killed = Instant::now();
    fleet.servers[0].signal(libc::SIGKILL);
    fleet.servers[0].wait(crate::support::PATIENCE);
    thread::sleep(Duration::from_millis(1500));
    let restart = Instant::now();
    fleet.servers[0] = launch_at(&words(place, &fleet.folders[0]), fleet.addresses[0]);
    let is_back = |one: &Seen| one.by == Some(0) && one.ended > restart;
    within(crate::support::SOON, "the back end is in turn again", || {
        seen.lock().unwrap().iter().any(is_back)
    });
    thread::sleep(Duration::from_millis(500));
    drop(clients);
    let seen = seen.lock().unwrap();
    let failures = seen.iter().filter(|one| one.by.is_none());
    let gone = killed + ENDS;
    let back = seen
        .iter()
        .filter(|one| is_back(one))
        .map(|one| one.ended)
        .min()
        .unwrap();
    Lost {
        requests: seen.len(),
        failures: failures.clone().count(),
        late: failures.filter(|one| one.began > gone).count(),
        back: back - restart,
    }
}
