//! The ledger as people read it: one transaction for each movement of money and each document, with its amounts.
//!
//! Amounts are sums over the transaction's entries and nothing else, so that what is listed, exported and reported is
//! what the ledger says.

use super::ledger::{Account, Kind};
use super::{InvoiceId, PaymentId, Provider, TransactionId};
use crate::base::csv::{self, Cell};
use crate::base::{Currency, Money, OrganizationId, Timestamp};

/// What an organisation sees of its own: everything by which what it owes and what it paid changes, so that its
/// transactions add up.
pub const CUSTOMER_KINDS: [Kind; 7] = [
    Kind::InvoiceIssued,
    Kind::Settlement,
    Kind::UnappliedReceipt,
    Kind::CreditNote,
    Kind::WriteOff,
    Kind::Refund,
    Kind::Chargeback,
];
/// What only the platform sees: what it pays to providers, and what providers pay out to it.
pub const PLATFORM_KINDS: [Kind; 2] = [Kind::ProviderCharge, Kind::BankPayout];

/// The columns of an export. Their order never changes; new ones come last.
const COLUMNS: [&str; 17] = [
    "id",
    "time",
    "kind",
    "organization_id",
    "payment_id",
    "invoice_id",
    "invoice_number",
    "provider",
    "provider_payment_id",
    "currency",
    "gross",
    "fee",
    "net",
    "tax",
    "revenue",
    "memo",
    "test",
];

/// What a transaction of the ledger is about.
#[derive(Clone, Debug, PartialEq, Eq, crate::db::Row)]
pub struct About {
    /// Its id.
    pub id: TransactionId,
    /// Whom it concerns, when known.
    pub organization_id: Option<OrganizationId>,
    /// What it records.
    pub kind: Kind,
    /// The payment, when known.
    pub payment_id: Option<PaymentId>,
    /// The invoice, when it is about one.
    pub invoice_id: Option<InvoiceId>,
    /// The invoice's number.
    pub invoice_number: Option<String>,
    /// The provider, when one had to do with it.
    pub provider: Option<Provider>,
    /// The provider's id of the payment.
    pub provider_payment_id: Option<String>,
    /// One line for people.
    pub memo: String,
    /// True when no real money moves.
    pub test: bool,
    /// When it was booked.
    pub created_at: Timestamp,
}

/// A transaction of the ledger with its amounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// What it is about.
    pub about: About,
    /// Its currency.
    pub currency: Currency,
    /// Its amounts.
    pub amounts: Amounts,
}

/// What moved, in minor units. Negative where money or sales were taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// What the payer paid or got back, or the total of the document, tax included.
    pub gross: i64,
    /// What the provider charged.
    pub fee: i64,
    /// The tax that became due.
    pub tax: i64,
    /// What was sold, without tax.
    pub revenue: i64,
}

impl Amounts {
    /// What is left of the gross when the provider has taken its fee.
    #[must_use]
    pub const fn net(&self) -> i64 {
        self.gross.saturating_sub(self.fee)
    }
}

/// The amounts of entries of one kind in one currency: of one transaction, or of any number of them together. Debits
/// are positive, as everywhere in the ledger.
#[must_use]
pub fn amounts(kind: Kind, entries: impl IntoIterator<Item = (Account, i64)>) -> Amounts {
    let mut sums = Sums::default();
    for (account, minor) in entries {
        sums.add(account, i128::from(minor));
    }
    let revenue = -sums.sold;
    let tax = -sums.tax;
    let gross = match kind {
        // Documents: no money moves.
        Kind::InvoiceIssued | Kind::CreditNote => revenue + tax,
        Kind::WriteOff => revenue + tax - sums.lost,
        // What PayFast has less; what the bank has more is the other side of it.
        Kind::BankPayout => sums.clearing + sums.fees,
        Kind::Settlement
        | Kind::UnappliedReceipt
        | Kind::Refund
        | Kind::Chargeback
        | Kind::ProviderCharge => sums.clearing + sums.bank + sums.fees,
    };
    Amounts { gross: minor(gross), fee: minor(sums.fees), tax: minor(tax), revenue: minor(revenue) }
}

/// Balances of the accounts that amounts are made of.
#[derive(Default)]
struct Sums {
    clearing: i128,
    bank: i128,
    fees: i128,
    sold: i128,
    tax: i128,
    lost: i128,
}

impl Sums {
    fn add(&mut self, account: Account, amount: i128) {
        let sum = match account {
            Account::PayfastClearing => &mut self.clearing,
            Account::Bank => &mut self.bank,
            Account::ProviderFees => &mut self.fees,
            Account::Revenue | Account::DeferredRevenue | Account::Refunds => &mut self.sold,
            Account::VatOutput => &mut self.tax,
            Account::BadDebts => &mut self.lost,
            // The other sides.
            Account::Receivable
            | Account::CustomerCredit
            | Account::UnappliedReceipts
            | Account::Chargebacks
            | Account::DeveloperPayables
            | Account::Payouts => return,
        };
        *sum += amount;
    }
}

