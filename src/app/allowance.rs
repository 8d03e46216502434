//! What an organisation may store, by what it bought: the place that knows both.

use std::sync::Arc;

use async_trait::async_trait;

use crate::auth::Caller;
use crate::base::OrganizationId;
use crate::chat::model::attachment::{FILE_BYTES_MAX, Limits};
use crate::chat::{self, Allowance};
use crate::payments;

const MIB: i64 = 1 << 20;
const GIB: i64 = 1 << 30;

/// The limits of plans.
pub(super) struct OfPlans(Arc<payments::Service>);

impl OfPlans {
    pub(super) const fn new(payments: Arc<payments::Service>) -> Self {
        Self(payments)
    }
}

#[async_trait]
impl Allowance for OfPlans {
    async fn limits(&self, caller: &Caller, organization_id: OrganizationId) -> Result<Limits, chat::Error> {
        let current = self.0.get_subscription(caller, Some(organization_id)).await;
        current.map(|current| of_plan(&current.plan.id)).map_err(|error| match error {
            payments::Error::Auth(error) => error.into(),
            payments::Error::Db(error) => error.into(),
            _ => chat::Error::Broken(None),
        })
    }
}

/// The limits of a plan. One that is not known here has those of the free one.
fn of_plan(plan_id: &str) -> Limits {
    match plan_id {
        "enterprise" => Limits { file_bytes_max: FILE_BYTES_MAX, stored_bytes_max: 200 * GIB },
        "pro" => Limits { file_bytes_max: 25 * MIB, stored_bytes_max: 20 * GIB },
        _ => Limits { file_bytes_max: 10 * MIB, stored_bytes_max: GIB },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_pays_more_stores_more() {
        let [free, pro, enterprise] = ["free", "pro", "enterprise"].map(of_plan);
        for (less, more) in [(free, pro), (pro, enterprise)] {
            assert!(
                less.file_bytes_max < more.file_bytes_max && less.stored_bytes_max < more.stored_bytes_max
            );
        }
        assert_eq!(of_plan("live-verification"), free);
    }
}
