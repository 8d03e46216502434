//! A person with an account, and the administrator who looks after the books.

use capecontrol::app::{self, Console, real};
use capecontrol::auth::Caller;
use capecontrol::auth::service::CreateAdministrator;
use capecontrol::base::Secret;
use capecontrol::db::Access;
use capecontrol::proto::capecontrol::auth::v1::account_service_client::AccountServiceClient;
use capecontrol::proto::capecontrol::auth::v1::auth_service_client::AuthServiceClient;
use capecontrol::proto::capecontrol::auth::v1::{
    GetAccountRequest, IssuedSession, LoginRequest, RegisterRequest, SessionTransport, login_response,
};
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use crate::platform::Platform;
use crate::{Failure, step, verify};

const PASSWORD: &str = "a table by the mountain";

/// Puts the access token on every call.
#[derive(Clone)]
pub(crate) struct Bearer(MetadataValue<Ascii>);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, tonic::Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A connection with a token.
pub(crate) type Signed = InterceptedService<Channel, Bearer>;

pub(crate) struct Customer {
    pub(crate) account_id: String,
    bearer: Bearer,
    channel: Channel,
}

impl Customer {
    pub(crate) async fn sign_up(platform: &Platform) -> Result<Self, Failure> {
        // A database that was used before has other people in it.
        let email = format!("thandi.{}@example.com", uuid_of_now().simple());
        step(2, "Register and sign in");
        let mut auth = AuthServiceClient::new(platform.channel.clone());
        auth.register(RegisterRequest {
            email: email.clone(),
            password: PASSWORD.to_owned(),
            display_name: "Thandi".to_owned(),
            accepted_terms_version: platform.app.config().auth.terms_version.clone(),
            request_id: uuid_of_now().to_string(),
            ..RegisterRequest::default()
        })
        .await?;
        println!("     registered {email}");
        let session = sign_in(platform, &email, PASSWORD).await?;
        let customer = Self::with(platform, &session)?;
        let answer = AccountServiceClient::new(customer.signed()).get_account(GetAccountRequest {}).await?;
        let account = answer.into_inner().account.unwrap_or_default();
        println!("     signed in as {} ({})", account.display_name, account.id);
        verify(account.email == email, "the access token tells whose account it is")?;
        Ok(customer)
    }

    /// The first administrator, with the one-time password from the data folder.
    pub(crate) async fn administrator(platform: &Platform) -> Result<Option<Self>, Failure> {
        let Some(email) = platform.app.administrator().await? else { return Ok(None) };
        let file = app::one_time_password_file(platform.app.config());
        let password = std::fs::read_to_string(&file)?;
        let session = sign_in(platform, &email, password.trim()).await?;
        verify(!file.exists(), "the administrator's one-time password file is gone after the first sign-in")?;
        Self::with(platform, &session).map(Some)
    }

    /// One more administrator, made as the command line makes them.
    pub(crate) async fn colleague(platform: &Platform) -> Result<Self, Failure> {
        let email = format!("sipho.{}@example.com", uuid_of_now().simple());
        let console = Console::open(platform.app.config(), real::world(), Access::Write).await?;
        let password = Some(Secret::new(PASSWORD.to_owned()));
        let command = CreateAdministrator { email: email.clone(), password };
        let made = console.auth.create_administrator(&Caller::system("demo"), command, |_| Ok(())).await;
        console.db.close().await;
        made?;
        Self::with(platform, &sign_in(platform, &email, PASSWORD).await?)
    }

    pub(crate) fn signed(&self) -> Signed {
        InterceptedService::new(self.channel.clone(), self.bearer.clone())
    }

    pub(crate) fn bearer(&self) -> Bearer {
        self.bearer.clone()
    }

    fn with(platform: &Platform, session: &IssuedSession) -> Result<Self, Failure> {
        Ok(Self {
            account_id: session.account.as_ref().map(|account| account.id.clone()).unwrap_or_default(),
            bearer: Bearer(format!("Bearer {}", session.access_token).parse()?),
            channel: platform.channel.clone(),
        })
    }
}

async fn sign_in(platform: &Platform, email: &str, password: &str) -> Result<IssuedSession, Failure> {
    let request = LoginRequest {
        email: email.to_owned(),
        password: password.to_owned(),
        session_transport: SessionTransport::Token.into(),
        request_id: String::new(),
    };
    let answer = AuthServiceClient::new(platform.channel.clone()).login(request).await?;
    match answer.into_inner().result {
        Some(login_response::Result::Session(session)) => Ok(session),
        None => Err("the sign-in was answered without a session".into()),
    }
}

/// A fresh id for a request.
pub(crate) fn uuid_of_now() -> uuid::Uuid {
    capecontrol::app::real::world().id::<Customer>().uuid()
}
