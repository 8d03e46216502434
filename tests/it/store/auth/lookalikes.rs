//! Addresses that look alike are one account, or none.

use capecontrol::auth::Error;
use capecontrol::auth::model::LinkPurpose;
use capecontrol::base::Fault as _;

use super::{PASSWORD, count, login, nobody, node, options, refused, registration};
use crate::support::{Fixture, on_both};

/// Look like `ada@example.com` to somebody, or to some program.
const FOREIGN: &[&str] = &[
    "аda@example.com",          // a Cyrillic а
    "ada@ехample.com",          // Cyrillic е and х
    "ada@exаmple.com",          // a Cyrillic а behind the @
    "ａｄａ@example.com",       // full width
    "ada＠example.com",         // a full-width @
    "ada@example。com",         // an ideographic full stop
    "ada@example．com",         // a full-width full stop
    "ada@ᴇxample.com",          // a small capital
    "ada\u{200b}@example.com",  // a zero-width space
    "ada\u{202e}@example.com",  // turned direction
    "a\u{301}da@example.com",   // a combining accent
    "áda@example.com",          // the same, composed
    "ada@example.com\u{feff}",  // a byte-order mark
    "ada@example.com.",         // a trailing dot
    "ada.@example.com",         // a dot before the @
    "ada@.example.com",         // a dot behind it
    "\"ada\"@example.com",      // quoted
    "ada@[203.0.113.9]",        // a literal
    "ada(comment)@example.com", // a comment
    "Ada <ada@example.com>",    // with a name
    "ada@example.com,x@example.com",
    "ada@example.com\0",
];

on_both! {
    async fn one_address_is_one_account_however_it_is_written(t: Fixture) {
        let service = node(&t, options()).await;
        for email in ["ada@example.com", "ADA@EXAMPLE.COM", "Ada@Example.Com", "  ada@example.com\t"] {
            service.register(&nobody(), registration(email), None).await.unwrap();
            service.login(&nobody(), login(email, PASSWORD), None).await.unwrap();
        }
        assert_eq!(count(&t, "SELECT CAST(count(*) AS bigint) FROM accounts").await, 1);
        for email in FOREIGN {
            let error = service.register(&nobody(), registration(email), None).await.unwrap_err();
            let fields: Vec<_> = error.violations().iter().map(|wrong| wrong.field.as_str()).collect();
            assert_eq!(fields, ["email"], "{email:?}");
            refused!(service.login(&nobody(), login(email, PASSWORD), None).await, Error::Invalid(_));
            for purpose in [LinkPurpose::VerifyEmail, LinkPurpose::ResetPassword] {
                refused!(service.request_link(&nobody(), purpose, email, None).await, Error::Invalid(_));
            }
        }
        assert_eq!(count(&t, "SELECT CAST(count(*) AS bigint) FROM accounts").await, 1);
    }

    async fn what_only_one_provider_takes_for_the_same_is_another(t: Fixture) {
        let service = node(&t, options()).await;
        let others = ["ada@example.com", "ada+cape@example.com", "a.da@example.com", "ada@xn--exmple-cua.com"];
        for email in others {
            service.register(&nobody(), registration(email), None).await.unwrap();
        }
        assert_eq!(count(&t, "SELECT CAST(count(*) AS bigint) FROM accounts").await, 4);
    }
}
