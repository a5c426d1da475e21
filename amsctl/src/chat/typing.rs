//! The line that is being typed.

use std::cell::RefCell;

use ams_rpc::methods::contact;
use ams_rpc::types::NoParams;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use crate::session::Session;
use crate::text;

/// Lines that can be got back.
const MAX_HISTORY: usize = 500;
/// What a line can begin with that is not sent.
pub const COMMANDS: [&str; 4] = ["/help", "/history", "/quit", "/to"];

/// An editor of lines.
pub type LineEditor = Editor<Names, MemHistory>;

/// Makes one. Lines are kept in memory alone: what was said lies sealed with the daemon.
///
/// # Errors
/// When the terminal cannot be used.
pub fn editor(session: Session) -> rustyline::Result<LineEditor> {
    let config = Config::builder()
        .max_history_size(MAX_HISTORY)?
        .completion_type(CompletionType::List)
        .auto_add_history(true)
        .build();
    let history = MemHistory::with_config(&config);
    let mut editor = Editor::with_history(config, history)?;
    editor.set_helper(Some(Names(RefCell::new(session))));
    Ok(editor)
}

/// Completes commands, and the names of contacts, for which the daemon is asked.
pub struct Names(RefCell<Session>);

impl Completer for Names {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line.get(..at).unwrap_or_default();
        if let Some(begun) = typed.strip_prefix("/to ") {
            let known = self.0.borrow_mut().call::<contact::List>(&NoParams {});
            let known = known.map(|list| list.contacts).unwrap_or_default();
            let fits = |name: &String| name.starts_with(begun) && text::line(name) == *name;
            let names = known.into_iter().map(|contact| contact.name).filter(fits).collect();
            return Ok((typed.len().saturating_sub(begun.len()), names));
        }
        let commands = COMMANDS.iter().filter(|of| typed.starts_with('/') && of.starts_with(typed));
        Ok((0, commands.map(|of| format!("{of} ")).collect()))
    }
}

impl Hinter for Names {
    type Hint = String;
}
impl Highlighter for Names {}
impl Validator for Names {}
impl Helper for Names {}
