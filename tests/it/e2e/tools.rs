//! The platform's tools: what an agent may have done, in whose name, and that a call counts once.

use std::sync::Arc;

use capecontrol::ai::tool::{Tool, ToolError, Use};
use capecontrol::auth::Caller;
use capecontrol::base::OrganizationId;
use capecontrol::db::{Conn as _, Scope};
use capecontrol::market::manifest::SideEffect;
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::chat::v1::{CreateThreadRequest, SendMessageRequest};
use capecontrol::proto::capecontrol::marketplace::v1::InstallListingRequest;
use capecontrol::tools::{self, Checklist, Checkout};
use capecontrol::{ai, market};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{App, Person, on_both};

const GUIDE: &str = "0195b3a0-0000-7000-8000-000000000001";
const PRO_MONTHLY: &str = r#"{"plan_id": "pro", "billing_cycle": "monthly"}"#;

async fn agent_of(t: &App, who: &Person) -> Caller {
    t.node.auth.on_behalf_of(who.account_id, "a message".to_owned()).await.unwrap()
}

fn wanted(organization_id: OrganizationId, key: u128, arguments: &str) -> Use {
    Use { organization_id, key: Uuid::from_u128(key), arguments: arguments.to_owned() }
}

fn refused(outcome: Result<Value, ToolError>) -> (&'static str, Vec<String>) {
    match outcome {
        Err(ToolError::Refused { reason, violations, .. }) => {
            (reason, violations.into_iter().map(|wrong| wrong.field).collect())
        }
        other => panic!("not refused: {other:?}"),
    }
}

async fn payments(t: &App) -> i64 {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let (count,): (i64,) = conn.sql("SELECT count(*) FROM payments").one().await.unwrap();
    count
}

async fn checklist(t: &App, who: &Person) -> Value {
    let tool = Checklist::new(t.db.clone());
    tool.call(&agent_of(t, who).await, &wanted(who.organization_id, 0, "{}")).await.unwrap()
}

/// The id of the next step, and how many are done.
fn standing(checklist: &Value) -> (String, i64) {
    (checklist["next"]["id"].as_str().unwrap_or("none").to_owned(), checklist["done"].as_i64().unwrap())
}

