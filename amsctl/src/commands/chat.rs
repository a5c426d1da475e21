//! `amsctl chat`

use std::io::{self, IsTerminal};
use std::time::Duration;

use ams_rpc::Exit;
use ams_rpc::methods::{contact, history, inbox, message};
use ams_rpc::types::{
    Contact, ContactParams, ContactState, Direction, HistoryParams, InboxNextParams, MAX_BODY,
    Period, SendParams, Stage, WaitParams,
};
use rustyline::ExternalPrinter;
use rustyline::error::ReadlineError;

use super::send::new_id;
use crate::chat::listening::Ear;
use crate::chat::typing::{self, LineEditor};
use crate::chat::{PAUSE, Screen, SharedTalk};
use crate::failed::Failed;
use crate::patience::Limit;
use crate::session::Session;
use crate::text::line;

/// A message that is not delivered by then is said to be on its way.
const SOON: Period = Period(Duration::from_secs(1));
/// Messages that are shown at the beginning.
const BEFORE: u32 = 10;

const HELP: &str = "\
  a line is sent when you press Enter; one that begins with / is a command, and with // it is sent
  /to NAME      go on with another contact; Tab completes the name
  /history [N]  the last messages
  /quit         or Ctrl-D\n";

/// Talk to a contact, line by line: what comes in is shown above the line that you type.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  amsctl chat alice

What is shown is acknowledged, as `recv` does it. Lines that begin with / are commands: /help shows
them. In a script use send and recv.")]
pub struct Args {
    /// The contact.
    #[arg(value_name = "NAME")]
    name: String,

    /// The reader whose position is moved by what is shown.
    #[arg(long, value_name = "NAME", default_value = "default")]
    reader: String,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Err(Failed::usage("a conversation needs a terminal")
                .hint("in a script: amsctl send NAME TEXT, and amsctl recv --follow"));
        }
        let with = session.call::<contact::Show>(&ContactParams { name: self.name })?;
        let no_terminal = |error: ReadlineError| {
            Failed::new(Exit::Failed, format!("the terminal cannot be used: {error}"))
        };
        let mut editor = typing::editor(session.another()).map_err(no_terminal)?;
        let screen = Screen::new(editor.create_external_printer().map_err(no_terminal)?);
        let talk = SharedTalk::default();
        let mut chat = Chat { session, talk: talk.clone(), screen: screen.clone() };
        chat.turn_to(&with, &mut editor)?;
        make_reader(chat.session, &self.reader);
        let ear = Ear {
            events: chat.session.another(),
            calls: chat.session.another(),
            reader: self.reader,
            talk,
            screen,
        };
        // It ends with the process.
        std::thread::spawn(move || ear.listen());
        chat.talk(&mut editor)
    }
}

/// A reader is made when it is first used. Where another program holds it, it is there already; and what
/// is held here is let go with the connection.
fn make_reader(session: &Session, reader: &str) {
    let params = InboxNextParams {
        reader: reader.to_owned(),
        max: Some(1),
        wait: None,
        from: None,
        from_start: None,
        peek: None,
        after: None,
    };
    let _ = session.another().call::<inbox::Next>(&params);
}

struct Chat<'a, P> {
    session: &'a mut Session,
    talk: SharedTalk,
    screen: Screen<P>,
}

