//! `amsctl ask`

use ams_rpc::Exit;
use ams_rpc::methods::message;
use ams_rpc::types::{AskParams, Period, State};

use crate::body;
use crate::commands::send::new_id;
use crate::failed::Failed;
use crate::patience::Limit;
use crate::session::Session;
use crate::text;

/// Ask a contact something, wait for the answer and print it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl ask alice 'Deploy?' --choices yes,no --timeout 10m
  [ \"$(amsctl ask oncall 'Restart db1?' --choices yes,no --timeout 5m)\" = yes ] && restart
  amsctl ask bob 'Which version?'")]
pub struct Args {
    /// The contact's name.
    name: String,

    /// The question; without it, or with `-`, the question is stdin.
    #[arg(value_name = "TEXT")]
    words: Vec<String>,

    /// What may be answered; without it, anything.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    choices: Vec<String>,

    /// How long to wait for the answer, like 30s or 10m; exit 12 when it is over.
    #[arg(long, value_name = "DUR")]
    timeout: Option<Period>,

    /// A title, for notifications.
    #[arg(long)]
    title: Option<String>,

    /// From 1, the lowest, to 5.
    #[arg(long, value_name = "1..5", value_parser = clap::value_parser!(u8).range(1..=5))]
    priority: Option<u8>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        if self.choices.iter().any(String::is_empty) {
            return Err(Failed::usage("a choice is empty")
                .hint("a comma stands between two of them, like --choices yes,no"));
        }
        let body = body::read(&self.words)?;
        // The same question again is the same question, so it may be asked until there is an answer.
        let id = new_id()?;
        let params = |timeout| AskParams {
            to: self.name.clone(),
            body: body.clone(),
            choices: Some(self.choices.clone()).filter(|choices| !choices.is_empty()),
            timeout,
            id: Some(id),
            title: self.title.clone(),
            priority: self.priority,
        };
        let asked = session
            .persist::<message::Ask>(Limit::new(self.timeout), params)
            .map_err(|failed| failed.about(id))?;
        if session.json {
            text::print_value(&asked)?;
        } else if let Some(answer) = &asked.answer {
            text::print(&text::block(&answer.body))?;
        }
        if asked.answer.is_none() {
            let id = asked.id;
            let so_far = match asked.state {
                State::Read => "it was read".to_owned(),
                State::Delivered => "it was delivered".to_owned(),
                state => format!("it is {state}"),
            };
            text::note(&format!(
                "amsctl: no answer to {id}: {so_far}; an answer that comes later is in amsctl recv"
            ));
            debug_assert_ne!(asked.exit, Exit::Done.code());
        }
        Ok(asked.exit)
    }
}
