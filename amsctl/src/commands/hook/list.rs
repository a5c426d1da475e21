//! `amsctl hook list`

use ams_rpc::methods::hook;
use ams_rpc::types::{HookList, NoParams};

use crate::columns::{below, states};
use crate::failed::Failed;
use crate::render;
use crate::session::Session;

/// List the hooks, how they fare, and what they failed for.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  amsctl hook list

Hooks are [[hook]] in the daemon's config: a program that is run for what happens, with the event as
JSON on its stdin. One that fails is run again after 1 s, 5 s, 25 s and so on, `retries` times; then
what it failed for is listed here, until it is repeated: amsctl hook replay NAME")]
pub struct Args {}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        session.show::<hook::List>(&NoParams {}, text)
    }
}

fn text(list: &HookList) -> String {
    let hooks: Vec<[String; 6]> = list
        .hooks
        .iter()
        .map(|hook| {
            [
                hook.name.clone(),
                hook.state.to_string(),
                format!("{} waiting", hook.waiting),
                format!("{} failed", hook.failed),
                hook.run.clone(),
                hook.reason.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let mut out = states(&hooks, &[1]);
    let failures: Vec<[String; 7]> = list
        .failures
        .iter()
        .map(|failure| {
            [
                failure.hook.clone(),
                failure.id.to_string(),
                render::time(failure.time),
                failure.event.to_string(),
                failure.contact.clone(),
                format!("{} tries", failure.tries),
                failure.reason.clone(),
            ]
        })
        .collect();
    if !failures.is_empty() {
        out.push_str("failed for\n");
        out.push_str(&below(&failures, &[]));
    }
    out
}
