//! All services on one port: each behind the gate and the gRPC-Web translation, beside the HTTP shim.

use axum::Router;
use axum::middleware::from_fn_with_state;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;

use super::{App, Error};
use crate::http;
use crate::proto::{DESCRIPTORS, capecontrol as api};
use crate::rpc::gate::GateLayer;
use crate::rpc::in_flight::InFlight;
use crate::rpc::limits::Limits;
use crate::rpc::refusals::Refusals;
use crate::rpc::telemetry::{Telemetry, observe};
use crate::rpc::{Exports, cors, health};
use crate::{auth, chat, market, operations, payments};

/// A request message may have at most this many bytes.
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// An answer may have at most this many bytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Bounds the messages of a service, and puts it behind the gate and the translation.
macro_rules! served {
    ($gate:expr, $server:ty, $rpc:expr) => {{
        let service = <$server>::new($rpc)
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(ANSWER_BYTES_MAX);
        ServiceBuilder::new().layer(GrpcWebLayer::new()).layer($gate.clone()).service(service)
    }};
}

impl App {
    pub(super) fn routes(&self) -> Result<Router, Error> {
        let health = health::Rpc::new(self.policies.services(), self.ready.subscribe(), self.drain.clone());
        // Health and reflection tell nothing that is not public, so no gate stands before them.
        let grpc = self
            .grpc()
            .add_service(GrpcWebLayer::new().layer(HealthServer::new(health)))
            .add_service(GrpcWebLayer::new().layer(reflection().build_v1().map_err(Error::Reflection)?))
            .add_service(GrpcWebLayer::new().layer(reflection().build_v1alpha().map_err(Error::Reflection)?));
        let proxies = self.config.server.trusted_proxies.clone().into();
        let refusals = Refusals::new(self.metrics.clone(), self.auth.audit().clone());
        let telemetry = Telemetry::new(self.world.clone(), proxies, refusals);
        let app = grpc
            .into_axum_router()
            .merge(http::platform(self.platform()))
            .merge(http::attachments::routes(self.chat.clone()))
            .merge(self.payment_routes())
            .fallback(http::unknown)
            // Together, the outermost first: each `layer` of the router would put every route into one more box.
            .layer(
                ServiceBuilder::new()
                    .layer(from_fn_with_state(telemetry, observe))
                    .layer(cors::layer(self.config.server.allowed_origins.clone()))
                    .layer(CatchPanicLayer::new()),
            );
        Ok(app)
    }

    fn gate(&self) -> GateLayer {
        GateLayer::new(
            self.policies.clone(),
            self.auth.clone(),
            self.config.bounds.calls.clone(),
            InFlight::new(self.root.derive("request-bodies")),
            Limits::new(&self.config.limits, self.world.clone()),
            self.metrics.clone(),
            self.closing.clone(),
        )
    }

    fn exports(&self) -> Exports {
        Exports::new(self.auth.clone(), self.drain.clone())
    }

    fn grpc(&self) -> Routes {
        let gate = self.gate();
        let chat = chat::rpc::Rpc::new(self.chat.clone(), self.pages.clone(), self.exports());
        let operations = operations::rpc::Rpc::new(self.operations.clone(), self.pages.clone());
        let market = market::rpc::Rpc::new(self.market.clone(), self.pages.clone());
        self.payment_services(self.auth_services(Routes::default(), &gate), &gate)
            .add_service(served!(
                gate,
                api::operations::v1::operations_service_server::OperationsServiceServer<_>,
                operations
            ))
            .add_service(served!(gate, api::chat::v1::chat_service_server::ChatServiceServer<_>, chat))
            .add_service(served!(
                gate,
                api::marketplace::v1::marketplace_service_server::MarketplaceServiceServer<_>,
                market
            ))
    }

    fn auth_services(&self, routes: Routes, gate: &GateLayer) -> Routes {
        let auth = auth::rpc::Rpc::new(self.auth.clone(), self.pages.clone(), self.exports());
        routes
            .add_service(served!(
                gate,
                api::auth::v1::auth_service_server::AuthServiceServer<_>,
                auth.clone()
            ))
            .add_service(served!(
                gate,
                api::auth::v1::account_service_server::AccountServiceServer<_>,
                auth.clone()
            ))
            .add_service(served!(
                gate,
                api::auth::v1::organization_service_server::OrganizationServiceServer<_>,
                auth.clone()
            ))
            .add_service(served!(
                gate,
                api::auth::v1::admin_service_server::AdminServiceServer<_>,
                auth.clone()
            ))
            .add_service(served!(
                gate,
                api::auth::v1::api_key_service_server::ApiKeyServiceServer<_>,
                auth.clone()
            ))
            .add_service(served!(gate, api::auth::v1::audit_service_server::AuditServiceServer<_>, auth))
    }

    fn payment_services(&self, routes: Routes, gate: &GateLayer) -> Routes {
        let payments = payments::rpc::Rpc::new(self.payments.clone(), self.pages.clone(), self.exports());
        routes
            .add_service(served!(
                gate,
                api::payments::v1::payments_service_server::PaymentsServiceServer<_>,
                payments.clone()
            ))
            .add_service(served!(
                gate,
                api::payments::v1::invoice_service_server::InvoiceServiceServer<_>,
                payments.clone()
            ))
            .add_service(served!(
                gate,
                api::payments::v1::subscription_service_server::SubscriptionServiceServer<_>,
                payments.clone()
            ))
            .add_service(served!(
                gate,
                api::payments::v1::payment_operations_service_server::PaymentOperationsServiceServer<_>,
                payments
            ))
    }

    fn payment_routes(&self) -> Router {
        let itn = http::payfast::routes(self.payments.clone());
        match &self.simulator {
            Some(simulator) => itn.merge(http::simulator::routes(simulator.clone())),
            None => itn,
        }
    }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // The details of errors, so that tools can show them.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}
