//! `onboarding.checklist`: what a person has done on the platform, and what is next.
//!
//! Every step is read from what there is; nothing is remembered and nothing is assumed.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ai::ToolSpec;
use crate::ai::tool::{SideEffect, Tool, ToolError, Use};
use crate::auth::{self, Caller, access};
use crate::base::AccountId;
use crate::db::{Conn, Db, Scope};
use crate::{chat, db, market, payments};

/// The tool.
pub struct Checklist {
    db: Db,
}

impl Checklist {
    /// The tool over the database of the domains that it reads.
    #[must_use]
    pub const fn new(db: Db) -> Self {
        Self { db }
    }
}

/// It takes none; whatever comes is a mistake.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {}

/// Something to do.
struct Step {
    id: &'static str,
    title: &'static str,
    how: &'static str,
    done: bool,
    /// Whether the platform serves well without it.
    optional: bool,
}

#[async_trait]
impl Tool for Checklist {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "onboarding.checklist".to_owned(),
            description: "Tells which first steps the person has done on CapeControl in this organisation, and which \
                          one is next and how to do it. Use it when somebody asks how to get started, what to do next, \
                          or how far they are."
                .to_owned(),
            input_schema: json!({ "type": "object", "additionalProperties": false, "properties": {} }),
        }
    }

    fn side_effect(&self) -> SideEffect {
        SideEffect::Read
    }

    fn scope(&self) -> &'static str {
        "onboarding.read"
    }

    async fn call(&self, caller: &Caller, wanted: &Use) -> Result<Value, ToolError> {
        let Arguments {} = wanted.arguments()?;
        let account = caller.account().map_err(ToolError::of)?;
        let mut conn =
            self.db.conn(Scope::Organization(wanted.organization_id)).await.map_err(ToolError::of)?;
        access::member(&mut conn, caller, wanted.organization_id).await.map_err(ToolError::of)?;
        let steps = steps(&mut conn, account, wanted).await.map_err(ToolError::of)?;
        Ok(told(&steps))
    }
}

async fn steps(conn: &mut impl Conn, account: AccountId, wanted: &Use) -> Result<[Step; 5], db::Error> {
    let home = wanted.organization_id;
    let person = auth::store::account::introduction(conn, account).await?;
    let installed = market::store::installations(conn, home, None, 1).await?;
    let thread = chat::store::has_thread(conn, home, account).await?;
    let answered = chat::store::answered(conn, home, account).await?;
    let bought = payments::store::subscription::get(conn, home).await?;
    let step = |id, title, how, done| Step { id, title, how, done, optional: false };
    let optional = |step: Step| Step { optional: true, ..step };
    Ok([
        step("agent_installed", "Install an agent", INSTALL, !installed.is_empty()),
        step("thread_opened", "Open a thread", OPEN, thread),
        step("agent_answered", "Get an agent's answer", ASK, answered),
        optional(step(
            "profile_filled",
            "Say who you are",
            PROFILE,
            person.is_some_and(|it| has_profile(&it)),
        )),
        optional(step("plan_bought", "Buy a plan", BUY, bought.is_some())),
    ])
}

const INSTALL: &str =
    "Choose an agent in the marketplace and install it for your organisation (InstallListing).";
const OPEN: &str = "Open a thread, with the installed agent in it (CreateThread).";
const ASK: &str = "Write a message in a thread with an agent (SendMessage) and wait for its answer.";
const PROFILE: &str = "Fill in your profile, such as your company or what you do (UpdateAccount).";
const BUY: &str = "When the limits of the free plan are in your way, choose a plan and pay for it (ListPlans, then \
                   CreateCheckout).";

const fn has_profile(person: &auth::store::account::Introduction) -> bool {
    !(person.bio.is_empty() && person.company.is_empty() && person.website.is_empty())
}

fn told(steps: &[Step]) -> Value {
    // What the platform does not need comes last.
    let open = |optional: bool| steps.iter().find(|step| !step.done && step.optional == optional);
    let next = open(false).or_else(|| open(true));
    let listed = |step: &Step| {
        let Step { id, title, done, optional, .. } = step;
        json!({ "id": id, "title": title, "done": done, "optional": optional })
    };
    json!({
        "steps": steps.iter().map(listed).collect::<Vec<_>>(),
        "done": steps.iter().filter(|step| step.done).count(),
        "next": next.map(|step| json!({ "id": step.id, "title": step.title, "how": step.how })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(id: &'static str, done: bool, optional: bool) -> Step {
        Step { id, title: "Do it", how: "So.", done, optional }
    }

    #[test]
    fn what_is_needed_comes_before_what_is_not() {
        let told = told(&[step("a", true, false), step("b", false, true), step("c", false, false)]);
        assert_eq!((&told["next"]["id"], &told["done"]), (&json!("c"), &json!(1)));
    }

    #[test]
    fn when_all_is_done_nothing_is_next() {
        assert_eq!(told(&[step("a", true, false), step("b", true, true)])["next"], Value::Null);
    }
}
