//! A platform with people of every role.

use capecontrol::auth::{OrganizationRole, store};
use capecontrol::base::OrganizationId;
use capecontrol::db::{Conn as _, Engine, Scope};
use capecontrol::rpc::policy::Access;
use prost::Message as _;
use prost_reflect::DynamicMessage;
use tonic::Status;

use super::contract::Method;
use super::wire::call;
use crate::support::app::PASSWORD;
use crate::support::{App, Person, Start as _};

/// A platform and its administrator.
pub struct Scene {
    pub t: App,
    pub admin: Person,
}

impl Scene {
    pub async fn on(t: App) -> Self {
        let admin = t.admin().await;
        Self { t, admin }
    }

    pub async fn start() -> Self {
        Self::on(App::start(Engine::Sqlite).await).await
    }

    /// The token of somebody who may call the method: the person, where a customer may.
    pub async fn token(&self, method: &Method, person: &Person) -> Option<String> {
        match method.policy.access {
            Access::Public => None,
            Access::Account | Access::OrganizationOwner | Access::OrganizationBilling => {
                Some(person.token.clone())
            }
            Access::Developer => Some(self.promoted(person, "developer").await.token),
            Access::Admin => Some(self.admin.token.clone()),
        }
    }

    pub async fn promoted(&self, person: &Person, role: &str) -> Person {
        let mut tx = self.t.db.begin(Scope::System("test")).await.unwrap();
        let update = tx.shared_sql("UPDATE accounts SET role = $1 WHERE id = $2").bind(role.to_owned());
        assert_eq!(update.bind(person.account_id).execute().await.unwrap(), 1);
        tx.commit().await.unwrap();
        self.t.sign_in(&person.email, PASSWORD).await
    }

    /// Makes the person a plain member of an organisation.
    pub async fn join(&self, person: &Person, organization: OrganizationId) {
        self.join_as(person, organization, OrganizationRole::Member).await;
    }

    /// Makes the person a member of an organisation.
    pub async fn join_as(&self, person: &Person, organization: OrganizationId, role: OrganizationRole) {
        let mut tx = self.t.db.begin(Scope::System("test")).await.unwrap();
        let (account, now) = (person.account_id, self.t.world.now());
        store::member::insert(&mut tx, organization, account, role, now).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub async fn call(
        &self,
        method: &Method,
        token: Option<&str>,
        request: &DynamicMessage,
    ) -> Result<Vec<u8>, Status> {
        call(&self.t, &method.policy.path, token, request.encode_to_vec()).await
    }
}
