//! No id crosses an organisation, wherever in a request it stands and whoever else may name it: what the test of single
//! fields in the parent does not reach. All of it is made from the descriptors and the requests that succeed.

use std::collections::{BTreeMap, BTreeSet};

use capecontrol::db::Engine;
use capecontrol::rpc::policy::Access;
use prost::Message as _;
use prost_reflect::{DynamicMessage, Value};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::SHARED;
use super::contract::{Contract, Method, unknown_id};
use super::fields::{Leaf, names, told as told_in};
use super::party::Party;
use super::requests::FRAMES;
use super::scene::Scene;
use super::wire::{refusal, told};
use crate::support::{App, Start as _, on_both};

/// Fields of resources that tell an id and are not read when they stand in a request.
const TOLD: &[(&str, &str)] = &[
    ("capecontrol.auth.v1.Account", "id"),
    ("capecontrol.auth.v1.Account", "personal_organization_id"),
    ("capecontrol.auth.v1.Organization", "id"),
    ("capecontrol.chat.v1.ChatPolicy", "organization_id"),
    ("capecontrol.chat.v1.Thread", "created_by_account_id"),
    ("capecontrol.chat.v1.Thread", "id"),
    ("capecontrol.chat.v1.Thread", "listing_id"),
    ("capecontrol.chat.v1.Thread", "organization_id"),
    ("capecontrol.payments.v1.BillingProfile", "organization_id"),
    ("capecontrol.payments.v1.PaymentMethod", "id"),
    ("capecontrol.payments.v1.PaymentMethod", "organization_id"),
];

/// Methods of which nobody gets a second page here, with the reason.
const ONE_PAGE: &[(&str, &str)] =
    &[("/capecontrol.payments.v1.PaymentsService/ListPayments", "a provider's id is one payment's")];

/// How the names of methods begin that make something of which there may be several.
const MAKES: &[&str] = &["Create", "Install", "Invite", "Send"];

const CONVERSE: &str = "/capecontrol.chat.v1.ChatService/Converse";

fn is_told(field: &(String, String)) -> bool {
    TOLD.contains(&(field.0.as_str(), field.1.as_str()))
}

