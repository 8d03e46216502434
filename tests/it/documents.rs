//! Documents as buyers get them: what programs of others read in them, and that they stay the same to the last byte.

pub mod sample;
mod xml;

use std::path::{Path, PathBuf};
use std::process::Command;

use capecontrol::base::{Currency, Timestamp};
use capecontrol::mail::Unattachable;
use capecontrol::payments::document::{self, Document, Form, Kind};
use capecontrol::payments::letter;
use sha2::{Digest as _, Sha256};

use crate::generated::compare;

/// A document in a folder of its own.
struct File {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl File {
    fn of(document: &Document) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(document.file_name());
        std::fs::write(&path, document::render(document).unwrap()).unwrap();
        Self { folder, path }
    }

    /// The text of its pages, as it stands there.
    fn pages(&self) -> Vec<String> {
        let text = tool("pdftotext", &["-layout", "-enc", "UTF-8"], &self.path, &["-"]);
        text.trim_end_matches('\u{c}').split('\u{c}').map(str::to_owned).collect()
    }

    /// All of its text in the order in which it was drawn, with one space between words.
    fn text(&self) -> String {
        let text = tool("pdftotext", &["-raw", "-enc", "UTF-8"], &self.path, &["-"]);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The file inside.
    fn inside(&self) -> (String, String) {
        let list = tool("pdfdetach", &["-list"], &self.path, &[]);
        let name = list.lines().find_map(|line| line.strip_prefix("1: ")).unwrap().to_owned();
        let path = self.folder.path().join("inside");
        let to = path.to_str().unwrap();
        tool("pdfdetach", &["-save", "1", "-o", to], &self.path, &[]);
        (name, std::fs::read_to_string(path).unwrap())
    }
}

/// What a program says about a file.
fn tool(name: &str, before: &[&str], file: &Path, behind: &[&str]) -> String {
    let output = Command::new(name)
        .args(before)
        .arg(file)
        .args(behind)
        .output()
        .unwrap_or_else(|error| panic!("{name} does not run ({error}): `make setup` installs it"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[track_caller]
fn says(text: &str, demanded: &[&str]) {
    for words in demanded {
        assert!(text.contains(words), "{words:?} is missing in:\n{text}");
    }
}

/// Section 20(4) of the Value-Added Tax Act, paragraph by paragraph.
#[test]
fn a_full_tax_invoice_has_what_the_law_demands() {
    let document = sample::full();
    assert_eq!(document.form().unwrap(), Form::Full);
    let text = File::of(&document).text();
    says(&text, &["Tax Invoice"]);
    says(&text, &["Cape Craft Projects CC trading as Cape Control", "12 Long Street", "VAT no. 4270105119"]);
    says(&text, &["Table Bay Traders (Pty) Ltd", "1 Dock Road", "VAT no. 4012345678"]);
    says(&text, &["Number INV-000123", "Date of issue 20 November 2026"]);
    says(&text, &["Enterprise plan, yearly", "20 November 2026 to 20 November 2027", "Quantity", " 1 "]);
    says(
        &text,
        &["Value excluding VAT R 14 947.83", "VAT at 15% R 2 242.17", "Total including VAT R 17 190.00"],
    );
    says(&text, &["Paid -R 17 190.00", "Amount due R 0.00"]);
    says(&text, &["R 17 190.00 paid on 20 November 2026 through PayFast, reference 1089250."]);
    assert!(!text.contains("Abridged") && !text.contains("TEST") && !text.contains("Copy"), "{text}");
}

/// Section 20(5).
#[test]
fn an_abridged_tax_invoice_has_what_the_law_demands() {
    let document = sample::abridged();
    assert_eq!(document.form().unwrap(), Form::Abridged);
    let text = File::of(&document).text();
    says(&text, &["Tax Invoice", "Abridged", "section 20(5)"]);
    says(&text, &["Cape Craft Projects CC", "12 Long Street", "VAT no. 4270105119"]);
    says(&text, &["Number INV-000124", "Date of issue 20 November 2026", "Pro plan, monthly"]);
    says(&text, &["Value excluding VAT R 460.00", "VAT at 15% R 69.00", "Total including VAT R 529.00"]);
    assert!(!text.contains("Bill to"), "{text}");
}

/// Section 21(3)(a).
#[test]
fn a_credit_note_has_what_the_law_demands() {
    let text = File::of(&sample::credit_note()).text();
    says(&text, &["Credit Note", "Cape Craft Projects CC", "12 Long Street", "VAT no. 4270105119"]);
    says(&text, &["Credit to", "Table Bay Traders (Pty) Ltd", "1 Dock Road", "VAT no. 4012345678"]);
    says(&text, &["Number CN-000007", "Date of issue 25 November 2026"]);
    says(&text, &["For invoice INV-000123", "Invoice date 20 November 2026"]);
    says(
        &text,
        &["Reason", "The plan was cancelled within the cooling-off period; eleven months are given back."],
    );
    says(&text, &["Value excluding VAT R 13 702.17", "VAT at 15% R 2 055.33"]);
    says(&text, &["Total credited including VAT R 15 757.50", "Paid back R 15 757.50"]);
    assert!(!text.contains("Tax Invoice") && !text.contains("Amount due"), "{text}");
}

#[test]
fn a_test_says_so_on_every_page_and_is_called_no_tax_invoice() {
    let document = Document { test: true, ..sample::long() };
    for page in File::of(&document).pages() {
        says(&page, &["TEST — NOT A TAX INVOICE"]);
        assert!(!page.contains("Tax Invoice") && page.contains("Test Invoice"), "{page}");
    }
    let note = Document { test: true, ..sample::credit_note() };
    says(&File::of(&note).text(), &["TEST — NOT A TAX INVOICE", "Test Credit Note"]);
}

#[test]
fn a_supplier_without_a_tax_number_writes_a_plain_invoice() {
    let document = sample::plain();
    assert_eq!(document.form().unwrap(), Form::Plain);
    let text = File::of(&document).text();
    says(&text, &["Invoice", "Total R 529.00", "not registered for VAT"]);
    for word in ["Tax Invoice", "4270105119", "including VAT", "incl. VAT", "VAT at"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
}

#[test]
fn a_copy_is_marked() {
    let pages = File::of(&Document { copy: true, ..sample::long() }).pages();
    says(&pages[0], &["Copy"]);
    says(&pages[pages.len() - 1], &["Tax Invoice INV-000123, copy", "This is a copy"]);
}

#[test]
fn two_rates_are_told_apart() {
    let text = File::of(&sample::two_rates()).text();
    says(&text, &["Value at 15%, excluding VAT R 200.00", "VAT at 15% R 30.00"]);
    says(&text, &["Value at 0%, excluding VAT R 300.00", "VAT at 0% R 0.00", "Total including VAT R 530.00"]);
    says(&text, &["Unit price excl. VAT", "Amount due R 530.00", "Due date 20 December 2026"]);
}

#[test]
fn two_hundred_lines_flow_over_pages() {
    let document = sample::long();
    let pages = File::of(&document).pages();
    assert!(pages.len() > 4, "{}", pages.len());
    for (at, page) in pages.iter().enumerate() {
        says(
            page,
            &[&format!("Page {} of {}", at + 1, pages.len()), "Cape Craft Projects CC", "Tax Invoice"],
        );
        assert_eq!(page.contains("Carried forward"), at + 1 < pages.len());
        assert_eq!(page.contains("Brought forward"), at > 0);
    }
    // Every line once, and each page's table has its head.
    let text = pages.join("\n");
    for line in &document.lines {
        let amount = document::amount(line.total_minor, Currency::Zar);
        assert_eq!(text.matches(&format!("{} ", line.description)).count(), 1, "{}", line.description);
        says(&text, &[&amount]);
    }
    assert_eq!(
        text.matches("Description").count(),
        pages.iter().filter(|page| page.contains("Agent run")).count()
    );
    says(&text, &[&document::amount(document.total_minor(), Currency::Zar)]);
}

#[test]
fn whatever_people_are_called_is_drawn_and_can_be_read_back() {
    let text = File::of(&sample::names()).text();
    // Scripts that the font has.
    says(&text, &["Ṱhohoyanḓou Ñandú Söhne — Ελληνικά, Українська", "№ 5, Straße Ø"]);
    // Scripts that it does not have are drawn as signs for that, and stay what they are for whoever copies them.
    says(&text, &["漢字"]);
}

#[test]
fn the_facts_inside_are_those_of_the_document() {
    for (name, document) in sample::all() {
        let (file, text) = File::of(&document).inside();
        assert_eq!(text, document::structured(&document).unwrap(), "{name}");
        let facts = xml::read(&text);
        let one = |path: &str| facts.one(path);
        let root = if file == "credit-note.xml" { "CreditNote" } else { "Invoice" };
        assert_eq!(one(&format!("{root}/cbc:ID")), document.number);
        let minor = |path: &str| -> i64 { one(path).replace('.', "").parse().unwrap() };
        let total = format!("{root}/cac:LegalMonetaryTotal");
        let net: i64 = document.totals.iter().map(|total| total.net_minor).sum();
        assert_eq!(minor(&format!("{total}/cbc:TaxExclusiveAmount")), net, "{name}");
        assert_eq!(minor(&format!("{total}/cbc:TaxInclusiveAmount")), document.total_minor(), "{name}");
        let lines = facts.all(&format!("{root}/cac:{root}Line/cbc:LineExtensionAmount"));
        let sum: i64 = lines.iter().map(|amount| amount.replace('.', "").parse::<i64>().unwrap()).sum();
        assert_eq!((lines.len(), sum), (document.lines.len(), net), "{name}");
        let supplier = "cac:AccountingSupplierParty/cac:Party/cac:PartyLegalEntity/cbc:RegistrationName";
        assert_eq!(one(&format!("{root}/{supplier}")), document.supplier.legal_name, "{name}");
    }
}

#[test]
fn others_find_nothing_wrong_with_the_file() {
    for (name, document) in sample::all() {
        let file = File::of(&document);
        let checked = tool("qpdf", &["--check"], &file.path, &[]);
        assert!(checked.contains("No syntax or stream encoding errors found"), "{name}: {checked}");
        let info = tool("pdfinfo", &[], &file.path, &[]);
        let title = format!("{} {}", document.title().unwrap(), document.number);
        assert!(
            info.lines().any(|line| line.starts_with("Title:") && line.contains(&title)),
            "{name}: {info}"
        );
        says(
            &info.split_whitespace().collect::<Vec<_>>().join(" "),
            &["Tagged: yes", "A4", "JavaScript: no"],
        );
        // Nothing but our own font, all of it inside.
        let fonts = tool("pdffonts", &[], &file.path, &[]);
        assert!(
            fonts.lines().skip(2).all(|line| line.contains("+NotoSans-") && line.contains("yes yes yes")),
            "{fonts}"
        );
    }
}

#[test]
fn a_letter_says_what_its_document_says_and_brings_it() {
    let document = sample::two_rates();
    let pdf = document::render(&document).unwrap();
    let mail = letter::bring("ada@example.com", "https://cape.example", &document, pdf.clone()).unwrap();
    says(&mail.text, &["Invoice: INV-000125", "Total: R 530.00", "Still to pay: R 530.00"]);
    says(&mail.text, &["Due date: 20 December 2026"]);
    let [attached] = mail.attachments.as_slice() else { panic!("{:?}", mail.attachments) };
    assert_eq!((attached.name(), attached.bytes()), ("tax-invoice-INV-000125.pdf", pdf.as_slice()));
    let paid = letter::write("https://cape.example", &sample::full());
    says(&paid.text, &["nothing is left to pay", "Total: R 17 190.00"]);
    assert!(!paid.text.contains("Still to pay") && !paid.text.contains("test"), "{}", paid.text);
    let large = letter::bring("ada@example.com", "https://cape.example", &document, vec![0; 3 << 20]);
    assert_eq!(large.unwrap_err(), Unattachable::Bytes);
}

#[test]
fn what_was_typed_writes_no_letter_and_no_path() {
    let mut note = sample::credit_note();
    note.number = "../../CN 7\r\nBcc: eve@example.com".to_owned();
    let Kind::CreditNote(corrected) = &mut note.kind else { panic!() };
    corrected.reason = "see https://evil.example/ <b>now</b>".to_owned();
    let mail = letter::bring("ada@example.com", "https://cape.example", &note, b"%PDF".to_vec()).unwrap();
    assert_eq!(mail.attachments[0].name(), "credit-note-______CN_7__Bcc__eve_example_com.pdf");
    says(&mail.text, &["Reason: see https:/ /evil. example/ <b>now</b>"]);
    assert!(!mail.html.contains("<b>now") && !mail.html.contains("https://evil"), "{}", mail.html);
}

/// A document that was handed out can be made again, also by a later version. Whoever changes how documents look gets
/// new digests from `make gen`, and looks at the pages before committing them.
#[test]
fn digests_of_documents_are_as_generated() {
    let digests: String = sample::all()
        .into_iter()
        .map(|(name, document)| {
            let digest = Sha256::digest(document::render(&document).unwrap());
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{digest}  {name}\n")
        })
        .collect();
    compare("tests/it/documents/digests.txt", &digests);
}

/// The moment of the samples: noon in South Africa.
const ISSUED: Timestamp = Timestamp::from_seconds(1_795_168_800);
