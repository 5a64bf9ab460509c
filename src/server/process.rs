//! How do processes share the connections? Workers forked beforehand (pre-fork) each accept from the common
//! listener and serve. The parent only replaces those that die, and stops the listening.

use crate::net::LingerSet;
use crate::pool::{Supervisor, WorkerHooks};
use crate::server::announce;
use crate::server::blocking::{BlockingWorker, ListenerRole};
use crate::server::shared::Shared;
use crate::stats::Field;
use crate::sys::{self, Ended, Listen, Pid, Stop};
use std::io;
use std::os::unix::process::parent_id;
use std::sync::Arc;
use std::time::Instant;

pub fn serve(shared: Arc<Shared>, ready: &str) -> io::Result<()> {
    let stop = Stop::listen(Listen::StopAndChildren)?;
    let workers = shared.scoreboard.workers;
    let mut supervisor = Supervisor::start(&shared, workers)?;
    let mut announced = false;
    let stopped = supervisor.watch(stop, || {
        if !announced && shared.scoreboard.alive() == workers {
            announced = true;
            announce(ready);
        }
    })?;
    let mut lingering = LingerSet::default();
    shared.stop_listening(&mut lingering);
    let end = Instant::now() + shared.linger_limit();
    // None for workers that die anyway.
    let grace = shared.limits.grace * u32::from(stopped);
    supervisor.shut_down(stop, grace)?;
    lingering.finish(end)?;
    if stopped {
        Ok(())
    } else {
        Err(io::Error::other("its workers keep dying young"))
    }
}

impl WorkerHooks for Arc<Shared> {
    fn work(&self, index: usize) -> i32 {
        let result = Stop::listen(Listen::Worker).and_then(|stop| {
            let mut worker = BlockingWorker::new(self.clone(), index, stop, ListenerRole::OneOfMany);
            // Wakes the supervisor, which then finds this worker ready. If it has died there is nothing to
            // wake.
            let _ = sys::kill(parent_id() as Pid, sys::SIGCHLD);
            worker.accept_and_serve()
        });
        match result {
            Ok(()) => 0,
            Err(error) => {
                self.note(&format!("worker {index} cannot go on: {error}"));
                1
            }
        }
    }

    fn on_exit(&self, index: usize, ended: Ended) {
        self.record_exit(ended.pid);
        self.scoreboard.worker(index).add(Field::Restarts, 1);
        let how = match (ended.signal, ended.code) {
            (Some(signal), _) => format!("was killed by signal {signal}"),
            // The worker has logged the reason itself.
            (None, Some(1)) => return,
            (None, code) => format!("ended with code {}", code.unwrap_or_default()),
        };
        let pid = ended.pid;
        self.note(&format!("worker {index} (process {pid}) {how}"));
    }

    fn on_cleanup(&self, pid: Pid) {
        if let Err(error) = self.store.sweep(Some(pid as u32)) {
            self.note(&format!("cannot remove what process {pid} left: {error}"));
        }
    }

    fn on_spawn_error(&self, index: usize, error: &io::Error) {
        self.note(&format!("cannot fork worker {index}: {error}"));
    }

    fn any_ready(&self) -> bool {
        self.scoreboard.alive() > 0
    }
}
