//! What the configuration repeats of the code, held against the code: services, public methods, reasons and routes.

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use capecontrol::proto::DESCRIPTORS;
use capecontrol::rpc::policy::{Access, Policies};
use serde_json::Value;
use tonic_types::{RpcStatusExt as _, Status};

use crate::generated::reason;
use crate::support::Edge;
use crate::tidy::source;

/// The configuration as Envoy runs it, one connection manager.
async fn manager(edge: &Edge) -> Value {
    let dump = edge.admin("/config_dump?resource=static_listeners").await.unwrap();
    let listener = &dump["configs"][0]["listener"];
    let manager = &listener["filter_chains"][0]["filters"][0]["typed_config"];
    assert!(manager["http_filters"].is_array(), "{dump}");
    manager.clone()
}

fn filter(manager: &Value, name: &str) -> Value {
    let filters = manager["http_filters"].as_array().unwrap();
    let full = format!("envoy.filters.http.{name}");
    filters.iter().find(|filter| filter["name"] == full.as_str()).unwrap()["typed_config"].clone()
}

fn texts<'a>(values: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    values.into_iter().map(|value| value.as_str().unwrap().to_owned()).collect()
}

/// JSON for every service, and a token asked of nobody whom the server asks for none.
pub(super) async fn with_the_contract(edge: &Edge) {
    let policies = Policies::load(DESCRIPTORS).unwrap();
    let manager = manager(edge).await;
    let services = texts(filter(&manager, "grpc_json_transcoder")["services"].as_array().unwrap());
    assert_eq!(services, policies.services().iter().cloned().collect(), "the transcoder's services");

    let rules = filter(&manager, "jwt_authn")["rules"].as_array().unwrap().clone();
    let open = rules.iter().filter(|rule| rule["requires"].is_null()).map(|rule| &rule["match"]["path"]);
    let public = policies.iter().filter(|policy| policy.access == Access::Public);
    let public: BTreeSet<_> = public.map(|policy| policy.path.to_string()).collect();
    assert_eq!(texts(open), public, "the rules without a requirement, and the public methods");
    assert_eq!(rules.last().unwrap()["match"]["prefix"], "/");
}

/// Whatever Envoy says has a reason that is registered with that code, the same for JSON as for gRPC.
pub(super) async fn of_what_is_refused_with_the_registry(edge: &Edge) {
    let manager = manager(edge).await;
    let mappers = manager["local_reply_config"]["mappers"].as_array().unwrap();
    let mut by_details = BTreeSet::new();
    for details in mappers.iter().filter_map(|mapper| mapper["headers_to_add"][0]["header"]["value"].as_str())
    {
        let bytes = STANDARD_NO_PAD.decode(details).unwrap();
        let status: Status = prost::Message::decode(bytes.as_slice()).unwrap();
        let says = status.get_details_error_info().unwrap();
        assert_eq!(says.domain, "capecontrol");
        by_details.insert((status.code, says.reason, status.message));
    }
    let mut by_json = BTreeSet::new();
    for body in mappers.iter().map(|mapper| &mapper["body_format_override"]["json_format"]) {
        let Some(name) = body["details"][0]["reason"].as_str() else { continue };
        let registered = reason(name).unwrap_or_else(|| panic!("{name} is not registered"));
        let code: i32 = format!("{:.0}", body["code"].as_f64().unwrap()).parse().unwrap();
        assert_eq!(format!("{:?}", tonic::Code::from(code)), format!("{:?}", registered.code), "{name}");
        by_json.insert((code, name.to_owned(), body["message"].as_str().unwrap().to_owned()));
    }
    let of_grpc: BTreeSet<_> =
        by_json.iter().filter(|(_, _, message)| message != "%LOCAL_REPLY_BODY%").cloned().collect();
    assert_eq!(by_details, of_grpc, "what gRPC callers are told, and what JSON callers are told");
}

/// Every address of the shim for clients is routed.
pub(super) async fn of_the_routes_with_the_shim(edge: &Edge) {
    let mut seen = 0;
    for source in source::read(Path::new(env!("CARGO_MANIFEST_DIR")), "src", &["rs"]) {
        if !source.path.starts_with("src/http") {
            continue;
        }
        for route in source.text.split(".route(\"").skip(1) {
            let (path, handler) = route.split_once("\", ").unwrap();
            let method = if handler.starts_with("post") { http::Method::POST } else { http::Method::GET };
            let answer = edge.http.request(method, format!("{}{path}", edge.url)).send().await.unwrap();
            // Only the server says what its answer varies with.
            let routed = answer.headers().contains_key("vary");
            assert_eq!(routed, path != "/metrics", "{path}: {}", answer.status());
            seen += 1;
        }
    }
    assert!(seen > 9, "{seen}");
}
