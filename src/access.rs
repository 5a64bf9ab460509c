//! # Chapter 22. Who may come in?
//!
//! All who know the token of the server: a secret text in a file. A client of the file protocol sends it
//! first, `AUTH <token>`; over HTTP it is in a field of each request. It is compared in a time that does not
//! depend on how much of it is right, and the answer to a wrong one comes late.
//!
//! ```text
//!   token file ──► Token ──► Gate: a session in front of that of the file protocol
//!                     └────► http/auth.rs: each request (Bearer, Basic)
//!   wrong ──► the driver keeps the answer for a while (net/late.rs); no worker waits, no other client either
//! ```
//!
//! The invariant: the token is in no line of the log, no reply, no error and no command line. What is not
//! admitted reaches neither the folder nor the session behind the gate.
//!
//! What must not live here: users, rights, encryption. The token crosses the network as it is: on any network
//! but loopback it needs TLS or a tunnel around it.
//!
//! before: `top.rs` … after: the README again
//!
//! Experiment:
//! edit: the gate compares only as many bytes as the peer has sent
//! run: cargo test --locked --bin kolam access::
//! see: only_the_whole_token_matches ... FAILED

mod gate; // AUTH, in front of the file protocol
mod credentials; // what a field of HTTP offers

pub use credentials::offered;
pub use gate::Gate;

use crate::cli::{Args, Failure, Opt, failed, opt};
use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::OnceLock;

/// Fewer bytes could be guessed; more are no safer. Each is a printable character of ASCII, no blank.
const SHORTEST: usize = 16;
const LONGEST: usize = 256;

/// The reason why a token is refused.
pub const WRONG: &str = "wrong token";

pub const TOKEN_FILE: Opt = opt("--token-file", "FILE", "file with the token of the server");
pub const OPTIONS: &[Opt] = &[TOKEN_FILE];

/// A token; bytes after its end are 0. It cannot be printed.
pub struct Token {
    padded: [u8; LONGEST],
    length: usize,
}

impl Token {
    /// Reads a token from its file; one line end after it is no part of it.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, and the remedy.
    pub fn read(path: &Path) -> Result<Token, String> {
        let mut text = Vec::new();
        let file = File::open(path).map_err(|error| format!("cannot read it: {error}"))?;
        let about = file.metadata().map_err(|error| error.to_string())?;
        let mode = about.permissions().mode() & 0o777;
        // A pipe has one reader.
        if about.is_file() && mode & 0o007 != 0 {
            return Err(format!(
                "everybody can use it (mode {mode:04o}); chmod 600 {}",
                path.display()
            ));
        }
        // One byte more than fits shows that there are more.
        let read = file.take(LONGEST as u64 + 3).read_to_end(&mut text);
        read.map_err(|error| format!("cannot read it: {error}"))?;
        let text = text.strip_suffix(b"\n").unwrap_or(&text);
        Token::of(text.strip_suffix(b"\r").unwrap_or(text)).ok_or_else(|| {
            let rule =
                format!("a token is one line of {SHORTEST} to {LONGEST} printable characters, no blanks");
            format!("{rule}; make one: head -c 24 /dev/urandom | base64")
        })
    }

    fn of(text: &[u8]) -> Option<Token> {
        let good = (SHORTEST..=LONGEST).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic);
        let mut padded = [0; LONGEST];
        padded.get_mut(..text.len())?.copy_from_slice(text);
        let length = text.len();
        good.then_some(Token { padded, length })
    }

    fn text(&self) -> &[u8] {
        &self.padded[..self.length]
    }

    /// Is this the token? All places are compared, whatever the first ones say: the time that an early exit
    /// saves would tell a peer how many bytes are right (a timing attack), to guess them one by one.
    pub fn matches(&self, offered: &[u8]) -> bool {
        let mut difference = self.length ^ offered.len();
        for (at, &byte) in self.padded.iter().enumerate() {
            difference |= usize::from(byte ^ offered.get(at).copied().unwrap_or(0));
        }
        // The compiler may not conclude that it could have stopped before.
        black_box(difference) == 0
    }
}

