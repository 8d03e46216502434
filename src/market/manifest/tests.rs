use proptest::prelude::*;
use serde_json::json;

use super::*;

fn manifest() -> Manifest {
    Manifest {
        schema: 1,
        slug: "data-analyst".into(),
        name: "Data analyst".into(),
        version: "1.2.0".parse().unwrap(),
        description: "Explains figures.".into(),
        categories: vec![Category::Analytics],
        placements: vec!["chat".into()],
        instructions: "Explain figures.".into(),
        greeting: "Which figures?".into(),
        tools: vec![Tool {
            name: "sheet.read".into(),
            description: "Reads a sheet.".into(),
            input_schema: json!({"type": "object", "properties": {"rows": {"type": "integer", "maximum": 100}}}),
            side_effect: SideEffect::Read,
            approval_required: false,
            placements: None,
        }],
        permissions: Permissions {
            scopes: vec!["thread.read".into()],
            egress_hosts: vec!["example.com".into()],
        },
        price: Price::Free,
    }
}

#[test]
fn a_good_manifest_is_valid() {
    assert_eq!(manifest().validate(), Ok(()));
}

#[test]
fn every_wrong_field_is_named_at_once() {
    let mut bad = manifest();
    bad.schema = 2;
    bad.slug = "Data--Analyst".into();
    bad.name = " ".into();
    bad.description = "x".repeat(2_001);
    bad.categories = vec![];
    bad.placements = vec!["chat".into(), "chat".into()];
    bad.instructions = "bell \u{7}".into();
    bad.greeting = String::new();
    bad.tools[0].name = "Sheet read".into();
    bad.tools[0].input_schema = json!({"maximum": 1.5});
    bad.tools[0].side_effect = SideEffect::Write;
    bad.tools[0].placements = Some(vec!["billing".into()]);
    bad.permissions.scopes = vec!["thread..read".into()];
    bad.permissions.egress_hosts = vec!["localhost".into()];
    let violations = bad.validate().unwrap_err();
    let fields: BTreeSet<_> =
        violations.as_slice().iter().map(|violation| violation.field.as_str()).collect();
    let expected = [
        "schema",
        "slug",
        "name",
        "description",
        "categories",
        "placements",
        "instructions",
        "greeting",
        "tools[0].name",
        "tools[0].input_schema",
        "tools[0].approval_required",
        "tools[0].placements",
        "permissions.scopes",
        "permissions.egress_hosts",
    ];
    assert_eq!(fields, expected.into_iter().collect());
}

#[test]
fn a_tool_may_be_kept_to_some_placements() {
    let mut manifest = manifest();
    manifest.placements.push("billing".into());
    let before = manifest.digest();
    assert!(manifest.tools[0].is_used_in("chat") && manifest.tools[0].is_used_in("billing"));
    for (wrong, problems) in [(vec![], 1), (vec!["support"], 1), (vec!["billing", "billing"], 1)] {
        manifest.tools[0].placements = Some(wrong.into_iter().map(str::to_owned).collect());
        assert_eq!(manifest.validate().unwrap_err().as_slice().len(), problems);
    }
    manifest.tools[0].placements = Some(vec!["billing".into()]);
    assert_eq!(manifest.validate(), Ok(()));
    assert!(!manifest.tools[0].is_used_in("chat") && manifest.tools[0].is_used_in("billing"));
    assert_ne!(manifest.digest(), before);
    assert!(!manifest.canonical().contains("\"placements\":null"));
}

#[test]
fn unknown_fields_and_categories_are_refused() {
    let good = serde_json::to_value(manifest()).unwrap();
    for (field, value) in
        [("owner", json!("me")), ("categories", json!(["astrology"])), ("version", json!("1.2"))]
    {
        let mut bad = good.clone();
        bad[field] = value;
        assert!(serde_json::from_value::<Manifest>(bad).is_err(), "{field}");
    }
}

#[test]
fn canonical_json_is_sorted_and_tight() {
    let value = json!({"b": [1, {"z": null, "a": "é\"\n"}], "a": {}, "c": []});
    let mut text = String::new();
    write_canonical(&value, &mut text);
    assert_eq!(text, r#"{"a":{},"b":[1,{"a":"é\"\n","z":null}],"c":[]}"#);
}

#[test]
fn keys_are_sorted_as_utf16() {
    // U+10000 is D800 DC00 in UTF-16 and sorts before U+FF61; in UTF-8 it is the other way round.
    let mut text = String::new();
    write_canonical(&json!({"\u{ff61}": 1, "\u{10000}": 2}), &mut text);
    assert_eq!(text, "{\"\u{10000}\":2,\"\u{ff61}\":1}");
}

#[test]
fn the_digest_follows_the_content_and_nothing_else() {
    let digest = manifest().digest();
    let reread: Manifest = serde_json::from_str(&serde_json::to_string_pretty(&manifest()).unwrap()).unwrap();
    assert_eq!(reread.digest(), digest);
    let mut changed = manifest();
    changed.greeting.push('!');
    assert_ne!(changed.digest(), digest);
}

#[test]
fn versions_have_one_spelling_and_an_order() {
    for good in ["0.0.0", "1.2.3", "10.20.30"] {
        assert_eq!(good.parse::<Version>().unwrap().to_string(), good);
    }
    for bad in
        ["", "1", "1.2", "1.2.3.4", "01.2.3", "1.+2.3", "1.2.x", "1.2.3-beta", "4294967296.0.0", " 1.2.3"]
    {
        assert_eq!(bad.parse::<Version>(), Err(NotAVersion), "{bad}");
    }
    let version = |text: &str| text.parse::<Version>().unwrap();
    assert!(version("1.9.0") < version("1.10.0"));
}

proptest! {
    #[test]
    fn any_text_is_a_version_or_not(text in ".{0,24}") {
        if let Ok(version) = text.parse::<Version>() {
            prop_assert_eq!(version.to_string(), text);
        }
    }

    #[test]
    fn canonical_json_reads_back(keys in prop::collection::btree_map(".{0,6}", ".{0,6}", 0..6)) {
        let value = json!(keys);
        let mut text = String::new();
        write_canonical(&value, &mut text);
        prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
