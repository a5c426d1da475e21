//! `amsctl contact verify`

use ams_rpc::methods::contact;
use ams_rpc::types::{ContactVerified, ContactVerifyParams};

use crate::failed::Failed;
use crate::session::Session;
use crate::text::line;

/// How many digits a safety number has.
const DIGITS: usize = 60;

/// Show the safety number, or record that it was compared. Both sides see the same 60 digits; read
/// them to each other over a channel that you trust.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl contact verify alice
  amsctl contact verify alice --confirm '12345 67890 …'")]
pub struct Args {
    /// The contact's name.
    name: String,

    /// The 60 digits that the other side read out.
    #[arg(long, value_name = "60DIGITS")]
    confirm: Option<String>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let confirm = self.confirm.as_deref().map(digits).transpose()?;
        let params = ContactVerifyParams { name: self.name, confirm };
        session.show::<contact::Verify>(&params, text)
    }
}

/// The digits alone: people write them in groups.
fn digits(text: &str) -> Result<String, Failed> {
    let digits: String =
        text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '-' | '.')).collect();
    if digits.len() != DIGITS || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(Failed::usage(format!(
            "a safety number has {DIGITS} digits; nothing was recorded"
        ))
        .hint("amsctl contact verify NAME shows the one to compare with"));
    }
    Ok(digits)
}

fn text(verified: &ContactVerified) -> String {
    let name = line(&verified.name);
    let mut shown = String::new();
    for (place, digit) in line(&verified.safety_number).chars().enumerate() {
        match place {
            0 => shown.push_str("  "),
            30 => shown.push_str("\n  "),
            _ if place.is_multiple_of(5) => shown.push(' '),
            _ => {}
        }
        shown.push(digit);
    }
    let state = match verified.verified_by {
        Some(by) if verified.verified => format!("{name} is verified, by {by}.\n"),
        _ => format!(
            "{name} is not verified. If the other side sees the same digits:\n  \
             amsctl contact verify {name} --confirm DIGITS\n"
        ),
    };
    format!("Safety number with {name}:\n{shown}\n{state}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_in_groups() {
        let spaced = ["12345"; 12].join(" ");
        assert_eq!(digits(&spaced).unwrap(), "12345".repeat(12));
        assert_eq!(digits(&spaced.replace(' ', "-")).unwrap().len(), 60);
        for bad in ["", "1234", &"x".repeat(60), &"1".repeat(61), &"١".repeat(30)] {
            assert_eq!(digits(bad).unwrap_err().exit, 2, "{bad}");
        }
    }

    #[test]
    fn the_number_is_shown_in_two_lines_of_six_groups() {
        let shown = text(&ContactVerified {
            name: "bob\x1b".into(),
            safety_number: "12345".repeat(12),
            verified: false,
            verified_by: None,
        });
        let group = ["12345"; 6].join(" ");
        assert!(shown.contains(&format!("\n  {group}\n  {group}\n")), "{shown}");
        assert!(!shown.contains('\x1b'));
    }
}
