//! What a person's browser does: posts forms, reads pages, and watches a thread by gRPC-Web over HTTP/1.1.

use capecontrol::proto::capecontrol::chat::v1::chat_service_client::ChatServiceClient;
use http::header::{CONTENT_TYPE, LOCATION};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tonic::body::Body;
use tonic::service::interceptor::InterceptedService;
use tonic_web::{GrpcWebCall, GrpcWebClientLayer, GrpcWebClientService};
use tower::Layer as _;

use crate::Failure;
pub(crate) use crate::customer::Bearer;

pub(crate) struct Browser(reqwest::Client);

/// A page with one form on it.
pub(crate) struct Page {
    pub(crate) title: String,
    action: String,
    fields: Vec<(String, String)>,
}

impl Browser {
    pub(crate) fn new() -> Result<Self, Failure> {
        let redirect = reqwest::redirect::Policy::none();
        Ok(Self(reqwest::Client::builder().redirect(redirect).no_proxy().build()?))
    }

    pub(crate) async fn post(&self, url: &str, fields: &[(&str, &str)]) -> Result<Page, Failure> {
        let response = self.send(url, fields).await?.error_for_status()?;
        Ok(Page::read(&response.text().await?))
    }

    pub(crate) async fn put(&self, url: &str, json: &'static str) -> Result<(), Failure> {
        let request = self.0.put(url).header(CONTENT_TYPE, "application/json").body(json);
        request.send().await?.error_for_status()?;
        Ok(())
    }

    pub(crate) async fn delete(&self, url: &str) -> Result<(), Failure> {
        self.0.delete(url).send().await?.error_for_status()?;
        Ok(())
    }

    /// Presses the button `value` of the page's form, and tells where the browser is sent.
    pub(crate) async fn press(&self, page: &Page, value: &str) -> Result<String, Failure> {
        let mut fields: Vec<_> =
            page.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        fields.push(("simulator_action", value));
        let response = self.send(&page.action, &fields).await?.error_for_status()?;
        let location = response.headers().get(LOCATION).ok_or("PayFast's page sent the browser nowhere")?;
        Ok(location.to_str()?.to_owned())
    }

    async fn send(&self, url: &str, fields: &[(&str, &str)]) -> Result<reqwest::Response, Failure> {
        let pairs: Vec<_> =
            fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        let request = self.0.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        Ok(request.body(pairs.join("&")).send().await?)
    }
}

impl Page {
    fn read(html: &str) -> Self {
        let inputs = html.split("<input type=\"hidden\" ").skip(1);
        let fields = inputs.map(|input| (attribute(input, "name"), attribute(input, "value"))).collect();
        let title = html.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
        let form = html.split_once("<form ").map_or("", |(_, rest)| rest);
        Self {
            title: title.map_or("", |(title, _)| title).to_owned(),
            action: attribute(form, "action"),
            fields,
        }
    }
}

/// The value of an attribute, as a browser understands it.
fn attribute(tag: &str, name: &str) -> String {
    let value = tag.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split_once('"'));
    let value = value.map_or("", |(value, _)| value);
    value
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

/// Encodes a value as browsers do in forms: what needs no encoding and what does is the same for a server.
fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

type Web = GrpcWebClientService<Client<HttpConnector, GrpcWebCall<Body>>>;

/// The chat service as a browser reaches it.
pub(crate) fn chat(
    url: &str,
    bearer: Bearer,
) -> Result<ChatServiceClient<InterceptedService<Web, Bearer>>, Failure> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let web = GrpcWebClientLayer::new().layer(client);
    Ok(ChatServiceClient::with_origin(InterceptedService::new(web, bearer), url.parse()?))
}