/// The token in the file that an option names.
pub fn token(args: &Args) -> Result<Option<Token>, Failure> {
    let Some(path) = args.path("--token-file") else {
        return Ok(None);
    };
    let said = || args.said("--token-file", path.display());
    Token::read(path)
        .map(Some)
        .or_else(|error| failed(format!("{}: {error}", said())))
}

/// The token that this process shows to servers, if it is a client.
static OWN: OnceLock<Token> = OnceLock::new();

/// From now on this process shows the token that an option names.
pub fn carry(args: &Args) -> Result<(), Failure> {
    token(args)?.into_iter().for_each(|token| drop(OWN.set(token)));
    Ok(())
}

/// What a client sends first: `AUTH <token>`; `None`: it has no token.
pub fn greeting() -> Option<Vec<u8>> {
    OWN.get()
        .map(|token| [b"AUTH ", token.text(), b"\r\n\r\n"].concat())
}

/// What a client of HTTP sends with each request, as a header line; empty: it has no token.
pub fn bearer() -> String {
    let line = |token: &Token| {
        format!(
            "Authorization: Bearer {}\r\n",
            String::from_utf8_lossy(token.text())
        )
    };
    OWN.get().map(line).unwrap_or_default()
}

/// Shows the token on a connection that has just begun, outside of everything that is recorded there.
pub fn introduce(stream: &mut TcpStream) -> io::Result<()> {
    let Some(greeting) = greeting() else {
        return Ok(());
    };
    stream.write_all(&greeting)?;
    let (mut reply, mut byte) = (Vec::new(), [0]);
    // Byte by byte, so that nothing of what follows is taken.
    while !reply.ends_with(b"\r\n\r\n") && reply.len() < LONGEST {
        stream.read_exact(&mut byte)?;
        reply.push(byte[0]);
    }
    match reply.starts_with(b"{\"status\":\"OK\"") {
        true => Ok(()),
        false => Err(io::Error::other("the server does not take the token")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Folder;
    use std::fs;

    #[test]
    fn only_the_whole_token_matches() {
        let text = b"sixteen-letters!";
        let token = Token::of(text).unwrap();
        assert!(token.matches(text));
        for at in 0..text.len() {
            assert!(!token.matches(&text[..at]), "{at} bytes");
            let mut other = *text;
            other[at] ^= 1;
            assert!(!token.matches(&other), "byte {at}");
        }
        for more in [&b"!"[..], b"\0", &[0; 240], &[0; 300]] {
            assert!(!token.matches(&[text, more].concat()));
        }
        assert!(!token.matches(&[0; LONGEST]) && !token.matches(b""));
        let longest = [b'x'; LONGEST];
        assert!(Token::of(&longest).unwrap().matches(&longest));
    }

    #[test]
    fn a_token_file_holds_one_line_and_is_not_for_everybody() {
        let folder = Folder::new();
        let read = |text: &[u8], mode| {
            folder.write("t", text);
            let path = folder.path().join("t");
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            Token::read(&path).map(|token| token.length)
        };
        for (text, length) in [
            (&b"0123456789abcdef"[..], 16),
            (b"0123456789abcdef\n", 16),
            (b"0123456789abcdef\r\n", 16),
            (&[b'~'; 256], 256),
        ] {
            assert_eq!(read(text, 0o640), Ok(length));
        }
        let long = [[b'a'; 257].as_slice(), b"\n"].concat();
        for text in [
            &b""[..],
            b"0123456789abcde\n",
            b"0123456789 abcdef",
            b"0123456789abcdef\n\n",
            b"0123456789\xc3\xa9abcdef",
            &long,
        ] {
            let error = read(text, 0o600).unwrap_err();
            assert!(error.contains("16 to 256") && !error.contains("0123"), "{error}");
        }
        for mode in [0o604, 0o644, 0o602] {
            assert!(read(b"0123456789abcdef", mode).unwrap_err().contains("chmod 600"));
        }
        assert!(Token::read(&folder.path().join("none")).is_err());
    }
}
