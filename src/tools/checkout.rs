//! `payments.checkout`: prepares a checkout that the person then pays on the provider's page, or leaves.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::ai::ToolSpec;
use crate::ai::tool::{SideEffect, Tool, ToolError, Use};
use crate::auth::Caller;
use crate::base::Money;
use crate::idempotency::RequestKey;
use crate::payments::model::period::Cycle;
use crate::payments::service::{CreateCheckout, Item};
use crate::payments::{Error, Service};

/// The tool's name; also the method under which its idempotency keys are kept, apart from those of people's calls.
const NAME: &str = "payments.checkout";

/// How a person gets from here to the provider's page. The form itself is signed for one browser and carries the
/// merchant's key, so that it is not handed to a model or written into a thread.
const HOW_TO_PAY: &str = "Open this invoice in CapeControl and pay it: the client calls CreateCheckout with the \
                          invoice_id and posts the form that it gets to PayFast.";

/// The tool.
pub struct Checkout {
    payments: Arc<Service>,
}

impl Checkout {
    /// The tool over the domain.
    #[must_use]
    pub const fn new(payments: Arc<Service>) -> Self {
        Self { payments }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    plan_id: String,
    billing_cycle: BillingCycle,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum BillingCycle {
    Monthly,
    Yearly,
}

#[async_trait]
impl Tool for Checkout {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: NAME.to_owned(),
            description: "Prepares a checkout of a plan for the person's organisation: an open invoice and a pending \
                          payment, which the person then pays on PayFast's page. Moves no money and buys nothing by \
                          itself. Use it only when the person clearly asked to buy a plan and named the plan and the \
                          billing cycle; else ask."
                .to_owned(),
            input_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["plan_id", "billing_cycle"],
                "properties": {
                    "plan_id": {
                        "type": "string",
                        "description": "The plan's id in the price list, such as pro or enterprise.",
                    },
                    "billing_cycle": { "type": "string", "enum": ["monthly", "yearly"] },
                },
            }),
        }
    }

    fn side_effect(&self) -> SideEffect {
        SideEffect::Propose
    }

    fn scope(&self) -> &'static str {
        "checkout.create"
    }

    async fn call(&self, caller: &Caller, wanted: &Use) -> Result<Value, ToolError> {
        let Arguments { plan_id, billing_cycle } = wanted.arguments()?;
        let cycle = match billing_cycle {
            BillingCycle::Monthly => Cycle::Monthly,
            BillingCycle::Yearly => Cycle::Yearly,
        };
        let command = CreateCheckout {
            organization_id: Some(wanted.organization_id),
            item: Item::Plan { plan_id, cycle: Some(cycle) },
            return_url: String::new(),
            cancel_url: String::new(),
            // An agent has nobody's card charged: a person pays.
            payment_method_id: None,
        };
        let key = RequestKey {
            method: NAME.into(),
            key: wanted.key,
            body_hash: Sha256::digest(wanted.arguments.as_bytes()).into(),
        };
        let checkout = self.payments.create_checkout(caller, command, Some(&key)).await.map_err(refusal)?;
        let found = self.payments.get_invoice(caller, checkout.invoice_id).await.map_err(ToolError::of)?;
        let description = found.lines.first().map(|line| line.description.clone()).unwrap_or_default();
        Ok(json!({
            "payment_id": checkout.payment_id,
            "invoice_id": checkout.invoice_id,
            "description": description,
            "amount": Money::new(found.invoice.total_minor, found.invoice.currency).to_string(),
            "test": found.invoice.test,
            "how_to_pay": HOW_TO_PAY,
        }))
    }
}

/// A refusal names the arguments as the tool knows them.
fn refusal(error: Error) -> ToolError {
    match ToolError::of(error) {
        ToolError::Refused { reason, message, mut violations } => {
            for wrong in &mut violations {
                if let Some(field) = wrong.field.strip_prefix("plan.") {
                    wrong.field = field.to_owned();
                }
            }
            ToolError::Refused { reason, message, violations }
        }
        failed @ ToolError::Failed(_) => failed,
    }
}
