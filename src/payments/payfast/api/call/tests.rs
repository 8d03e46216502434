use proptest::prelude::*;
use time::macros::date;

use super::*;
use crate::base::{Currency, Secret, Timestamp};
use crate::payments::payfast::api::signature;
use crate::payments::payfast::encode::md5_hex;

const TOKEN: &str = "dc0521d3-55fe-269b-fa00-b647310d760f";
const PASSPHRASE: &str = "kept/for_the-signature";
const AT: Timestamp = Timestamp::from_seconds(1_795_168_800);

fn account(sandbox: bool) -> Account {
    Account { merchant_id: "10000100".to_owned(), passphrase: Secret::new(PASSPHRASE.to_owned()), sandbox }
}

fn rand(minor: i64) -> Money {
    Money::new(minor, Currency::Zar)
}

fn charge<'a>(amount: Money, item_name: &'a str) -> Charge<'a> {
    Charge { amount, item_name, item_description: "", reference: "attempt_1/a-b", notify: false }
}

fn payout() -> Payout {
    Payout {
        holder: "Mr Smith".to_owned(),
        bank: "FNB".to_owned(),
        branch_code: "250655".to_owned(),
        account_number: "100000000123".to_owned(),
        kind: BankAccountKind::Current,
    }
}

fn refund(payout: Option<&Payout>) -> Refund<'_> {
    Refund { amount: rand(1_000), reason: "Out of stock", notify_buyer: true, notify_merchant: false, payout }
}

/// One of each, and some in more than one way.
fn every() -> Vec<Call> {
    let update = Update {
        cycles: Some(0),
        frequency: Some(Frequency::Monthly),
        run_date: Some(date!(2027 - 01 - 31)),
        amount: Some(rand(52_900)),
    };
    let range = Period::Range { from: date!(2026 - 11 - 01), to: date!(2026 - 11 - 20) };
    let page = Page { offset: 1_000, limit: 500 };
    vec![
        Call::ping(),
        Call::fetch(TOKEN).unwrap(),
        Call::pause(TOKEN, 2).unwrap(),
        Call::unpause(TOKEN).unwrap(),
        Call::cancel(TOKEN).unwrap(),
        Call::update(TOKEN, &update).unwrap(),
        Call::charge(TOKEN, &charge(rand(52_900), "CapeControl Pro")).unwrap(),
        Call::query("1089250").unwrap(),
        Call::query(TOKEN).unwrap(),
        Call::refund_terms("1089250").unwrap(),
        Call::refund("1089250", &refund(None)).unwrap(),
        Call::refund("1089250", &refund(Some(&payout()))).unwrap(),
        Call::refunds("1089250").unwrap(),
        Call::history(range, page).unwrap(),
        Call::history(Period::Day(date!(2026 - 11 - 20)), Page::default()).unwrap(),
        Call::history(Period::Week(date!(2026 - 11 - 16)), Page::default()).unwrap(),
        Call::history(Period::Month(date!(2026 - 11 - 20)), Page::default()).unwrap(),
    ]
}

fn header(request: &Request, name: &str) -> Option<String> {
    request.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
}

#[test]
fn each_thing_is_asked_where_payfast_answers_it() {
    let targets: Vec<String> = every()
        .iter()
        .map(|call| {
            let request = call.request(&account(false), AT);
            format!("{} {} {}", request.method.as_str(), request.target.replace(TOKEN, "T"), request.body)
        })
        .collect();
    let expected = [
        "GET /ping ",
        "GET /subscriptions/T/fetch ",
        r#"PUT /subscriptions/T/pause {"cycles":2}"#,
        "PUT /subscriptions/T/unpause ",
        "PUT /subscriptions/T/cancel ",
        r#"PATCH /subscriptions/T/update {"amount":52900,"cycles":0,"frequency":3,"run_date":"2027-01-31"}"#,
        r#"POST /subscriptions/T/adhoc {"amount":52900,"item_name":"CapeControl Pro","itn":0,"m_payment_id":"attempt_1/a-b"}"#,
        "GET /process/query/1089250 ",
        "GET /process/query/T ",
        "GET /refunds/query/1089250 ",
        r#"POST /refunds/1089250 {"amount":1000,"notify_buyer":1,"notify_merchant":0,"reason":"Out of stock"}"#,
        concat!(
            r#"POST /refunds/1089250 {"amount":1000,"bank_account_holder":"Mr Smith","#,
            r#""bank_account_number":"100000000123","bank_account_type":"current","bank_branch_code":"250655","#,
            r#""bank_name":"FNB","notify_buyer":1,"notify_merchant":0,"reason":"Out of stock"}"#
        ),
        "GET /refunds/1089250 ",
        "GET /transactions/history?from=2026-11-01&to=2026-11-20&limit=500&offset=1000 ",
        "GET /transactions/history/daily?date=2026-11-20&limit=1000 ",
        "GET /transactions/history/weekly?date=2026-11-16&limit=1000 ",
        "GET /transactions/history/monthly?date=2026-11&limit=1000 ",
    ];
    assert_eq!(targets, expected);
}

