//! Text for people. What somebody else wrote is made harmless: nothing that it contains moves the
//! cursor, changes colours, hides or turns around anything.

use std::io::{self, Write};

use serde::Serialize;

/// A character that is never shown as itself: C0, DEL and C1, line and paragraph separators, and
/// everything that is invisible or changes the direction of what follows.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}'
            | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

fn push(to: &mut String, c: char) {
    if is_harmful(c) {
        to.extend(c.escape_unicode());
    } else {
        to.push(c);
    }
}

/// A name, a reason, a title: one line, whatever it contains.
#[must_use]
pub fn line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        push(&mut shown, c);
    }
    shown
}

/// A word of a command line that somebody may copy into a shell.
#[must_use]
pub fn for_shell(word: &str) -> String {
    let plain =
        |c: char| c.is_alphanumeric() || "/._-+:,@%=".contains(c) || cfg!(windows) && c == '\\';
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    if cfg!(windows) { format!("\"{word}\"") } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// A body: its lines and tabs are kept, and every line after the first is indented, so that none
/// can pass for a line of ours.
#[must_use]
pub fn block(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\n    "),
            '\t' => shown.push('\t'),
            _ => push(&mut shown, c),
        }
    }
    shown
}

/// JSON in which nothing harmful stands as itself: the same values, and a terminal that it is
/// printed to obeys none of them.
#[must_use]
pub fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        // What lies below a blank stands between values alone: in strings it is escaped already.
        if is_harmful(c) && c >= ' ' {
            let mut units = [0; 2];
            shown.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Prints JSON to stdout as [`print()`] does.
///
/// # Errors
/// When stdout cannot be written.
pub fn print_json(text: &str) -> io::Result<()> {
    print(&json(text))
}

/// As [`print_json`], of a value: strings, numbers and lists, which are always written.
///
/// # Errors
/// When stdout cannot be written.
pub fn print_value(value: &impl Serialize) -> io::Result<()> {
    print_json(&serde_json::to_string(value).unwrap_or_default())
}

/// Prints to stdout, with an end of line where there is none, and flushes. Nothing is printed for
/// nothing.
///
/// # Errors
/// When stdout cannot be written.
pub fn print(text: &str) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Says something on stderr. Nobody can be told when that fails.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What people have used against terminals and readers.
    const NASTY: &[&str] = &[
        "\x1b[2J\x1b[H",
        "\x1b]0;title\x07",
        "\x1b]52;c;ZXZpbA==\x07",
        "\u{9b}31m",
        "\u{90}q\u{9c}",
        "a\rb",
        "a\x08b",
        "\x7f",
        "\0",
        "\u{202e}txt.exe",
        "\u{2066}x\u{2069}",
        "\u{061c}",
        "a\u{200b}b\u{200d}c\u{feff}",
        "\u{2028}new line",
        "\u{ad}soft",
        "\u{e0041}\u{e007f}",
        "\u{3164}",
        "\u{fff9}x\u{fffb}",
        "\u{1bca0}short\u{1bca3}hand",
    ];

    #[test]
    fn nothing_nasty_gets_through() {
        for nasty in NASTY {
            for shown in [line(nasty), block(nasty)] {
                assert!(!shown.chars().any(is_harmful), "{nasty:?} became {shown:?}");
            }
        }
        assert_eq!(line("\x1b[31mred"), r"\u{1b}[31mred");
        assert_eq!(line("a\nb\tc"), r"a\u{a}b\u{9}c");
    }

    /// The same value, and every character of it in sight.
    #[test]
    fn nothing_nasty_is_in_json() {
        for nasty in NASTY {
            let shown = json(&serde_json::to_string(nasty).unwrap());
            assert!(!shown.chars().any(is_harmful), "{nasty:?} became {shown:?}");
            assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), *nasty);
        }
        assert_eq!(json("{\"a\":\"\u{e0041}\u{9b}\"}"), r#"{"a":"\udb40\udc41\u009b"}"#);
        assert_eq!(json("{\n  \"a\": \"世界\"\n}\n"), "{\n  \"a\": \"世界\"\n}\n");
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        for text in ["hi", "Grüße, 世界", "naïve – “quoted”", "❤️ 🎉", "a\\b"] {
            assert_eq!(line(text), text);
            assert_eq!(block(text), text);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_path_is_one_word_for_a_shell() {
        assert_eq!(for_shell("/home/jörg/.ams"), "/home/jörg/.ams");
        assert_eq!(for_shell("/home/bob's ams"), "'/home/bob'\\''s ams'");
        assert_eq!(for_shell("$HOME"), "'$HOME'");
        assert_eq!(for_shell(""), "''");
    }

    #[test]
    fn a_body_cannot_pass_for_a_line_of_ours() {
        assert_eq!(
            block("one\n2026-11-24T10:45:00Z  bob: two"),
            "one\n    2026-11-24T10:45:00Z  bob: two"
        );
        assert_eq!(block("a\r\nb"), "a\\u{d}\n    b");
    }

    proptest! {
        #[test]
        fn any_json_stays_what_it_is(text: String) {
            let shown = json(&serde_json::to_string(&text).unwrap());
            prop_assert!(!shown.chars().any(is_harmful));
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        }

        #[test]
        fn any_text_becomes_harmless(text: String) {
            prop_assert!(!line(&text).chars().any(is_harmful));
            prop_assert!(!block(&text).chars().any(|c| is_harmful(c) && !matches!(c, '\n' | '\t')));
        }
    }
}