fn minor(amount: i128) -> i64 {
    i64::try_from(amount).unwrap_or(if amount < 0 { i64::MIN } else { i64::MAX })
}

impl Transaction {
    /// A transaction of these entries, each with its account, currency and amount; none when there are no entries. One
    /// is in one currency, that of its first entry.
    #[must_use]
    pub fn of(about: About, entries: &[(Account, Currency, i64)]) -> Option<Self> {
        let (_, currency, _) = *entries.first()?;
        let own = entries.iter().filter(|entry| entry.1 == currency);
        let amounts = amounts(about.kind, own.map(|(account, _, minor)| (*account, *minor)));
        Some(Self { about, currency, amounts })
    }

    /// Whether its gross lies between these bounds, in whose currency it must be.
    #[must_use]
    pub fn lies_between(&self, least: Option<Money>, most: Option<Money>) -> bool {
        let within = |bound: Option<Money>, holds: fn(i64, i64) -> bool| {
            bound
                .is_none_or(|bound| bound.currency == self.currency && holds(self.amounts.gross, bound.minor))
        };
        within(least, |gross, bound| gross >= bound) && within(most, |gross, bound| gross <= bound)
    }
}

/// Writes the header row of an export.
pub fn push_header(table: &mut String) {
    csv::push_row(table, COLUMNS.map(Cell::Text));
}

