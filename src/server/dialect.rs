//! Which dialect of the file protocol does a server speak? The options that say it, and the mistakes that can
//! be made with them; what a dialect is stands in `dialects.rs`.

use crate::cli::{Args, Failure, Opt, opt, usage};
use crate::dialects::Dialect;
use crate::server::shared::Protocol;
use crate::session::{Limits, Session};
use crate::stats::RequestLog;
use crate::store::Store;
use std::sync::Arc;

/// Options that need `--protocol file`.
#[rustfmt::skip]
pub const OPTIONS: &[Opt] = &[
    opt("--dialect", "NAME", "where a message ends: delimiter, line, sized or pause (delimiter)"),
    opt("--pause", "TIME", "the silence that ends a request of the pause dialect (50ms)"),
];

impl Protocol for Dialect {
    fn session(&self, store: Arc<Store>, log: RequestLog) -> Box<dyn Session> {
        Dialect::session(*self, store, log)
    }
}

/// Their names and what they are.
const DIALECTS: [(&str, Dialect); 4] = [
    ("delimiter", Dialect::Delimiter),
    ("line", Dialect::Line),
    ("sized", Dialect::Sized),
    ("pause", Dialect::Pause),
];

/// The dialect that takes the place of `protocol`, which `spoken` names; sets the pause of `limits`, and lets
/// `spoken` be what the ready line calls it.
pub fn choose(
    args: &Args,
    spoken: &mut String,
    limits: &mut Limits,
    protocol: Box<dyn Protocol>,
) -> Result<Box<dyn Protocol>, Failure> {
    let chosen = args.choice("--dialect", DIALECTS[0].0, &DIALECTS.map(|row| row.0))?;
    if spoken != "file protocol" {
        return match ["--dialect", "--pause"].into_iter().find(|name| args.has(name)) {
            Some(name) => usage(format!("{name}: this option needs --protocol file")),
            None => Ok(protocol),
        };
    }
    if chosen == "pause" {
        let pause = args.seconds("--pause", 0.05)?;
        if pause >= limits.head {
            return usage("--pause: it must be shorter than --head-timeout, which comes first");
        }
        limits.pause = Some(pause);
    } else if args.has("--pause") {
        return usage("--pause: this option needs --dialect pause");
    }
    if chosen != DIALECTS[0].0 {
        *spoken = format!("{chosen} dialect of the {spoken}");
    }
    let dialect = DIALECTS.into_iter().find(|row| row.0 == chosen);
    Ok(Box::new(dialect.map_or(Dialect::Delimiter, |row| row.1)))
}