#[test]
fn the_passphrase_leaves_in_no_call_and_a_card_in_none() {
    for call in every() {
        for sandbox in [false, true] {
            let Request { target, headers, body, .. } = call.request(&account(sandbox), AT);
            let headers =
                headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect::<String>();
            let left = format!("{target}\n{headers}\n{body}").to_lowercase();
            let encoded = crate::payments::payfast::encode::encode(PASSPHRASE.as_bytes()).to_lowercase();
            for hidden in [PASSPHRASE, encoded.as_str(), "passphrase", "cvv", "card", "cc_"] {
                assert!(!left.contains(hidden), "{hidden} in {left}");
            }
            let written = format!("{:?} {}", call, call.parameters()).to_lowercase();
            assert!(!written.contains(PASSPHRASE) && !written.contains("100000000123"), "{written}");
        }
    }
}

#[test]
fn what_is_signed_is_what_is_sent_and_the_sandbox_switch_is_not() {
    for call in every() {
        let (live, sandbox) = (call.request(&account(false), AT), call.request(&account(true), AT));
        let switched = if live.target.contains('?') { "&testing=true" } else { "?testing=true" };
        assert_eq!(sandbox.target, format!("{}{switched}", live.target));
        assert_eq!(header(&sandbox, "signature"), header(&live, "signature"));
        // Put together again from what leaves.
        let mut parameters: std::collections::BTreeMap<String, String> =
            ["merchant-id", "version", "timestamp"]
                .iter()
                .map(|name| ((*name).to_owned(), header(&live, name).unwrap()))
                .collect();
        let query = live.target.split_once('?').map_or("", |(_, query)| query);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap();
            parameters.insert(name.to_owned(), value.to_owned());
        }
        if !live.body.is_empty() {
            let body: Map<String, Value> = serde_json::from_str(&live.body).unwrap();
            parameters.extend(body.into_iter().map(|(name, value)| match value {
                Value::String(text) => (name, text),
                other => (name, other.to_string()),
            }));
        }
        assert!(parameters.values().all(|value| !value.is_empty()), "{parameters:?}");
        assert_eq!(header(&live, "signature").unwrap(), signature(&parameters, Some(PASSPHRASE)));
    }
}

#[test]
fn the_signature_of_a_charge_is_this_text() {
    let request = Call::charge(TOKEN, &charge(rand(52_900), "Pro ~ *")).unwrap().request(&account(false), AT);
    let text = "amount=52900&item_name=Pro+%7E+%2A&itn=0&m_payment_id=attempt_1%2Fa-b&merchant-id=10000100\
                &passphrase=kept%2Ffor_the-signature&timestamp=2026-11-20T12%3A00%3A00%2B02%3A00&version=v1";
    assert_eq!(header(&request, "signature").unwrap(), md5_hex(text));
}

#[test]
fn what_has_no_body_says_so_and_what_has_one_says_what() {
    for call in every() {
        let request = call.request(&account(false), AT);
        let (length, kind) = (header(&request, "content-length"), header(&request, "content-type"));
        match (request.method, request.body.is_empty()) {
            (Method::Get, _) => assert_eq!((length, kind), (None, None)),
            (_, true) => assert_eq!((length.as_deref(), kind), (Some("0"), None)),
            (_, false) => assert_eq!((length, kind.as_deref()), (None, Some("application/json"))),
        }
    }
}