/// Writes the row of a transaction.
pub fn push_row(table: &mut String, transaction: &Transaction) {
    let Transaction { about, currency, amounts } = transaction;
    let [id, organization, payment, invoice] = [
        Some(about.id.to_string()),
        about.organization_id.map(|id| id.to_string()),
        about.payment_id.map(|id| id.to_string()),
        about.invoice_id.map(|id| id.to_string()),
    ]
    .map(Option::unwrap_or_default);
    let amount = |minor| Cell::Amount(Money::new(minor, *currency));
    let cells: [Cell<'_>; COLUMNS.len()] = [
        Cell::Text(&id),
        Cell::Time(about.created_at),
        Cell::Text(about.kind.as_str()),
        Cell::Text(&organization),
        Cell::Text(&payment),
        Cell::Text(&invoice),
        Cell::Text(about.invoice_number.as_deref().unwrap_or_default()),
        Cell::Text(about.provider.map_or("", Provider::as_str)),
        Cell::Text(about.provider_payment_id.as_deref().unwrap_or_default()),
        Cell::Text(currency.code()),
        amount(amounts.gross),
        amount(amounts.fee),
        amount(amounts.net()),
        amount(amounts.tax),
        amount(amounts.revenue),
        Cell::Text(&about.memo),
        Cell::Flag(about.test),
    ];
    csv::push_row(table, cells);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payments::model::ledger::{self, Balanced};
    use proptest::prelude::*;

    fn rand(minor: i64) -> Money {
        Money::new(minor, Currency::Zar)
    }

    fn of(kind: Kind, entries: &[(Account, i64)]) -> (i64, i64, i64, i64, i64) {
        let found = amounts(kind, entries.iter().copied());
        (found.gross, found.fee, found.net(), found.tax, found.revenue)
    }

    fn booked(kind: Kind, books: &Balanced) -> (i64, i64, i64, i64, i64) {
        let entries: Vec<_> =
            books.entries().iter().map(|entry| (entry.account, entry.amount.minor)).collect();
        of(kind, &entries)
    }

    #[test]
    fn each_kind_has_its_amounts() {
        use Account::{
            BadDebts, Bank, Chargebacks, PayfastClearing, ProviderFees, Receivable, Refunds,
            UnappliedReceipts, VatOutput,
        };
        let issued = ledger::invoice_issued(rand(52_900), rand(6_900)).unwrap();
        assert_eq!(booked(Kind::InvoiceIssued, &issued), (52_900, 0, 52_900, 6_900, 46_000));
        let paid = ledger::settlement(rand(52_900), rand(1_217)).unwrap();
        assert_eq!(booked(Kind::Settlement, &paid), (52_900, 1_217, 51_683, 0, 0));
        let held = ledger::unapplied_receipt(rand(500), rand(20)).unwrap();
        assert_eq!(booked(Kind::UnappliedReceipt, &held), (500, 20, 480, 0, 0));
        let credited = [(Refunds, 10_000), (VatOutput, 1_500), (Receivable, -11_500)];
        assert_eq!(of(Kind::CreditNote, &credited), (-11_500, 0, -11_500, -1_500, -10_000));
        let lost = [(BadDebts, 46_000), (VatOutput, 6_900), (Receivable, -52_900)];
        assert_eq!(of(Kind::WriteOff, &lost), (-52_900, 0, -52_900, -6_900, 0));
        let back = [(UnappliedReceipts, 500), (PayfastClearing, -520), (ProviderFees, 20)];
        assert_eq!(of(Kind::Refund, &back), (-500, 20, -520, 0, 0));
        let taken = [(Chargebacks, 500), (ProviderFees, 150), (PayfastClearing, -650)];
        assert_eq!(of(Kind::Chargeback, &taken), (-500, 150, -650, 0, 0));
        // Money that came before is counted where it came.
        let found = ledger::unapplied_settlement(rand(500)).unwrap();
        assert_eq!(booked(Kind::Settlement, &found), (0, 0, 0, 0, 0));
        let kept = ledger::refund_to_credit(rand(500)).unwrap();
        assert_eq!(booked(Kind::Refund, &kept), (0, 0, 0, 0, 0));
        let charged = [(ProviderFees, 30), (PayfastClearing, -30)];
        assert_eq!(of(Kind::ProviderCharge, &charged), (0, 30, -30, 0, 0));
        let paid_out = [(Bank, 970), (ProviderFees, 30), (PayfastClearing, -1_000)];
        assert_eq!(of(Kind::BankPayout, &paid_out), (-970, 30, -1_000, 0, 0));
    }

    #[test]
    fn every_kind_is_somebodys() {
        let words: std::collections::BTreeSet<_> =
            CUSTOMER_KINDS.iter().chain(&PLATFORM_KINDS).map(|kind| kind.as_str()).collect();
        assert_eq!(words.len(), CUSTOMER_KINDS.len() + PLATFORM_KINDS.len());
        for word in words {
            assert!(Kind::parse(word).is_some());
        }
    }

    #[test]
    fn the_table_is_as_the_page_says() {
        let about = About {
            id: TransactionId::from_uuid(uuid::Uuid::from_u128(1)),
            organization_id: None,
            kind: Kind::Refund,
            payment_id: Some(PaymentId::from_uuid(uuid::Uuid::from_u128(2))),
            invoice_id: None,
            invoice_number: Some("=TEST-000001".to_owned()),
            provider: Some(Provider::Payfast),
            provider_payment_id: Some("+1089250".to_owned()),
            memo: "given back, \"all\" of it".to_owned(),
            test: true,
            created_at: Timestamp::from_seconds(1_795_168_800),
        };
        let entries = [
            (Account::UnappliedReceipts, Currency::Zar, 500),
            (Account::PayfastClearing, Currency::Zar, -500),
        ];
        let transaction = Transaction::of(about, &entries).unwrap();
        let mut table = String::new();
        push_header(&mut table);
        push_row(&mut table, &transaction);
        assert_eq!(
            table,
            "id,time,kind,organization_id,payment_id,invoice_id,invoice_number,provider,provider_payment_id,currency,\
             gross,fee,net,tax,revenue,memo,test\r\n\
             00000000-0000-0000-0000-000000000001,2026-11-20T10:00:00Z,refund,,\
             00000000-0000-0000-0000-000000000002,,'=TEST-000001,payfast,'+1089250,ZAR,\
             -5.00,0.00,-5.00,0.00,0.00,\"given back, \"\"all\"\" of it\",true\r\n"
        );
    }

    #[test]
    fn bounds_are_in_a_currency() {
        let about = About {
            id: TransactionId::from_uuid(uuid::Uuid::from_u128(1)),
            organization_id: None,
            kind: Kind::Settlement,
            payment_id: None,
            invoice_id: None,
            invoice_number: None,
            provider: None,
            provider_payment_id: None,
            memo: String::new(),
            test: false,
            created_at: Timestamp::from_seconds(0),
        };
        let entries =
            [(Account::PayfastClearing, Currency::Zar, 500), (Account::Receivable, Currency::Zar, -500)];
        let paid = Transaction::of(about, &entries).unwrap();
        assert!(paid.lies_between(None, None) && paid.lies_between(Some(rand(500)), Some(rand(500))));
        assert!(!paid.lies_between(Some(rand(501)), None) && !paid.lies_between(None, Some(rand(499))));
        assert!(!paid.lies_between(Some(Money::new(1, Currency::Usd)), None));
    }

    proptest! {
        #[test]
        fn amounts_of_many_are_the_sums_of_theirs(
            paid in prop::collection::vec((1_i64..100_000_000, 0_i64..1_000_000), 0..20),
        ) {
            let books: Vec<_> = paid
                .iter()
                .map(|(gross, fee)| ledger::settlement(rand(*gross), rand(*fee.min(gross))).unwrap())
                .collect();
            let entries = books.iter().flat_map(Balanced::entries).map(|entry| (entry.account, entry.amount.minor));
            let together = amounts(Kind::Settlement, entries);
            prop_assert_eq!(together.gross, paid.iter().map(|(gross, _)| gross).sum::<i64>());
            prop_assert_eq!(together.fee, paid.iter().map(|(gross, fee)| fee.min(gross)).sum::<i64>());
        }
    }
}
