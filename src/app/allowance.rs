//! What an organisation may have in its conversations, by what it bought: the place that knows both.

use std::sync::Arc;

use async_trait::async_trait;

use crate::base::OrganizationId;
use crate::chat::model::attachment::{FILE_BYTES_MAX, Limits};
use crate::chat::model::member::MEMBERS_MAX;
use crate::chat::model::plan::Allowed;
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
    async fn allowed(&self, organization_id: OrganizationId) -> Result<Allowed, chat::Error> {
        let plan = self.0.plan_in_force(organization_id).await.map_err(|error| match error {
            payments::Error::Db(error) => error.into(),
            _ => chat::Error::Broken(None),
        })?;
        Ok(of_plan(plan))
    }
}

/// The limits of a plan. One that is not known here has those of the free one.
fn of_plan(plan_id: String) -> Allowed {
    let (files, members_max, threads_max) = match plan_id.as_str() {
        "enterprise" => {
            (Limits { file_bytes_max: FILE_BYTES_MAX, stored_bytes_max: 200 * GIB }, MEMBERS_MAX, 20_000)
        }
        "pro" => (Limits { file_bytes_max: 25 * MIB, stored_bytes_max: 20 * GIB }, 250, 5_000),
        _ => (Limits { file_bytes_max: 10 * MIB, stored_bytes_max: GIB }, 50, 500),
    };
    Allowed { plan_id, files, members_max, threads_max }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_pays_more_has_more() {
        let [free, pro, enterprise] = ["free", "pro", "enterprise"].map(|plan| of_plan(plan.to_owned()));
        for (less, more) in [(&free, &pro), (&pro, &enterprise)] {
            assert!(less.files.file_bytes_max < more.files.file_bytes_max);
            assert!(less.files.stored_bytes_max < more.files.stored_bytes_max);
            assert!(less.members_max < more.members_max && less.threads_max < more.threads_max);
        }
        let other = of_plan("live-verification".to_owned());
        assert_eq!(Allowed { plan_id: free.plan_id.clone(), ..other }, free);
    }
}
