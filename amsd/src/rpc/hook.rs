//! `hook.*`: programs that are run for what happens.

use std::sync::Arc;

use ams_rpc::types::{HookList, HookReplayParams, HookReplayed, HookTestParams, HookTested};
use ams_rpc::{CallContext, Exit, RpcError};
use ams_wire::id::MessageId;

use super::App;
use super::queue::MAX_DECIDED;
use crate::hooks::{Hook, jobs, sample};

pub(super) async fn list(app: App) -> Result<HookList, RpcError> {
    let hooks = app.hooks.clone();
    app.store
        .read(move |db| Ok(HookList { hooks: hooks.infos(db)?, failures: jobs::failures(db)? }))
        .await
}

pub(super) async fn test(
    app: App,
    _: CallContext,
    params: HookTestParams,
) -> Result<HookTested, RpcError> {
    let (_, hook) = called(&app, &params.name)?;
    let first = hook.on.first().copied();
    let kind = params.event.or(first).ok_or_else(|| RpcError::bad_value("for which event?"))?;
    if !hook.on.contains(&kind) {
        let on: Vec<&str> = hook.on.iter().map(|kind| kind.as_str()).collect();
        return Err(RpcError::bad_value(format!("{} is not run for {kind}", params.name))
            .with_hint(format!("it is run for {}", on.join(", "))));
    }
    let run = sample::run(&hook, kind, app.outside.clock.now());
    let ran = app.hooks.test(&app.outside.programs, run).await;
    let exit = if ran.outcome.is_ok() { Exit::Done } else { Exit::Failed };
    Ok(HookTested {
        name: params.name,
        event: kind,
        reason: ran.outcome.err(),
        output: String::from_utf8_lossy(&ran.output).into_owned(),
        exit: exit.code(),
    })
}

pub(super) async fn replay(
    app: App,
    _: CallContext,
    params: HookReplayParams,
) -> Result<HookReplayed, RpcError> {
    let (number, _) = called(&app, &params.name)?;
    let ids = params.ids.map(|ids| ids.into_iter().map(|id| MessageId(id.0)).collect::<Vec<_>>());
    if ids.as_ref().is_some_and(|ids| ids.len() > MAX_DECIDED) {
        return Err(RpcError::bad_value(format!(
            "more than {MAX_DECIDED} ids; name fewer at once"
        )));
    }
    let some = ids.is_some();
    let replayed = app.store.write(move |txn| jobs::replay(txn, number, ids.as_deref())).await?;
    if replayed == 0 && some {
        return Err(RpcError::no_such_message(format!(
            "{} did not fail for any of these messages",
            params.name
        ))
        .with_hint("amsctl hook list shows what hooks failed for"));
    }
    Ok(HookReplayed { replayed })
}

fn called(app: &App, name: &str) -> Result<(u64, Arc<Hook>), RpcError> {
    app.hooks.find(name).ok_or_else(|| RpcError::no_such_hook(format!("no hook is called {name}")))
}
