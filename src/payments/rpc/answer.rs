//! What this domain knows, in the words of the wire.

use crate::base::{Money, Timestamp};
use crate::chain::Head;
use crate::payments::model::period::Cycle;
use crate::payments::model::refund::Refunded;
use crate::payments::model::{
    BillingProfile, Checkout, FormField, InvoiceLine, InvoiceStatus, Payment, PaymentStatus, Plan,
    SubscriptionStatus,
};
use crate::payments::service::{CurrentSubscription, FaultKind, InvoiceWithLines, Report};
use crate::proto::capecontrol::payments::v1 as wire;
use crate::rpc::encode;

pub(super) fn checkout(checkout: Checkout) -> wire::CreateCheckoutResponse {
    wire::CreateCheckoutResponse {
        payment_id: checkout.payment_id.to_string(),
        invoice_id: checkout.invoice_id.to_string(),
        action_url: checkout.action_url,
        fields: form(checkout.fields),
    }
}

pub(super) fn form(fields: Vec<FormField>) -> Vec<wire::FormField> {
    let field = |field: FormField| wire::FormField { name: field.name, value: field.value };
    fields.into_iter().map(field).collect()
}

pub(super) fn payment(payment: Payment, refunded: Refunded) -> wire::Payment {
    let money = |minor| encode::money(Money::new(minor, payment.currency));
    wire::Payment {
        id: payment.id.to_string(),
        organization_id: payment.organization_id.to_string(),
        invoice_id: payment.invoice_id.to_string(),
        status: payment_status(payment.status).into(),
        amount: Some(money(payment.amount_minor)),
        fee: payment.fee_minor.map(money),
        provider: payment.provider.as_str().to_owned(),
        provider_payment_id: payment.provider_payment_id.unwrap_or_default(),
        plan_id: payment.plan_id.unwrap_or_default(),
        billing_cycle: optional_cycle(payment.billing_cycle).into(),
        test: payment.test,
        create_time: Some(encode::timestamp(payment.created_at)),
        update_time: Some(encode::timestamp(payment.updated_at)),
        settle_time: payment.settled_at.map(encode::timestamp),
        refunded: Some(money(refunded.done_minor)),
        refund_pending: Some(money(refunded.pending_minor)),
        chargebacks: Vec::new(),
    }
}

pub(super) fn profile(profile: BillingProfile) -> wire::BillingProfile {
    let said = profile.version > 0;
    wire::BillingProfile {
        organization_id: profile.organization_id.to_string(),
        name: profile.name,
        email: profile.email,
        vat_number: profile.vat_number,
        address: profile.address,
        country: profile.country,
        etag: profile.version.to_string(),
        update_time: said.then(|| encode::timestamp(profile.updated_at)),
    }
}

pub(super) fn invoice(with_lines: InvoiceWithLines) -> wire::Invoice {
    let InvoiceWithLines { invoice, lines } = with_lines;
    let money = |minor| encode::money(Money::new(minor, invoice.currency));
    let line = |line: InvoiceLine| wire::InvoiceLine {
        description: line.description,
        quantity: line.quantity,
        unit_price: Some(money(line.unit_minor)),
        total: Some(money(line.total_minor)),
        plan_id: line.plan_id.unwrap_or_default(),
        billing_cycle: optional_cycle(line.billing_cycle).into(),
        period_start_time: line.period_start.map(encode::timestamp),
        period_end_time: line.period_end.map(encode::timestamp),
    };
    wire::Invoice {
        id: invoice.id.to_string(),
        organization_id: invoice.organization_id.to_string(),
        number: invoice.number.unwrap_or_default(),
        status: invoice_status(invoice.status).into(),
        total: Some(money(invoice.total_minor)),
        credited: Some(money(invoice.credited_minor)),
        prices_include_tax: invoice.prices_include_tax,
        tax: Some(money(invoice.tax_minor)),
        tax_rate_percent: super::invoices::percent(invoice.tax_rate_bp),
        lines: lines.into_iter().map(line).collect(),
        supplier: Some(wire::InvoiceParty {
            name: invoice.supplier_legal_name,
            trading_name: invoice.supplier_trading_name,
            vat_number: invoice.supplier_vat_number,
            address: invoice.supplier_address,
        }),
        customer: Some(wire::InvoiceParty {
            name: invoice.customer_name,
            trading_name: String::new(),
            vat_number: invoice.customer_vat_number,
            address: invoice.customer_address,
        }),
        test: invoice.test,
        create_time: Some(encode::timestamp(invoice.created_at)),
        issue_time: invoice.issued_at.map(encode::timestamp),
        pay_time: invoice.paid_at.map(encode::timestamp),
        due_time: invoice.due_at.map(encode::timestamp),
    }
}

pub(super) fn plan(plan: Plan) -> wire::Plan {
    let money = |minor| encode::money(Money::new(minor, plan.currency));
    wire::Plan {
        monthly_price: Some(money(plan.monthly_minor)),
        yearly_price: plan.yearly_minor.map(money),
        id: plan.id,
        name: plan.name,
        description: plan.description,
        limits: Some(wire::PlanLimits {
            agents: plan.agents_max,
            executions_per_period: plan.executions_max,
        }),
    }
}

