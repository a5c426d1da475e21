//! `amsctl answer`

use ams_rpc::Exit;
use ams_rpc::methods::message;
use ams_rpc::types::{AnswerParams, MessageId};

use crate::body;
use crate::commands::send::new_id;
use crate::failed::Failed;
use crate::session::{Limit, Session};
use crate::text;

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
            text::print(&serde_json::to_string(&result).unwrap_or_default())?;
        }
        Ok(Exit::Done.code())
    }
}
