//! Lists for people: columns that line up, ends of lines where the terminal ends, and on a terminal
//! the colours of the few words that say how something stands.

use std::borrow::Cow;

use unicode_width::UnicodeWidthStr;

use crate::text::line;

/// What stdout is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Look {
    /// Columns of the terminal; `None`: lines are as long as they are.
    columns: Option<usize>,
    /// Words may be coloured.
    colour: bool,
}

impl Look {
    fn of_stdout() -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_plain = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let columns = crate::platform::stdout::columns();
        Self { columns, colour: columns.is_some() && !is_plain && !is_set("NO_COLOR") }
    }
}

/// Columns, each as wide as its widest cell; two spaces between them and none at the end.
#[must_use]
pub fn table<const N: usize>(rows: &[[String; N]]) -> String {
    rendered(rows, 0, &[], Look::of_stdout())
}

/// As [`table`], where these columns say how something stands.
#[must_use]
pub fn states<const N: usize>(rows: &[[String; N]], columns: &[usize]) -> String {
    rendered(rows, 0, columns, Look::of_stdout())
}

/// As [`states`], further in, below a headline.
#[must_use]
pub fn below<const N: usize>(rows: &[[String; N]], columns: &[usize]) -> String {
    rendered(rows, 2, columns, Look::of_stdout())
}

fn rendered<const N: usize>(
    rows: &[[String; N]],
    indent: usize,
    coloured: &[usize],
    look: Look,
) -> String {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|c| line(c))).collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut shown = String::new();
    for row in &rows {
        let written = |colour: bool| {
            let mut written = " ".repeat(indent);
            for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
                match colour_of(cell).filter(|_| colour && coloured.contains(&column)) {
                    Some(colour) => written.extend([colour, cell, PLAIN]),
                    None => written.push_str(cell),
                }
                let missing = width.saturating_sub(cell.width()).saturating_add(2);
                written.extend(std::iter::repeat_n(' ', missing));
            }
            written.truncate(written.trim_end().len());
            written
        };
        let plain = written(false);
        match within(&plain, look.columns) {
            Cow::Borrowed(_) if look.colour => shown.push_str(&written(true)),
            fits => shown.push_str(&fits),
        }
        shown.push('\n');
    }
    shown
}

const PLAIN: &str = "\x1b[0m";

/// Red: somebody has to do something. Yellow: not there yet. Green: as it should be.
fn colour_of(word: &str) -> Option<&'static str> {
    // A path's state may go on: `up, in use`.
    match word.split(',').next().unwrap_or_default() {
        "undelivered" | "refused" | "key_changed" | "missing" | "failing" => Some("\x1b[31m"),
        "queued" | "waiting" | "connecting" | "down" | "pending" => Some("\x1b[33m"),
        "up" | "online" | "active" | "ok" => Some("\x1b[32m"),
        _ => None,
    }
}

/// As much of a line as fits, and a mark where that is not all.
fn within(line: &str, columns: Option<usize>) -> Cow<'_, str> {
    let Some(columns) = columns.filter(|columns| line.width() > *columns) else {
        return line.into();
    };
    // Beginnings, longer and longer: what stands together may be wider or narrower than its parts.
    let beginnings = line.char_indices().filter_map(|(end, _)| line.get(..end));
    let fits = beginnings.take_while(|begun| begun.width() < columns).last().unwrap_or_default();
    format!("{fits}…").into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cells(a: &str, b: &str) -> [String; 2] {
        [a.to_owned(), b.to_owned()]
    }

    fn in_columns(rows: &[[String; 2]], columns: usize) -> String {
        rendered(rows, 0, &[], Look { columns: Some(columns), colour: false })
    }

    #[test]
    fn columns_line_up_whatever_the_width() {
        assert_eq!(
            rendered(
                &[cells("世界", "x"), cells("bob", "y"), cells("a", "")],
                0,
                &[],
                Look::default()
            ),
            "世界  x\nbob   y\na\n"
        );
        assert_eq!(rendered::<2>(&[], 0, &[], Look::default()), "");
        assert_eq!(rendered(&[cells("a", "b")], 2, &[], Look::default()), "  a  b\n");
    }

    #[test]
    fn a_line_ends_where_the_terminal_does() {
        let rows = [cells("bob", "a reason that is long"), cells("世界", "世界世界")];
        assert_eq!(in_columns(&rows, 12), "bob   a rea…\n世界  世界…\n");
        assert_eq!(in_columns(&rows, 80), rendered(&rows, 0, &[], Look::default()));
        assert_eq!(in_columns(&[cells("世界", "")], 4), "世界\n");
        assert_eq!(in_columns(&[cells("世界", "")], 3), "世…\n");
    }

    #[test]
    fn words_are_coloured_in_their_columns_alone() {
        let look = Look { columns: Some(80), colour: true };
        let rows = [cells("up", "up, in use"), cells("x", "\x1b[31mup")];
        assert_eq!(
            rendered(&rows, 0, &[1], look),
            "up  \x1b[32mup, in use\x1b[0m\nx   \\u{1b}[31mup\n",
            "a contact called up is only a name"
        );
        assert!(!rendered(&rows, 0, &[1], Look { colour: false, ..look }).contains('\x1b'));
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_its_terminal(text: String, columns in 1_usize..100) {
            for line in in_columns(&[[text.clone(), text]], columns).lines() {
                prop_assert!(line.width() <= columns, "{line:?}");
            }
        }
    }
}