pub(super) fn subscription(current: CurrentSubscription) -> wire::Subscription {
    let time = |at: Timestamp| Some(encode::timestamp(at));
    let bought = current.bought.as_ref();
    let billing_cycle = optional_cycle(bought.map(|bought| bought.billing_cycle));
    wire::Subscription {
        id: bought.map(|bought| bought.id.to_string()).unwrap_or_default(),
        organization_id: current.organization_id.to_string(),
        plan: Some(plan(current.plan)),
        status: match current.status {
            SubscriptionStatus::Active => wire::SubscriptionStatus::Active,
            SubscriptionStatus::Expired => wire::SubscriptionStatus::Expired,
        }
        .into(),
        billing_cycle: billing_cycle.into(),
        current_period_start_time: bought.and_then(|bought| time(bought.period_start)),
        current_period_end_time: bought.and_then(|bought| time(bought.period_end)),
        create_time: bought.and_then(|bought| time(bought.created_at)),
        update_time: bought.and_then(|bought| time(bought.updated_at)),
    }
}

pub(super) fn report(report: Report) -> wire::VerifyLedgerResponse {
    let balanced = report.balanced();
    let Report { transactions, entries, totals, balances, chain, faults } = report;
    wire::VerifyLedgerResponse {
        balanced,
        transaction_count: transactions,
        entry_count: entries,
        currency_totals: totals.into_iter().map(encode::money).collect(),
        balances: balances
            .into_iter()
            .map(|(account, balance)| wire::LedgerBalance {
                account: account.as_str().to_owned(),
                balance: Some(encode::money(balance)),
            })
            .collect(),
        faults: faults
            .into_iter()
            .map(|fault| wire::LedgerFault {
                kind: fault_kind(fault.kind).into(),
                subject_id: fault.subject,
                detail: fault.detail,
            })
            .collect(),
        sealed_count: chain.sealed,
        unsealed_count: chain.unsealed,
        unsealed_age: Some(encode::duration(chain.unsealed_for)),
        head: chain.head.map(head),
        chain_fault: chain.broken.map(|broken| wire::LedgerChainFault {
            kind: fault_kind(broken.kind).into(),
            position: broken.position.unwrap_or(0),
            transaction_id: broken.transaction.map(|id| id.to_string()).unwrap_or_default(),
            detail: broken.detail.to_owned(),
        }),
        public_key: chain.public_key.to_vec(),
    }
}

fn head(head: Head) -> wire::LedgerHead {
    wire::LedgerHead {
        position: head.position,
        previous_position: head.previous_position,
        hash: head.hash,
        sign_time: Some(encode::timestamp(head.signed_at)),
        public_key: head.public_key,
        signature: head.signature,
    }
}

const fn fault_kind(kind: FaultKind) -> wire::LedgerFaultKind {
    match kind {
        FaultKind::Unbalanced => wire::LedgerFaultKind::Unbalanced,
        FaultKind::Unposted => wire::LedgerFaultKind::Unposted,
        FaultKind::Invoice => wire::LedgerFaultKind::Invoice,
        FaultKind::Payment => wire::LedgerFaultKind::Payment,
        FaultKind::Receipt => wire::LedgerFaultKind::Receipt,
        FaultKind::Refund => wire::LedgerFaultKind::Refund,
        FaultKind::Chargeback => wire::LedgerFaultKind::Chargeback,
        FaultKind::Projection => wire::LedgerFaultKind::Projection,
        FaultKind::TransactionMissing => wire::LedgerFaultKind::TransactionMissing,
        FaultKind::TransactionChanged => wire::LedgerFaultKind::TransactionChanged,
        FaultKind::TransactionUnreadable => wire::LedgerFaultKind::TransactionUnreadable,
        FaultKind::TransactionUnchained => wire::LedgerFaultKind::TransactionUnchained,
        FaultKind::SealMissing => wire::LedgerFaultKind::SealMissing,
        FaultKind::SealChanged => wire::LedgerFaultKind::SealChanged,
        FaultKind::HeadMissing => wire::LedgerFaultKind::HeadMissing,
        FaultKind::HeadForged => wire::LedgerFaultKind::HeadForged,
        FaultKind::HeadOfOtherKey => wire::LedgerFaultKind::HeadOfOtherKey,
        FaultKind::HeadUnknown => wire::LedgerFaultKind::HeadUnknown,
        FaultKind::EndChanged => wire::LedgerFaultKind::EndChanged,
    }
}

fn optional_cycle(cycle: Option<Cycle>) -> wire::BillingCycle {
    match cycle {
        None => wire::BillingCycle::Unspecified,
        Some(Cycle::Monthly) => wire::BillingCycle::Monthly,
        Some(Cycle::Yearly) => wire::BillingCycle::Yearly,
    }
}

fn payment_status(status: PaymentStatus) -> wire::PaymentStatus {
    match status {
        PaymentStatus::Created => wire::PaymentStatus::Created,
        PaymentStatus::Pending => wire::PaymentStatus::Pending,
        PaymentStatus::Succeeded => wire::PaymentStatus::Succeeded,
        PaymentStatus::Failed => wire::PaymentStatus::Failed,
        PaymentStatus::Cancelled => wire::PaymentStatus::Cancelled,
        PaymentStatus::Expired => wire::PaymentStatus::Expired,
        PaymentStatus::Superseded => wire::PaymentStatus::Superseded,
    }
}

fn invoice_status(status: InvoiceStatus) -> wire::InvoiceStatus {
    match status {
        InvoiceStatus::Draft => wire::InvoiceStatus::Draft,
        InvoiceStatus::Open => wire::InvoiceStatus::Open,
        InvoiceStatus::Paid => wire::InvoiceStatus::Paid,
        InvoiceStatus::Void => wire::InvoiceStatus::Void,
        InvoiceStatus::Uncollectible => wire::InvoiceStatus::Uncollectible,
    }
}