impl<P: ExternalPrinter> Chat<'_, P> {
    fn talk(&mut self, editor: &mut LineEditor) -> Result<u8, Failed> {
        loop {
            let prompt = format!("to {}> ", line(&self.talk.name()));
            let typed = match editor.readline(prompt.as_str()) {
                Ok(typed) => typed,
                Err(ReadlineError::Eof) => return Ok(Exit::Done.code()),
                Err(ReadlineError::Interrupted) => {
                    self.screen.print("  (Ctrl-D or /quit ends it)\n".to_owned());
                    continue;
                }
                Err(error) => {
                    return Err(Failed::new(
                        Exit::Failed,
                        format!("the terminal is gone: {error}"),
                    ));
                }
            };
            let done = match typed.trim_end() {
                "" => continue,
                text if text.starts_with("//") => self.send(text.get(1..).unwrap_or_default()),
                text if text.starts_with('/') => match self.command(text, editor) {
                    Ok(true) => Ok(()),
                    Ok(false) => return Ok(Exit::Done.code()),
                    Err(failed) => Err(failed),
                },
                text => self.send(text),
            };
            if let Err(failed) = done {
                self.complain(&failed);
            }
        }
    }

    fn complain(&self, failed: &Failed) {
        let message = failed.message.as_deref().unwrap_or("it failed");
        let hint = failed.hint.as_deref().map(|hint| format!("\n  {}", line(hint)));
        self.screen.print(format!("  {}{}\n", line(message), hint.unwrap_or_default()));
    }

    fn send(&mut self, text: &str) -> Result<(), Failed> {
        if text.len() > MAX_BODY {
            return Err(Failed::usage(format!("a message has {MAX_BODY} bytes at most")));
        }
        let (id, name) = (new_id()?, self.talk.name());
        self.talk.sends(id, text);
        let params = SendParams { id: Some(id), ..SendParams::new(name.clone(), text) };
        self.hands_over(&params).inspect_err(|_| self.talk.takes_back(id))?;
        let wait = |timeout| WaitParams {
            id,
            stage: Stage::Delivered,
            timeout,
            contact: Some(name.clone()),
        };
        // Whoever listens hears of it, too, and of everything later.
        let sent = self.session.persist::<message::Wait>(Limit::new(Some(SOON)), wait);
        if let Some(sent) = sent.ok().filter(|sent| !sent.reached) {
            let told = self.talk.state(id, sent.state, None, true);
            self.screen.print(told.unwrap_or_default());
        }
        Ok(())
    }

    /// Has a message accepted, however long the daemon is away: its id says that it is the same one.
    fn hands_over(&mut self, params: &SendParams) -> Result<(), Failed> {
        let mut told = false;
        loop {
            match self.session.persist::<message::Send>(Limit::new(None), |_| params.clone()) {
                Err(failed) if failed.exit == Exit::NoDaemon.code() => {}
                accepted => return accepted.map(|_| ()),
            }
            if !std::mem::replace(&mut told, true) {
                self.screen.print(
                    "  amsd does not answer; the line is tried until it does (Ctrl-C gives it up)\n"
                        .to_owned(),
                );
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// `false`: it is over.
    fn command(&mut self, text: &str, editor: &mut LineEditor) -> Result<bool, Failed> {
        let (command, rest) = text.split_once(' ').unwrap_or((text, ""));
        match (command, rest.trim()) {
            ("/quit", _) => return Ok(false),
            ("/to", name) if !name.is_empty() => {
                let params = ContactParams { name: name.to_owned() };
                let with = self.session.call::<contact::Show>(&params)?;
                self.turn_to(&with, editor)?;
            }
            ("/history", "") => self.history(BEFORE, None)?,
            ("/history", number) => match number.parse() {
                Ok(number) => self.history(number, None)?,
                Err(_) => self.screen.print(HELP.to_owned()),
            },
            ("/help" | "/to", _) => self.screen.print(HELP.to_owned()),
            (unknown, _) => {
                self.screen.print(format!("  there is no command {}\n{HELP}", line(unknown)));
            }
        }
        Ok(true)
    }

    fn turn_to(&mut self, with: &Contact, editor: &mut LineEditor) -> Result<(), Failed> {
        self.talk.turn_to(with);
        let name = line(&with.name);
        let mut about = format!("  {name} is {}", with.presence);
        if with.state != ContactState::Active {
            about.push_str(&format!(", {}", with.state));
        }
        if !with.verified {
            about.push_str(&format!(", not verified: amsctl contact verify {name}"));
        }
        self.history(BEFORE, Some(editor))?;
        self.screen.print(format!("{about}; /help\n"));
        Ok(())
    }

    /// Shows the last messages; with an editor, those of ours can be got back in it.
    fn history(&mut self, limit: u32, editor: Option<&mut LineEditor>) -> Result<(), Failed> {
        let params = HistoryParams {
            contact: Some(self.talk.name()),
            limit: Some(limit),
            ..HistoryParams::default()
        };
        let said = self.session.call::<history::List>(&params)?.messages;
        for message in &said {
            // Those that came in are not shown again when they turn out to be unread.
            let shown = self.talk.show(message);
            let again = editor.is_none().then(|| crate::render::message(message));
            self.screen.print(shown.or(again).unwrap_or_default());
        }
        let Some(editor) = editor else { return Ok(()) };
        let ours = said.iter().filter(|message| message.direction == Direction::Out);
        for message in ours.filter(|message| !message.body.contains('\n')) {
            // It is a convenience.
            let _ = editor.add_history_entry(message.body.as_str());
        }
        Ok(())
    }
}
