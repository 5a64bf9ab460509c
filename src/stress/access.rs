//! May a test come in? With the token of `--target`. The servers that the test starts have none.

use crate::access::carry;
use crate::cli::{Args, Failure, usage};

/// From now on each connection of the test shows the token.
pub fn take_token(args: &Args) -> Result<(), Failure> {
    match args.has("--token-file") && !args.has("--target") {
        true => usage("--token-file: this option needs --target; the servers of the test have no token"),
        false => carry(args),
    }
}
