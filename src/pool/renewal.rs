//! How does a pool of processes get new workers without a failed request? The new one is ready before the old
//! one retires: it takes no more connections, finishes those that it has, without a limit of time, and ends.
//! One worker after another, so that at most one more than usual begins, and a new one that cannot even begin
//! leaves the others as they are.

use super::{Slot, Supervisor, WorkerHooks};
use crate::sys::{self, Ended, Pid, Stop};
use std::collections::VecDeque;
use std::mem;
use std::time::Instant;

/// What a renewal asks the server, and reports to it.
pub trait RenewalHooks {
    /// Is process `pid` ready to serve?
    fn is_ready(&self, pid: Pid) -> bool;
    /// Process `new` has taken the place of `old`, which retires.
    fn on_renewed(&self, index: usize, old: Pid, new: Pid);
    /// A process that was retired has ended well.
    fn on_retired(&self, pid: Pid);
}

/// How far the replacing of all workers has come.
///
/// ```text
///   SIGHUP ──► due ──fork──► next ──ready──► slot, and the worker that was in it: SIGUSR2, retired ──► ends
///               └── the worker of this slot before the last one still has connections: wait for it
/// ```
#[derive(Default)]
pub struct Renewal {
    /// The slots whose workers are to be replaced.
    due: VecDeque<usize>,
    /// The slot of the new worker that is not ready yet, and what will be in it.
    next: Option<(usize, Slot)>,
    /// Workers that finish their connections, and whose slots they had: at most one a slot.
    retired: Vec<(usize, Slot)>,
}

impl Renewal {
    /// Takes out all processes that have no slot of the supervisor's, which waits for them when it ends.
    pub fn processes(&mut self) -> impl Iterator<Item = Slot> + use<> {
        let all = mem::take(self);
        all.next.into_iter().chain(all.retired).map(|(_, slot)| slot)
    }
}

impl<H: WorkerHooks> Supervisor<'_, H> {
    /// Goes on with the renewal as far as it can: called whenever a worker may have become ready, or ended. A
    /// request that comes meanwhile begins when this one is over.
    pub(super) fn renew(&mut self, stop: Stop) {
        if self.renewal.due.is_empty() && self.renewal.next.is_none() && stop.take_renewal() {
            self.renewal.due = (0..self.slots.len()).collect();
        }
        self.adopt();
        while self.renewal.next.is_none()
            && let Some(&index) = self.renewal.due.front()
            && !self.renewal.retired.iter().any(|(slot, _)| *slot == index)
        {
            match self.slots[index].pid {
                // It begins itself: a process that is ready will come, and be replaced then.
                Some(pid) if !self.hooks.is_ready(pid) => return,
                Some(_) => self.begin_renewal(index),
                // A slot without a process will have a new one in any case.
                None => {}
            }
            self.renewal.due.pop_front();
        }
    }

    fn begin_renewal(&mut self, index: usize) {
        let (hooks, started) = (self.hooks, Instant::now());
        match sys::fork(|| hooks.work(index)) {
            Ok(pid) => {
                let slot = Slot {
                    pid: Some(pid),
                    started,
                    early_exits: 0,
                };
                self.renewal.next = Some((index, slot));
            }
            Err(error) => {
                self.renewal.due.clear();
                hooks.on_spawn_error(index, &error);
            }
        }
    }

    /// Puts the new worker into its slot when it is ready, or when the old one has died in the meantime.
    fn adopt(&mut self) {
        let Some((index, next)) = self.renewal.next else {
            return;
        };
        let (Some(new), old) = (next.pid, self.slots[index].pid) else {
            return;
        };
        if old.is_some() && !self.hooks.is_ready(new) {
            return;
        }
        let before = mem::replace(&mut self.slots[index], next);
        self.renewal.next = None;
        if let Some(old) = old {
            self.hooks.on_renewed(index, old, new);
            // It fails only for a process that has ended.
            let _ = sys::kill(old, sys::SIGUSR2);
            self.renewal.retired.push((index, before));
        }
    }

    /// A process has ended that has no slot: the new one, whose renewal ends with it, or a retired one.
    pub(super) fn reap_renewal(&mut self, ended: Ended) {
        let is_it = |slot: &(usize, Slot)| slot.1.pid == Some(ended.pid);
        if let Some((index, _)) = self.renewal.next.take_if(|next| is_it(next)) {
            self.renewal.due.clear();
            self.hooks.on_exit(index, ended);
        } else if let Some(at) = self.renewal.retired.iter().position(is_it) {
            let (index, _) = self.renewal.retired.swap_remove(at);
            match ended.code {
                Some(0) => self.hooks.on_retired(ended.pid),
                _ => self.hooks.on_exit(index, ended),
            }
        } else {
            return;
        }
        self.hooks.on_cleanup(ended.pid);
    }
}
