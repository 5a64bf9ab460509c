//! How does a server do without threads and processes? The accept loop serves each connection itself.

use crate::server::announce;
use crate::server::blocking::{BlockingWorker, ListenerRole};
use crate::server::shared::Shared;
use crate::sys::{Listen, Stop};
use std::io;
use std::sync::Arc;

pub fn serve(shared: Arc<Shared>, ready: &str) -> io::Result<()> {
    let stop = Stop::listen(Listen::Stop)?;
    let mut worker = BlockingWorker::new(shared, 0, stop, ListenerRole::SoleAcceptor);
    announce(ready);
    worker.accept_and_serve()
}
