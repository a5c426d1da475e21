//! `amsctl completions`

use ams_rpc::Exit;
use clap_complete::env::Shells;

use crate::complete;
use crate::failed::Failed;
use crate::session::Session;
use crate::text;

/// Print what makes a shell complete commands, contacts, relays and message ids.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  echo 'source <(amsctl completions bash)' >> ~/.bashrc
  echo 'source <(amsctl completions zsh)' >> ~/.zshrc
  amsctl completions fish > ~/.config/fish/completions/amsctl.fish
  amsctl completions powershell | Out-String | Invoke-Expression")]
pub struct Args {
    /// The shell.
    #[arg(value_parser = ["bash", "zsh", "fish", "powershell"])]
    shell: String,
}

impl Args {
    pub(crate) fn run(self, _: &mut Session) -> Result<u8, Failed> {
        let failed = |why: String| Failed::new(Exit::Failed, format!("no completions: {why}"));
        let shells = Shells::builtins();
        let shell = shells
            .completer(&self.shell)
            .ok_or_else(|| failed(format!("{} is not known", self.shell)))?;
        let mut script = Vec::new();
        // The program by its name: the one that is on the path when the shell asks.
        shell
            .write_registration(complete::VARIABLE, "amsctl", "amsctl", "amsctl", &mut script)
            .map_err(|error| failed(error.to_string()))?;
        text::print(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Done.code())
    }
}