on_both! {
    async fn a_checkout_that_is_called_again_is_the_same_one(t: App) {
        let ada = t.register("ada@example.com").await;
        let (tool, caller) = (Checkout::new(Arc::clone(&t.node.payments)), agent_of(&t, &ada).await);
        let once = wanted(ada.organization_id, 1, PRO_MONTHLY);
        let (first, second) = tokio::join!(tool.call(&caller, &once), tool.call(&caller, &once));
        // The second may be told to come again while the first is under way; the third finds what there is.
        let third = tool.call(&caller, &once).await.unwrap();
        for outcome in [first, second] {
            match outcome {
                Ok(checkout) => assert_eq!(checkout, third),
                Err(error) => assert!(matches!(error, ToolError::Failed(_)), "{error:?}"),
            }
        }
        assert_eq!(payments(&t).await, 1);
        assert_eq!((&third["amount"], &third["description"]), (&json!("R529.00"), &json!("Pro plan, one month")));
        let text = third.to_string();
        assert!(!text.contains(t.node.config().payfast.merchant_key.expose()), "{text}");
        let other = tool.call(&caller, &wanted(ada.organization_id, 2, PRO_MONTHLY)).await.unwrap();
        assert_ne!(other["payment_id"], third["payment_id"]);
    }

    async fn a_checkout_refuses_what_payments_refuses(t: App) {
        let (ada, eve) = (t.register("ada@example.com").await, t.register("eve@example.com").await);
        let (tool, caller) = (Checkout::new(Arc::clone(&t.node.payments)), agent_of(&t, &eve).await);
        let call = async |arguments: &str| {
            refused(tool.call(&caller, &wanted(eve.organization_id, 9, arguments)).await)
        };
        assert_eq!(call("{}").await.0, "INVALID_ARGUMENTS");
        assert_eq!(call(r#"{"plan_id": "pro", "billing_cycle": "weekly"}"#).await.0, "INVALID_ARGUMENTS");
        let admin = r#"{"plan_id": "pro", "billing_cycle": "monthly", "organization_id": "x"}"#;
        assert_eq!(call(admin).await.0, "INVALID_ARGUMENTS");
        let gold = call(r#"{"plan_id": "gold", "billing_cycle": "monthly"}"#).await;
        assert_eq!(gold, ("INVALID_ARGUMENT", vec!["plan_id".to_owned()]));
        assert_eq!(call(r#"{"plan_id": "free", "billing_cycle": "monthly"}"#).await.0, "PLAN_IS_FREE");
        // Somebody else's organisation is none.
        let foreign = tool.call(&caller, &wanted(ada.organization_id, 10, PRO_MONTHLY)).await;
        assert_eq!(refused(foreign).0, "NOT_FOUND");
        let foreign = Checklist::new(t.db.clone()).call(&caller, &wanted(ada.organization_id, 0, "{}")).await;
        assert_eq!(refused(foreign).0, "NOT_FOUND");
        assert_eq!(payments(&t).await, 0);
    }

    async fn the_checklist_follows_what_the_person_does(t: App) {
        let ada = t.register("ada@example.com").await;
        assert_eq!(standing(&checklist(&t, &ada).await), ("agent_installed".to_owned(), 0));
        let install = InstallListingRequest { listing_id: GUIDE.to_owned(), ..Default::default() };
        ada.market().install_listing(install).await.unwrap();
        assert_eq!(standing(&checklist(&t, &ada).await), ("thread_opened".to_owned(), 1));
        let create = CreateThreadRequest { listing_id: GUIDE.to_owned(), ..Default::default() };
        let thread = ada.chat().create_thread(create).await.unwrap().into_inner().thread.unwrap();
        assert_eq!(standing(&checklist(&t, &ada).await), ("agent_answered".to_owned(), 2));
        let send = SendMessageRequest {
            thread_id: thread.id,
            client_message_id: GUIDE.to_owned(),
            text: "How do I install an agent?".to_owned(), ..Default::default() };
        ada.chat().send_message(send).await.unwrap();
        assert_eq!(standing(&checklist(&t, &ada).await).1, 2, "not before the answer");
        t.run_jobs().await;
        // What is left the platform does not need.
        assert_eq!(standing(&checklist(&t, &ada).await), ("profile_filled".to_owned(), 3));
        // A stranger's steps are their own.
        let eve = t.register("eve@example.com").await;
        assert_eq!(standing(&checklist(&t, &eve).await), ("agent_installed".to_owned(), 0));
    }

    /// Whichever organisation they work in, a person is who they are.
    async fn a_profile_counts_in_every_organisation(t: App) {
        let (ada, eve) = (t.register("ada@example.com").await, t.register("eve@example.com").await);
        let joins = "INSERT INTO memberships (organization_id, account_id, role, created_at)
                     VALUES ($1, $2, 'member', $3)";
        let mut tx = t.db.begin(Scope::Organization(ada.organization_id)).await.unwrap();
        tx.sql(joins).bind(ada.organization_id).bind(eve.account_id).bind(t.world.now()).execute().await.unwrap();
        tx.commit().await.unwrap();
        let account = auth::Account { bio: "Builds things.".to_owned(), ..Default::default() };
        let update = auth::UpdateAccountRequest { account: Some(account), ..Default::default() };
        eve.account().update_account(update).await.unwrap();
        let (tool, caller) = (Checklist::new(t.db.clone()), agent_of(&t, &eve).await);
        let told = tool.call(&caller, &wanted(ada.organization_id, 0, "{}")).await.unwrap();
        assert_eq!(standing(&told), ("agent_installed".to_owned(), 1));
    }

    async fn the_seeded_agents_name_the_tools_as_they_are(t: App) {
        let toolbox = tools::toolbox(&t.db, &t.node.payments);
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        let listings = market::store::listings(&mut conn, "", 100).await.unwrap();
        let mut equipped = Vec::new();
        for manifest in listings.into_iter().map(|listing| listing.manifest) {
            for named in &manifest.tools {
                let tool = toolbox.get(&named.name).unwrap();
                let spec = tool.spec();
                assert_eq!((&named.description, &named.input_schema), (&spec.description, &spec.input_schema));
                let side_effect = match tool.side_effect() {
                    ai::tool::SideEffect::Read => SideEffect::Read,
                    ai::tool::SideEffect::Propose => SideEffect::Propose,
                    ai::tool::SideEffect::Write => SideEffect::Write,
                };
                assert_eq!((named.side_effect, named.approval_required), (side_effect, false));
                assert!(manifest.permissions.scopes.iter().any(|scope| scope == tool.scope()));
                equipped.push((manifest.slug.clone(), named.name.clone()));
            }
        }
        let pair = |slug: &str, name: &str| (slug.to_owned(), name.to_owned());
        let wanted = ["guide", "onboarding"]
            .map(|slug| [pair(slug, "onboarding.checklist"), pair(slug, "payments.checkout")]);
        assert_eq!(equipped, wanted.concat());
    }
}
