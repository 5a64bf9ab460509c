//! The configurations in `docs/proxies`: each proxy that is installed is started with its own and used.

// The helpers of a test may fail like the test itself.
#![allow(clippy::unwrap_used)]

use std::process::Command;

#[test]
fn every_proxy_that_is_installed_works_with_its_configuration() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/proxies/try");
    let ended = Command::new(script).arg(env!("CARGO_BIN_EXE_kolam")).output().unwrap();
    let (told, wrong) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    if ended.status.code() == Some(2) {
        eprintln!("skipped: {wrong}");
        return;
    }
    assert_eq!((ended.status.code(), &*wrong), (Some(0), ""), "{told}");
    assert_eq!(told.lines().count(), 3, "{told}");
    for line in told.lines() {
        assert!(line.ends_with(": ok") || line.ends_with(": skipped, not installed"), "{told}");
        eprintln!("{line}");
    }
}