#[tokio::test]
async fn every_field_that_names_something_is_filled_in() {
    let (contract, scene) = (Contract::read(), Scene::start().await);
    let party = Party::start(&scene.t, "ada").await;
    let mut filled: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (method, request) in contract.requests(&party) {
        let ids = contract.ids(&request).into_iter().map(|leaf| leaf.declared());
        filled.entry(&method.policy.path).or_default().extend(ids);
    }
    let mut wrong = Vec::new();
    for method in &contract.methods {
        let path = &*method.policy.path;
        let filled = filled.remove(path).unwrap_or_default();
        // What is said in a conversation after Hello is tried by the test of conversations.
        let said = |named: &str| {
            path == CONVERSE && FRAMES.iter().any(|(frame, ..)| named.starts_with(&format!("frame.{frame}.")))
        };
        let declared = names(&method.descriptor.input());
        let missing = declared
            .iter()
            .filter(|named| !filled.contains(&named.path) && !said(&named.path) && !is_told(&named.field));
        wrong.extend(missing.map(|named| {
            format!(
                "{path}: no request fills in {}. Give coverage/requests.rs one that does; or, when it only tells and \
                 is not read, add {:?} to TOLD in coverage/tenants.rs. One in a map (marked {{}}) coverage/fields.rs \
                 has to be taught first",
                named.path, named.field
            )
        }));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The ids of what somebody has.
fn ids(contract: &Contract, party: &Party) -> BTreeSet<String> {
    let requests = contract.requests(party).flat_map(|(_, request)| contract.ids(&request));
    let tenants = requests.filter(is_tenants).map(|leaf| leaf.text().to_owned());
    tenants.chain([party.person.account_id.to_string()]).collect()
}

/// The answers to two requests that must be told apart by nobody.
async fn alike(
    scene: &Scene,
    method: &Method,
    token: Option<&str>,
    what: &str,
    requests: [DynamicMessage; 2],
) {
    let mut answers = Vec::new();
    for request in requests {
        let (status, reason) = refusal(what, scene.call(method, token, &request).await);
        assert_eq!(reason.name, "NOT_FOUND", "{what}: {status:?}");
        answers.push(told(&status));
    }
    assert_eq!(answers[0], answers[1], "{what} tells who has it");
}

/// Whether the id in this field is a tenant's.
fn is_tenants(leaf: &Leaf) -> bool {
    !SHARED.contains(&leaf.path.as_str())
}

on_both! {
    /// Somebody who belongs to two organisations names one and means something of the other.
    async fn an_id_of_another_organisation_of_ones_own_is_as_unknown(t: App) {
        let (contract, scene) = (Contract::read(), Scene::on(t).await);
        let (ada, eve) = (Party::start(&scene.t, "ada").await, Party::start(&scene.t, "eve").await);
        scene.join(&eve.person, ada.person.organization_id).await;
        let mut asked = 0;
        for ((method, hers), (_, own)) in contract.requests(&ada).zip(contract.requests(&eve)) {
            let (hers, mine) = (contract.ids(&hers), contract.ids(&own));
            if method.policy.access == Access::Admin || !mine.iter().any(|leaf| leaf.path == "organization_id") {
                continue;
            }
            let token = scene.token(method, &eve.person).await;
            for (theirs, leaf) in hers.iter().zip(&mine) {
                if leaf.path == "organization_id" || !is_tenants(leaf) {
                    continue;
                }
                let with = |id: String| leaf.set(&own, Value::String(id));
                let requests = [with(theirs.text().to_owned()), with(unknown_id())];
                alike(&scene, method, token.as_deref(), &method.what(leaf), requests).await;
                asked += 1;
            }
        }
        assert!(asked > 0, "no method takes an organisation and something of it");
    }

    /// In a list, an id that is one's own does not open the door to the next.
    async fn an_id_beside_ones_own_is_looked_at_too(t: App) {
        let (contract, scene) = (Contract::read(), Scene::on(t).await);
        let (ada, eve) = (Party::start(&scene.t, "ada").await, Party::start(&scene.t, "eve").await);
        let mut asked = 0;
        for ((method, hers), (_, own)) in contract.requests(&ada).zip(contract.requests(&eve)) {
            if method.policy.access == Access::Admin {
                continue;
            }
            let token = scene.token(method, &eve.person).await;
            let (hers, mine) = (contract.ids(&hers), contract.ids(&own));
            for (theirs, leaf) in hers.iter().zip(&mine).filter(|(_, leaf)| is_tenants(leaf)) {
                let with = |id: String| leaf.beside(&own, Value::String(id));
                let Some(foreign) = with(theirs.text().to_owned()) else { continue };
                let requests = [foreign, with(unknown_id()).unwrap()];
                let what = format!("{} beside one's own", method.what(leaf));
                alike(&scene, method, token.as_deref(), &what, requests).await;
                asked += 1;
            }
        }
        assert!(asked > 0, "no method takes a list of ids");
    }

    /// What a resource tells of itself decides nothing when it comes in a request.
    async fn an_id_that_only_tells_is_not_believed(t: App) {
        let (contract, scene) = (Contract::read(), Scene::on(t).await);
        let (ada, eve) = (Party::start(&scene.t, "ada").await, Party::start(&scene.t, "eve").await);
        let (hers, mut asked) = (ids(&contract, &ada), BTreeSet::new());
        for (method, own) in contract.requests(&eve) {
            let token = scene.token(method, &eve.person).await;
            for named in names(&method.descriptor.input()).into_iter().filter(|named| is_told(&named.field)) {
                for id in &hers {
                    let own = method.request(&own.encode_to_vec());
                    let Some(request) = told_in(&own, &named.path, Value::String(id.clone())) else { continue };
                    let what = format!("{} with {}", method.policy.path, named.path);
                    match scene.call(method, token.as_deref(), &request).await {
                        Ok(answer) => assert!(!tells_of(&answer, &hers), "{what} is believed"),
                        Err(status) => drop(refusal(&what, Err(status))),
                    }
                    asked.insert(named.field.clone());
                }
            }
        }
        let told: BTreeSet<(String, String)> =
            TOLD.iter().map(|(message, field)| ((*message).to_owned(), (*field).to_owned())).collect();
        assert_eq!(asked, told, "what stands in TOLD, and what requests can say");
    }

    /// A page token opens nothing: neither to somebody else, nor of another question.
    async fn a_page_token_is_its_callers(t: App) {
        let (contract, scene) = (Contract::read(), Scene::on(t).await);
        let (ada, eve) = (Party::start(&scene.t, "ada").await, Party::start(&scene.t, "eve").await);
        // Two of everything that can be made, and of organisations.
        for (method, request) in contract.requests(&ada).chain(contract.requests(&ada)) {
            if MAKES.iter().any(|verb| method.descriptor.name().starts_with(verb)) {
                let token = scene.token(method, &ada.person).await;
                let _ = scene.call(method, token.as_deref(), &request).await;
            }
        }
        scene.join(&ada.person, eve.person.organization_id).await;
        scene.join(&eve.person, ada.person.organization_id).await;
        let (mut asked, mut one_page) = (0, Vec::new());
        for ((method, mut hers), (_, mut own)) in contract.requests(&ada).zip(contract.requests(&eve)) {
            let paged = method.descriptor.input().get_field_by_name("page_token").is_some();
            if !paged || matches!(method.policy.access, Access::Public | Access::Admin) {
                continue;
            }
            hers.set_field_by_name("page_size", Value::I32(1));
            own.set_field_by_name("page_size", Value::I32(1));
            let token = scene.token(method, &ada.person).await;
            let path = &*method.policy.path;
            let page = scene.call(method, token.as_deref(), &hers).await;
            let page = page.unwrap_or_else(|status| panic!("{path}: {status:?}"));
            let page = DynamicMessage::decode(method.descriptor.output(), page.as_slice()).unwrap();
            let next = page.get_field_by_name("next_page_token").unwrap().into_owned();
            if next.as_str().unwrap().is_empty() {
                one_page.push(path);
                continue;
            }
            // Her own second page is there.
            hers.set_field_by_name("page_token", next.clone());
            scene.call(method, token.as_deref(), &hers).await.unwrap();
            own.set_field_by_name("page_token", next);
            let token = scene.token(method, &eve.person).await;
            let (_, reason) = refusal(path, scene.call(method, token.as_deref(), &own).await);
            assert_eq!(reason.name, "PAGE_TOKEN_MISMATCH", "{path}");
            // Also when she may ask the very same question, as a member of the same organisation.
            let (_, reason) = refusal(path, scene.call(method, token.as_deref(), &hers).await);
            let (name, code) = (reason.name, format!("{:?}", reason.code));
            let unseen = ["NotFound", "PermissionDenied"].contains(&code.as_str());
            assert!(name == "PAGE_TOKEN_MISMATCH" || unseen, "{path}: {name}");
            asked += 1;
        }
        assert!(asked > 3, "only {asked} lists have a second page");
        let known: Vec<&str> = ONE_PAGE.iter().map(|(path, _)| *path).collect();
        assert_eq!(one_page, known, "have Party::start make two of what these list, or say in ONE_PAGE why not");
    }
}

/// The second wall around every table, with a statement that asks for nothing: what somebody's organisation has, and no
/// row more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_read_without_a_where_has_one_organisations_rows() {
    let scene = Scene::on(App::start(Engine::Postgres).await).await;
    let (ada, eve) = (Party::start(&scene.t, "ada").await, Party::start(&scene.t, "eve").await);
    // Before the jobs run, so that there are some.
    let mut conn = PgConnection::connect(&scene.t.database_url).await.unwrap();
    let walled = "SELECT relname::text, EXISTS (SELECT 1 FROM pg_attribute
                      WHERE attrelid = t.oid AND attname = 'organization_id' AND NOT attisdropped)
                  FROM pg_class AS t WHERE relnamespace = current_schema()::regnamespace AND relrowsecurity";
    let walled: Vec<(String, bool)> = sqlx::query_as(walled).fetch_all(&mut conn).await.unwrap();
    let mut seen = 0;
    for (table, named) in walled {
        let tenant = if named { "organization_id" } else { "id" };
        let own = |party: &Party| format!("{tenant} = '{}'", party.organization_id);
        let hers = rows(&mut conn, &table, "capecontrol.purpose = 'test'", &own(&ada)).await;
        let theirs = rows(&mut conn, &table, "capecontrol.purpose = 'test'", &own(&eve)).await;
        let scope = format!("capecontrol.organization = '{}'", ada.organization_id);
        assert_eq!(rows(&mut conn, &table, &scope, "true").await, hers, "{table}");
        assert_eq!(rows(&mut conn, &table, "capecontrol.purpose = ''", "true").await, 0, "{table}");
        seen += usize::from(hers > 0 && theirs > 0);
    }
    assert!(seen >= 10, "only {seen} tables have rows of both");
}

/// How many rows a table has in a scope.
async fn rows(conn: &mut PgConnection, table: &str, scope: &str, condition: &str) -> i64 {
    let mut tx = conn.begin().await.unwrap();
    tx.execute(AssertSqlSafe(format!("SET LOCAL {scope}"))).await.unwrap();
    let text = format!("SELECT count(*) FROM {table} WHERE {condition}");
    let (count,): (i64,) = sqlx::query_as(AssertSqlSafe(text)).fetch_one(&mut *tx).await.unwrap();
    count
}

/// Whether bytes hold one of these ids.
fn tells_of(answer: &[u8], ids: &BTreeSet<String>) -> bool {
    ids.iter().any(|id| answer.windows(id.len()).any(|part| part == id.as_bytes()))
}
