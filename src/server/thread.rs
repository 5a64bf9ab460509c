//! How do threads share the connections? The main thread accepts and puts each into the channel of a pool; an
//! idle thread takes it out and serves it. What lingers comes back to the main thread.

use crate::net::{Accepted, DESCRIPTOR_PAUSE, LingerQueue, LingerSet};
use crate::pool::ThreadPool;
use crate::server::blocking::{BlockingWorker, ListenerRole};
use crate::server::shared::Shared;
use crate::server::{OVERSTAY, announce};
use crate::stats::Permit;
use crate::sys::{Listen, Stop};
use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

pub fn serve(shared: Arc<Shared>, ready: &str) -> io::Result<()> {
    let stop = Stop::listen(Listen::Stop)?;
    let served = Arc::new(LingerQueue::new()?);
    let workers = (0..shared.scoreboard.workers).map(|index| {
        let mut worker = BlockingWorker::new(shared.clone(), index, stop, ListenerRole::NoAcceptor);
        let served = served.clone();
        move |(stream, permit): (TcpStream, Permit)| {
            if let Some(lingering) = worker.serve(stream, permit) {
                served.send(lingering);
            }
        }
    });
    let pool = ThreadPool::start(workers)?;
    announce(ready);
    let events = [shared.listener.as_fd(), stop.as_fd(), served.readable.as_fd()];
    let mut lingering = LingerSet::default();
    while !stop.requested() {
        match shared.accept() {
            Accepted::Connection(stream) => match shared.admit(stream, shared.scoreboard.server()) {
                Ok(job) => pool.submit(job),
                Err(refused) => lingering.add(refused),
            },
            Accepted::WouldBlock => lingering.wait(&events, None)?,
            Accepted::NoDescriptors(_) => {
                lingering.wait(&[stop.as_fd()], Some(Instant::now() + DESCRIPTOR_PAUSE))?;
            }
            Accepted::Closed => break,
        }
        lingering.extend(served.receive());
    }
    // The graceful shutdown: no new connections; requests that have begun may finish.
    shared.stop_listening(&mut lingering);
    let end = Instant::now() + shared.limits.grace + OVERSTAY;
    pool.finish_by(end);
    lingering.extend(served.receive());
    lingering.finish(end.min(Instant::now() + shared.linger_limit()))
}
