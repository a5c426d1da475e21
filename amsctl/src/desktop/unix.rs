//! Notifications over D-Bus.

use notify_rust::{Hint, Notification, Urgency};

use super::Shown;

/// For a desktop that reads markup: nothing of it is any.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn urgency(shown: &Shown) -> Urgency {
    match shown.priority {
        Some(1 | 2) => Urgency::Low,
        Some(5) => Urgency::Critical,
        _ => Urgency::Normal,
    }
}

/// Shows it on the desktop of this session.
///
/// # Errors
/// What the bus, or whoever shows notifications there, says.
pub fn show(shown: &Shown) -> Result<(), String> {
    // Nobody there who could say: then nobody shows it either, and that is what is told.
    let reads_markup = notify_rust::get_capabilities()
        .map_err(|error| error.to_string())?
        .iter()
        .any(|of| of == "body-markup");
    let text = if reads_markup { escaped(&shown.text) } else { shown.text.clone() };
    Notification::new()
        .appname("AMS")
        .summary(&shown.headline)
        .body(&text)
        .hint(Hint::Category("im.received".to_owned()))
        .urgency(urgency(shown))
        .show()
        .map(drop)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_wrote_is_no_markup() {
        let safe = escaped("<b>bold</b> & <a href=\"x\">\nend");
        assert!(safe.starts_with("&lt;b&gt;bold&lt;/b&gt; &amp; &lt;a"), "{safe}");
        assert!(!safe.contains(['<', '>']));
    }

    #[test]
    fn it_has_its_urgency() {
        let shown = Shown::new("x", "x", None);
        let urgencies = [None, Some(1), Some(2), Some(3), Some(4), Some(5)]
            .map(|priority| urgency(&Shown { priority, ..shown.clone() }));
        let [none, one, two, three, four, five] = urgencies;
        assert_eq!([none, three, four], [Urgency::Normal; 3]);
        assert_eq!([one, two], [Urgency::Low; 2]);
        assert_eq!(five, Urgency::Critical);
    }
}
