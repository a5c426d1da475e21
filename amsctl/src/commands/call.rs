//! `amsctl call`

use std::io::Read;

use ams_rpc::Exit;
use ams_rpc::server::MAX_LINE;
use serde_json::value::RawValue;

use crate::failed::Failed;
use crate::session::Session;
use crate::text;

/// Call any method of the daemon and print its result as JSON.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl call daemon.status
  amsctl call message.send '{\"to\":\"alice\",\"body\":\"hi\"}'
  amsctl call rpc.discover | jq '.methods[].name'")]
pub struct Args {
    /// The method, like `daemon.status`.
    #[arg(value_name = "METHOD")]
    method: String,

    /// Its parameters, a JSON object; `-` reads them from stdin.
    #[arg(value_name = "PARAMS")]
    params: Option<String>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let params = match self.params.as_deref() {
            None => "{}".to_owned(),
            Some("-") => read_stdin()?,
            Some(params) => params.to_owned(),
        };
        let params = RawValue::from_string(params)
            .map_err(|error| Failed::usage(format!("the parameters are not JSON: {error}")))?;
        let compact = on_one_line(&params)?;
        let result = session.call_any(&self.method, &compact)?;
        text::print_json(result.get())?;
        Ok(Exit::Done.code())
    }
}

fn read_stdin() -> Result<String, Failed> {
    let mut params = String::new();
    let most = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
    std::io::stdin()
        .lock()
        .take(most)
        .read_to_string(&mut params)
        .map_err(|error| Failed::usage(format!("cannot read the parameters: {error}")))?;
    Ok(params)
}

/// A request is one line, whatever the parameters looked like.
fn on_one_line(params: &RawValue) -> Result<Box<RawValue>, Failed> {
    if !params.get().contains(['\n', '\r']) {
        return Ok(params.to_owned());
    }
    let value: serde_json::Value = serde_json::from_str(params.get())
        .map_err(|error| Failed::usage(format!("the parameters are not JSON: {error}")))?;
    serde_json::value::to_raw_value(&value)
        .map_err(|error| Failed::usage(format!("the parameters are not JSON: {error}")))
}
