//! QR codes for a terminal, two rows of modules in a line of text.

use std::io::{self, IsTerminal};

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

/// White letters on black: the blocks are what is light, and readers take dark on light alone.
const COLOURS: (&str, &str) = ("\x1b[97;40m", "\x1b[0m");

/// `text` as a QR code for stdout, ending in a newline; `None`: it is too long for one. On a terminal it
/// has the colours that it needs, whatever those of the terminal are; elsewhere it is for light letters on
/// a dark ground.
#[must_use]
pub fn code(text: &str) -> Option<String> {
    let code = QrCode::new(text.as_bytes()).ok()?;
    let (before, after) = if io::stdout().is_terminal() { COLOURS } else { ("", "") };
    Some(drawn(&code).lines().map(|line| format!("{before}{line}{after}\n")).collect())
}

/// With the quiet zone that readers need; a letter where it is light.
fn drawn(code: &QrCode) -> String {
    let renderer = &mut code.render::<Dense1x2>();
    renderer.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).quiet_zone(true).build()
}

#[cfg(test)]
mod tests {
    use qrcode::Color;

    use super::*;

    /// What is drawn is what is light, module for module, and four modules around it.
    #[test]
    fn blocks_are_what_is_light() {
        let code = QrCode::new(b"ams://relay.example.org:7311/contact#A").unwrap();
        let drawn = drawn(&code);
        let mut rows: Vec<Vec<bool>> = Vec::new();
        for line in drawn.lines() {
            let (upper, lower) = line
                .chars()
                .map(|block| match block {
                    '█' => (true, true),
                    '▀' => (true, false),
                    '▄' => (false, true),
                    ' ' => (false, false),
                    other => panic!("{other}"),
                })
                .unzip();
            rows.extend([upper, lower]);
        }
        let (width, colours) = (code.width(), code.to_colors());
        for (y, row) in rows.iter().take(width + 8).enumerate() {
            assert_eq!(row.len(), width + 8);
            for (x, light) in row.iter().enumerate() {
                let inside = (4..width + 4).contains(&x) && (4..width + 4).contains(&y);
                let dark = inside && colours[(y - 4) * width + x - 4] == Color::Dark;
                assert_eq!(*light, !dark, "{x} {y}");
            }
        }
    }

    #[test]
    fn a_link_fits_and_a_book_does_not() {
        let drawn = code(&format!("ams://relay.example.org:7311/contact#{}", "A".repeat(188)));
        let drawn = drawn.unwrap();
        let lines: Vec<&str> = drawn.lines().collect();
        let width = lines[0].chars().count();
        assert!(lines.iter().all(|line| line.chars().count() == width), "{drawn}");
        assert!(lines.len() * 2 >= width && drawn.contains('█'), "{drawn}");
        // What is read off it is what was put in: another text is another code.
        assert_ne!(code("a"), code("b"));
        assert_eq!(code(&"x".repeat(5000)), None);
    }
}
