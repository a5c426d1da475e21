//! QR codes for a terminal, two rows of modules in a line of text.

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

/// `text` as a QR code, ending in a newline; `None`: it is too long for one. Dark on light, with the
/// quiet zone that readers need, whatever the colours of the terminal are.
#[must_use]
pub fn code(text: &str) -> Option<String> {
    let code = QrCode::new(text.as_bytes()).ok()?;
    let drawn = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Dark)
        .light_color(Dense1x2::Light)
        .quiet_zone(true)
        .build();
    Some(format!("{drawn}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
