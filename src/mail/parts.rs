//! How a letter looks: its parts as plain text and as HTML.
//!
//! A letter is written once, as a list of parts, and both forms are made from that list: they cannot say different
//! things. Whatever a part holds is escaped here, so that no letter can forget it. It knows no occasion for a letter:
//! each domain writes its own.

use crate::base::text::is_hidden;

/// A letter without its address. Not to be printed: its link may be a credential.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// The subject.
    pub subject: &'static str,
    /// The plain text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
}

/// Prints the subject, which is one of ours.
impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Letter").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// A piece of a letter.
pub enum Part {
    /// A paragraph.
    Says(String),
    /// What is to be opened: a button in HTML, with the address below it for whoever would rather copy it.
    Link {
        /// What the button says.
        label: &'static str,
        /// Where it leads.
        url: String,
    },
    /// What happened, fact by fact.
    Facts(Vec<(&'static str, String)>),
}

/// A paragraph.
#[must_use]
pub fn says(words: &str) -> Part {
    Part::Says(words.to_owned())
}

/// Puts a letter together. `why` says at its foot why the person gets it.
#[must_use]
pub fn letter(subject: &'static str, parts: &[Part], why: &str, site: &str) -> Letter {
    Letter { subject, text: text(parts, why, site), html: html(subject, parts, why, site) }
}

fn text(parts: &[Part], why: &str, site: &str) -> String {
    let blocks: Vec<String> = parts
        .iter()
        .map(|part| match part {
            Part::Says(words) => words.clone(),
            Part::Link { label, url } => format!("{label}:\n{url}"),
            Part::Facts(facts) => {
                let lines: Vec<String> =
                    facts.iter().map(|(name, value)| format!("{name}: {value}")).collect();
                lines.join("\n")
            }
        })
        .collect();
    // `-- ` and a line break is what mail programs know as the beginning of a foot.
    format!("{}\n\n-- \n{why}\nCape Control, {site}\n", blocks.join("\n\n"))
}

/// No tables, pictures, classes or scripts, for mail programs drop them; and no colours but the button's own pair, for
/// everything else must be readable in the dark too.
fn html(subject: &str, parts: &[Part], why: &str, site: &str) -> String {
    let (title, why, site) = (escaped(subject), escaped(why), escaped(site));
    let body: String = parts.iter().map(block).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"supported-color-schemes\" content=\"light dark\">\n<title>{title}</title>\n</head>\n\
         <body style=\"margin:0;padding:24px;font-family:system-ui,-apple-system,'Segoe UI',Roboto,Arial,sans-serif;\
         font-size:16px;line-height:1.5\">\n<div style=\"max-width:560px;margin:0 auto\">\n\
         <p style=\"margin:0 0 8px;font-weight:600\">Cape Control</p>\n\
         <h1 style=\"margin:0 0 16px;font-size:22px;line-height:1.3\">{title}</h1>\n{body}\
         <hr style=\"margin:24px 0;border:0;border-top:1px solid #8888\">\n\
         <p style=\"margin:0;font-size:13px\">{why}<br>\nCape Control, <a href=\"{site}\">{site}</a></p>\n\
         </div>\n</body>\n</html>\n"
    )
}

fn block(part: &Part) -> String {
    match part {
        Part::Says(words) => format!("<p style=\"margin:0 0 16px\">{}</p>\n", escaped(words)),
        Part::Link { label, url } => {
            let (label, url) = (escaped(label), escaped(url));
            format!(
                "<p style=\"margin:24px 0\"><a href=\"{url}\" style=\"display:inline-block;padding:12px 20px;\
                 border-radius:6px;background:#1a56db;color:#ffffff;text-decoration:none;font-weight:600\">{label}</a>\
                 </p>\n<p style=\"margin:0 0 16px;font-size:13px\">Or copy this address into your browser:<br>\n\
                 <span style=\"word-break:break-all\">{url}</span></p>\n"
            )
        }
        Part::Facts(facts) => {
            let rows: Vec<String> = facts
                .iter()
                .map(|(name, value)| format!("<strong>{}:</strong> {}", escaped(name), escaped(value)))
                .collect();
            format!("<p style=\"margin:0 0 16px\">{}</p>\n", rows.join("<br>\n"))
        }
    }
}

/// Safe between tags and in quoted attributes.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// What somebody typed, as it may stand in a letter to somebody else: one line of at most `chars_max` characters, in
/// which nothing is hidden and of which no mail program makes a link.
#[must_use]
pub fn typed(text: &str, chars_max: usize) -> String {
    let visible: String = text.chars().map(|c| if is_hidden(c) { ' ' } else { c }).collect();
    let words: Vec<&str> = visible.split_whitespace().collect();
    let line = words.join(" ");
    let mut safe = String::with_capacity(line.len());
    for (at, letter) in line.chars().enumerate() {
        if at == chars_max {
            safe.push('…');
            break;
        }
        // `evil.example` and `//evil` become links by themselves; with a space behind the dot they do not.
        let joins = letter.is_alphabetic() && safe.ends_with('.') || letter == '/' && safe.ends_with('/');
        if joins {
            safe.push(' ');
        }
        safe.push(letter);
    }
    safe
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_say_the_same_and_what_is_put_in_is_escaped() {
        let parts = [
            Part::Says("Tea & <b>biscuits</b>".to_owned()),
            Part::Link { label: "Open", url: "https://cape.example/?a=1&b=\"2\"".to_owned() },
            Part::Facts(vec![("From", "<script>".to_owned())]),
        ];
        let letter = letter("A letter", &parts, "Because.", "https://cape.example");
        assert!(
            letter.text.contains(
                "Tea & <b>biscuits</b>\n\nOpen:\nhttps://cape.example/?a=1&b=\"2\"\n\nFrom: <script>"
            )
        );
        assert!(letter.html.contains("Tea &amp; &lt;b&gt;biscuits&lt;/b&gt;"));
        assert!(letter.html.contains("href=\"https://cape.example/?a=1&amp;b=&quot;2&quot;\""));
        assert!(letter.html.contains("<strong>From:</strong> &lt;script&gt;"));
    }

    #[test]
    fn what_people_typed_is_one_short_line_without_links() {
        assert_eq!(typed("  Ada\r\nBcc: eve@example.com ", 80), "Ada Bcc: eve@example. com");
        assert_eq!(typed("see https://evil.example/x", 80), "see https:/ /evil. example/x");
        assert_eq!(typed("A\u{202e}da\u{200b}", 80), "A da");
        assert_eq!(typed("abcdef", 3), "abc…");
    }

    proptest! {
        #[test]
        fn whatever_is_typed_stays_on_its_line_and_between_its_tags(text in "\\PC{0,60}|[\\x00-\\x7f]{0,60}") {
            let typed = typed(&text, 40);
            prop_assert!(typed.chars().count() <= 82);
            prop_assert!(!typed.chars().any(is_hidden));
            let parts = [Part::Says(typed.clone()), Part::Facts(vec![("Name", typed.clone())])];
            let (empty, full) = (
                letter("A", &[Part::Says(String::new()), Part::Facts(vec![("Name", String::new())])], "", ""),
                letter("A", &parts, "", ""),
            );
            // Not one line and not one tag more than without it.
            prop_assert_eq!(full.text.lines().count(), empty.text.lines().count());
            prop_assert_eq!(full.html.matches('<').count(), empty.html.matches('<').count());
            prop_assert_eq!(full.html.matches('"').count(), empty.html.matches('"').count());
        }
    }
}
