//! The proxies of `deploy`: each proxy that is installed is started with its own and used.

use crate::support::skipped;
use std::process::{Command, Output};

/// Tries the configurations with this program.
fn try_with(kolam: &str) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/try-proxies");
    Command::new(script).arg(kolam).output().unwrap()
}

/// A tool that the script itself needs is missing. Every other reason not to run is a failure.
fn lacks_a_tool(ended: &Output) -> bool {
    let told = String::from_utf8_lossy(&ended.stderr);
    ended.status.code() == Some(2) && told.ends_with(" is needed, and is not installed\n")
}

#[test]
fn every_proxy_that_is_installed_works_with_its_configuration() {
    let ended = try_with(env!("CARGO_BIN_EXE_kolam"));
    let (told, wrong) = (
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr),
    );
    if lacks_a_tool(&ended) {
        return skipped(wrong.trim_end());
    }
    assert_eq!((ended.status.code(), &*wrong), (Some(0), ""), "{told}");
    assert_eq!(told.lines().count(), 5, "{told}");
    for line in told.lines() {
        match line.strip_suffix(": skipped, not installed") {
            Some(proxy) => skipped(format!("{proxy} is not installed")),
            None => assert!(line.ends_with(": ok"), "{told}"),
        }
    }
}

#[test]
fn a_program_that_is_missing_is_not_taken_for_a_missing_tool() {
    let ended = try_with("/nowhere/kolam");
    assert_eq!(ended.status.code(), Some(2));
    assert!(!lacks_a_tool(&ended), "{ended:?}");
}
