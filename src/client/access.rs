//! How does a client come in? It sends the token of `--token-file` first, on each connection.

use super::{Client, Error};
use crate::access::greeting;
use crate::sys::Stop;
use std::net::SocketAddr;
use std::time::Duration;

impl Client {
    /// Connects; `timeout` bounds this and every later wait for the server. If there is a token, the server
    /// has taken it then.
    pub fn connect(address: SocketAddr, timeout: Duration, stop: Stop) -> Result<Client, Error> {
        Client::connect_for(false, address, timeout, stop)
    }

    /// The same; over HTTP each request shows the token, and the connection none.
    pub fn connect_for(
        http: bool,
        address: SocketAddr,
        timeout: Duration,
        stop: Stop,
    ) -> Result<Client, Error> {
        let mut client = Client::open(address, timeout, stop)?;
        if let Some(greeting) = greeting().filter(|_| !http) {
            client.reader.source().send(&greeting)?;
            client.read_reply(None)?;
        }
        Ok(client)
    }
}
