//! `amsctl answer`

use ams_rpc::Exit;
use ams_rpc::methods::message;
use ams_rpc::types::{AnswerParams, Direction, MessageId, MessageParams, Time};

use crate::body;
use crate::commands::send::new_id;
use crate::failed::Failed;
use crate::patience::Limit;
use crate::session::Session;
use crate::text;

/// A question that is older, in milliseconds, may be one that nobody waits at any more.
const LATE: i64 = 10 * 60 * 1000;

/// Answer a question that came in.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl answer 000102030405060708090a0b0c0d0e0f yes
  amsctl answer 000102030405060708090a0b0c0d0e0f --contact alice no")]
pub struct Args {
    /// The question's id, which recv and history show.
    id: MessageId,

    /// The answer; without it, or with `-`, the answer is stdin.
    #[arg(value_name = "TEXT")]
    words: Vec<String>,

    /// Who asked, where several asked under the same id.
    #[arg(long, value_name = "NAME")]
    contact: Option<String>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let answer = body::read(&self.words)?;
        let answer_id = new_id()?;
        let params = |_| AnswerParams {
            id: self.id,
            answer: answer.clone(),
            contact: self.contact.clone(),
            answer_id: Some(answer_id),
        };
        let result = session.persist::<message::Answer>(Limit::new(None), params)?;
        if session.json {
            text::print_value(&result)?;
        }
        self.say_if_late(session);
        Ok(Exit::Done.code())
    }

    /// Whoever asked may have stopped waiting. How long they wait, nobody is told.
    fn say_if_late(&self, session: &mut Session) {
        let params = MessageParams { id: self.id, contact: self.contact.clone() };
        // A word beside the answer, which is durable: where it cannot be said, it is not.
        let Ok(shown) = session.call::<message::Show>(&params) else { return };
        let mut questions = shown.messages.iter().map(|shown| &shown.message);
        let Some(question) = questions.find(|asked| asked.direction == Direction::In) else {
            return;
        };
        let sent = question.time_sent;
        let age = Time::now().as_millis().saturating_sub(sent.as_millis());
        if age > LATE {
            let name = text::line(&question.from);
            text::note(&format!(
                "amsctl: {name} asked at {sent} and may not wait any more; the answer is sent all the \
                 same"
            ));
        }
    }
}
