//! The text of a message: from the arguments or from stdin.

use std::io::{IsTerminal, Read};

use ams_rpc::Exit;
use ams_rpc::types::MAX_BODY;

use crate::failed::Failed;

/// The body that these words ask for: joined by one space; without any, or as `-`, all of stdin
/// less one final newline.
///
/// # Errors
/// Exit 2 for what cannot be a message; nothing was sent then.
pub fn read(words: &[String]) -> Result<String, Failed> {
    let from_stdin = words.is_empty() || matches!(words, [only] if only == "-");
    if !from_stdin {
        return check(words.join(" "));
    }
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(Failed::usage("there is no text to send")
            .hint("give it as arguments: amsctl send NAME TEXT, or pipe it in"));
    }
    from_reader(stdin.lock())
}

fn from_reader(input: impl Read) -> Result<String, Failed> {
    // One more for the final newline, and one more to see that it is too long.
    let most = u64::try_from(MAX_BODY).unwrap_or(u64::MAX).saturating_add(2);
    let mut bytes = Vec::new();
    input
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(|error| Failed::new(Exit::Failed, format!("cannot read stdin: {error}")))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.len() > MAX_BODY {
        return Err(too_long("the text on stdin is"));
    }
    let text = String::from_utf8(bytes).map_err(|_| {
        Failed::usage("the text on stdin is not UTF-8")
            .hint("for bytes that are no text: base64 FILE | amsctl send NAME")
    })?;
    check(text)
}

fn check(text: String) -> Result<String, Failed> {
    if text.is_empty() {
        return Err(Failed::usage("the message is empty")
            .hint("give the text as arguments: amsctl send NAME TEXT, or pipe it in"));
    }
    if text.len() > MAX_BODY {
        return Err(too_long(&format!("the message has {} bytes,", text.len())));
    }
    Ok(text)
}

fn too_long(what: &str) -> Failed {
    Failed::usage(format!("{what} longer than the {} KiB that fit", MAX_BODY / 1024))
        .hint("split it, or send a link to it; nothing was queued")
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod tests {
    use super::*;

    fn piped(text: &[u8]) -> Result<String, Failed> {
        from_reader(text)
    }

    #[test]
    fn words_are_joined_by_one_space() {
        let words: Vec<String> = ["backup", "", "finished"].map(str::to_owned).to_vec();
        assert_eq!(read(&words).unwrap(), "backup  finished");
    }

    #[test]
    fn stdin_loses_one_final_newline() {
        assert_eq!(piped(b"a\nb\n\n").unwrap(), "a\nb\n");
        assert_eq!(piped(b"a").unwrap(), "a");
    }

    #[test]
    fn what_cannot_be_a_message_is_usage() {
        for bad in [&b""[..], b"\n", b"\xff"] {
            assert_eq!(piped(bad).unwrap_err().exit, 2, "{bad:?}");
        }
        assert_eq!(read(&[String::new()]).unwrap_err().exit, 2);
    }

    #[test]
    fn the_longest_message_and_one_byte_more() {
        let longest = "x".repeat(MAX_BODY);
        assert_eq!(piped(longest.as_bytes()).unwrap().len(), MAX_BODY);
        assert_eq!(piped(format!("{longest}\n").as_bytes()).unwrap().len(), MAX_BODY);
        assert_eq!(piped(format!("{longest}x").as_bytes()).unwrap_err().exit, 2);
        assert_eq!(piped(format!("{longest}\n\n").as_bytes()).unwrap_err().exit, 2);
        assert_eq!(read(std::slice::from_ref(&longest)).unwrap().len(), MAX_BODY);
        assert_eq!(read(&[longest + "x"]).unwrap_err().exit, 2);
    }
}
