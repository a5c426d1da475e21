//! A yes of whoever sits at the terminal.

use std::io::{self, BufRead, IsTerminal, Write};

/// Whether the question was answered with a yes; where nobody can be asked, it was not.
pub(crate) fn is_yes(question: &str) -> bool {
    if !io::stdin().is_terminal() {
        return false;
    }
    let asked = write!(io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    asked.is_ok() && read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