#[test]
fn what_is_written_down_hides_the_bank_account() {
    let call = Call::refund("1089250", &refund(Some(&payout()))).unwrap();
    let told = call.parameters();
    assert_eq!((&told["bank_account_number"], &told["amount"]), (&json!("*********123"), &json!(1_000)));
    assert_eq!((call.endpoint(), call.subject()), (Endpoint::Refund, "1089250"));
    assert!(!format!("{:?}", payout()).contains("Smith"));
}

fn fields(refused: Result<Call, Violations>) -> Vec<String> {
    refused.unwrap_err().as_slice().iter().map(|wrong| wrong.field.clone()).collect()
}

#[test]
fn what_payfast_would_not_take_is_refused_before_it_is_sent() {
    for wrong in ["", "short", "../../../../../../../../../../../..", "dc0521d3-55fe-269b-fa00-b647310d760f0"]
    {
        assert_eq!(fields(Call::fetch(wrong)), ["token"], "{wrong}");
    }
    for wrong in ["", "1/2", "1?a=b", "1 2", "é", &"1".repeat(37)] {
        assert_eq!(fields(Call::query(wrong)), ["pf_payment_id"], "{wrong}");
    }
    assert_eq!(fields(Call::pause(TOKEN, 0)), ["cycles"]);
    assert_eq!(fields(Call::update(TOKEN, &Update::default())), ["update"]);
    let dollars = Charge {
        amount: Money::new(499, Currency::Usd),
        item_name: "0",
        item_description: "a\nb",
        reference: "a b",
        notify: true,
    };
    let expected = ["amount", "amount", "item_name", "item_description", "m_payment_id"];
    assert_eq!(fields(Call::charge(TOKEN, &dollars)), expected);
    assert_eq!(fields(Call::charge(TOKEN, &charge(rand(500), &"é".repeat(101)))), ["item_name"]);
    assert!(Call::charge(TOKEN, &charge(rand(500), &"é".repeat(100))).is_ok());
    let mut wrong = payout();
    (wrong.account_number, wrong.branch_code) = ("12a".to_owned(), "1234567".to_owned());
    let refused = Refund { reason: "no", ..refund(Some(&wrong)) };
    assert_eq!(fields(Call::refund("1", &refused)), ["reason", "bank_branch_code", "bank_account_number"]);
    let backwards = Period::Range { from: date!(2026 - 11 - 02), to: date!(2026 - 11 - 01) };
    assert_eq!(fields(Call::history(backwards, Page { offset: 0, limit: 1_001 })), ["to", "limit"]);
}

#[test]
fn frequencies_are_payfasts_numbers() {
    for code in 1..=6 {
        assert_eq!(Frequency::read(code).unwrap().code(), code);
    }
    assert_eq!((Frequency::read(0), Frequency::read(7)), (None, None));
}

proptest! {
    #[test]
    fn a_charge_says_what_it_was_given(minor in 500_i64..1_000_000_000, name in "[a-zA-Z][a-zA-Zéß~ ]{0,40}[a-z]") {
        let call = Call::charge(TOKEN, &charge(rand(minor), &name)).unwrap();
        let body: Value = serde_json::from_str(&call.request(&account(true), AT).body).unwrap();
        prop_assert_eq!(&body["amount"], &json!(minor));
        prop_assert_eq!(&body["item_name"], &json!(name));
    }

    #[test]
    fn whatever_is_given_is_a_call_or_a_list_of_what_is_wrong(text in "\\PC{0,60}", minor in any::<i64>()) {
        let given = Charge { item_description: &text, reference: &text, ..charge(rand(minor), &text) };
        if let Ok(call) = Call::charge(TOKEN, &given) {
            let request = call.request(&account(false), AT);
            prop_assert!(request.target.bytes().all(|byte| byte.is_ascii_graphic()));
        }
        prop_assert!(Call::fetch(&text).is_err());
    }
}
