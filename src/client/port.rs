//! Which of a server's connections is this one? The one with the port of this side, which the log of the
//! server names.

use super::Client;

impl Client {
    /// The port of this side; 0: the connection is gone.
    pub fn port(&mut self) -> u16 {
        let address = self.reader.source().stream.local_addr();
        address.map_or(0, |address| address.port())
    }
}
