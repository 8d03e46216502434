//! The simulator's pages: plain HTML, everything escaped, everything marked as a test.

use std::fmt::Write as _;

use crate::base::{Currency, Money};

use super::{Order, Rejection};

/// The field that says which button was pressed.
pub const ACTION: &str = "simulator_action";
/// The value of [`ACTION`] that turns back.
pub const CANCEL: &str = "cancel";
/// The field that says how many times the notification is delivered.
pub const DELIVERIES: &str = "simulator_deliveries";
/// The field that says how many seconds late the notification is.
pub const DELAY: &str = "simulator_delay_seconds";
/// The field that says what the notification tells.
pub const STATUS: &str = "simulator_status";

const STATUSES: [&str; 4] = ["COMPLETE", "CANCELLED", "FAILED", "PENDING"];

/// The page on which the buyer pays or cancels. `action` is where its form is posted to.
#[must_use]
pub fn checkout(order: &Order, action: &str) -> String {
    let field = |name: &str| escape(order.fields.get(name).map_or("", String::as_str));
    let amount = Money::new(order.amount_minor, Currency::Zar);
    let mut hidden = String::new();
    for (name, value) in &order.fields {
        // Writing to a string cannot fail.
        let _ =
            writeln!(hidden, r#"<input type="hidden" name="{}" value="{}">"#, escape(name), escape(value));
    }
    let statuses = format!("<option>{}</option>", STATUSES.join("</option><option>"));
    let body = format!(
        r#"<h1>{item}</h1>
<p>{description}</p>
<p class="amount">{amount}</p>
<form method="post" action="{action}">
{hidden}<p><button name="{ACTION}" value="pay">Pay</button>
<button name="{ACTION}" value="{CANCEL}">Cancel</button></p>
<fieldset><legend>What the notification does</legend>
<label>says <select name="{STATUS}">{statuses}</select></label>
<label>is delivered <input name="{DELIVERIES}" type="number" min="1" max="10" value="1"> times</label>
<label>comes <input name="{DELAY}" type="number" min="0" max="86400" value="0"> seconds late</label>
</fieldset>
</form>"#,
        item = field("item_name"),
        description = field("item_description"),
        action = escape(action),
    );
    document("Payment", &body)
}

/// The page that says why a form is not taken.
#[must_use]
pub fn rejection(rejection: &Rejection) -> String {
    document("Not taken", &format!("<h1>400 Bad Request</h1>\n<p>{}</p>", escape(&rejection.to_string())))
}

fn document(title: &str, body: &str) -> String {
    format!(
        r#"<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>TEST: {title}</title></head>
<body>
<p><strong>TEST</strong>: this is CapeControl's built-in PayFast simulator. No money moves.</p>
{body}
</body>
</html>
"#
    )
}

/// Makes text safe inside HTML, attribute values included.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_the_page() {
        assert_eq!(escape(r#"<a href='x' title="&">"#), "&lt;a href=&#39;x&#39; title=&quot;&amp;&quot;&gt;");
    }
}
