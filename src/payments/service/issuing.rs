//! Issuing an invoice: from then on it is owed, and it has its number.

use crate::base::Money;
use crate::db::{self, Tx};
use crate::payments::Error;
use crate::payments::model::ledger::{self, Kind};
use crate::payments::model::{BillingProfile, Invoice};
use crate::payments::store;
use crate::payments::store::ledger::Head;

use super::Service;
use super::documents::Subject;

impl Service {
    /// Issues an invoice: copies who is invoiced, books that it is owed, has it mailed, and gives it its number, last.
    /// The invoice is written by who asks.
    pub(super) async fn issue(
        &self,
        tx: &mut Tx,
        invoice: &mut Invoice,
        profile: &BillingProfile,
    ) -> Result<(), Error> {
        // A profile that was emptied since takes nothing off a document that must name its recipient.
        if !invoice.requires_recipient() || profile.names_recipient() {
            invoice.customer_name.clone_from(&profile.name);
            invoice.customer_vat_number.clone_from(&profile.vat_number);
            invoice.customer_address.clone_from(&profile.address);
        }
        let money = |minor| Money::new(minor, invoice.currency);
        let books = ledger::invoice_issued(money(invoice.total_minor), money(invoice.tax_minor));
        let head = Head {
            id: self.world.id(),
            organization_id: Some(invoice.organization_id),
            kind: Kind::InvoiceIssued,
            payment_id: None,
            invoice_id: Some(invoice.id),
            event_id: None,
            memo: "an invoice was issued".to_owned(),
            at: self.world.now(),
        };
        store::ledger::post(tx, &head, &books.map_err(Error::internal)?).await?;
        if !profile.email.is_empty() {
            self.send(tx, invoice.organization_id, Subject::Invoice(invoice.id)).await?;
        }
        invoice.number = Some(self.number(tx, invoice).await?);
        invoice.issued_at = Some(self.world.now());
        Ok(())
    }

    /// The next number of the supplier's series. Documents of tests have a series of their own, so that they never
    /// take a number from a real one.
    async fn number(&self, tx: &mut Tx, invoice: &Invoice) -> Result<String, db::Error> {
        let series = if invoice.test { "TEST" } else { "INV" };
        let number = store::invoice::take_number(tx, &invoice.supplier_legal_name, series).await?;
        Ok(format!("{series}-{number:06}"))
    }
}
