//! What a client's machine does not do itself: streams and calls, natively or as a browser has them, to a node that may
//! be gone. Lines break, answers are lost and calls come twice, by a seed.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use capecontrol::base::World;
use capecontrol::proto::capecontrol::auth::v1::RefreshSessionRequest;
use capecontrol::proto::capecontrol::auth::v1::auth_service_client::AuthServiceClient;
use capecontrol::proto::capecontrol::chat::v1 as wire;
use capecontrol::proto::capecontrol::chat::v1::chat_service_client::ChatServiceClient;
use capecontrol_client::chat::Input;
use capecontrol_client::chat::words::{
    ClientMessageId, Draft, MessageId, Receipt, Refusal, Status, StreamNumber, Transport, Word,
};
use futures_util::future::join_all;
use futures_util::{Stream, StreamExt as _};
use http::{HeaderMap, HeaderValue};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status as Refused};

use super::deeds::{Act, Deed, Done};
use super::translate;
use crate::support::app::Bearer;
use crate::support::grpc_web::{self, Answer};

const CHAT: &str = "/capecontrol.chat.v1.ChatService";
/// How long a call, or the making of a connection, may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Of so many streams one breaks, by the client's own bad network.
const BREAKS_ONE_IN: u64 = 3;
/// After how many frames at most.
const BREAKS_AFTER: u64 = 400;
/// Of so many calls one gets no answer, though it was carried out.
const LOST_ONE_IN: u64 = 40;
/// Of so many messages one comes twice.
const TWICE_ONE_IN: u64 = 20;
/// Within how long a deed that was not answered is tried again.
const AGAIN_WITHIN_MILLIS: u64 = 300;

/// Where the nodes are, as a balancer knows it: that one of them is gone it knows only when another is there.
pub type Addresses = RwLock<Vec<String>>;

/// What happens to a client.
pub enum Heard {
    Input(Input),
    Frame(StreamNumber, Box<wire::server_frame::Frame>),
    /// What became of a deed; else what is wrong with that.
    Did(Act, Result<Done, String>),
}

/// The tokens of somebody's session.
#[derive(Clone)]
pub struct Tokens {
    pub access: String,
    pub refresh: String,
}

/// A client's way to the nodes.
#[derive(Clone)]
pub struct Line {
    pub kind: Transport,
    pub addresses: Arc<Addresses>,
    pub tokens: Arc<Mutex<Tokens>>,
    pub heard: UnboundedSender<Heard>,
    /// Counts what is opened and called, so that each goes to the next node.
    pub turn: Arc<AtomicUsize>,
    pub http: reqwest::Client,
    pub dice: World,
}

/// A stream; dropped, it is gone.
pub struct Opened {
    pub number: StreamNumber,
    words: UnboundedSender<wire::ConverseRequest>,
    _task: JoinSet<()>,
}

impl Opened {
    /// Says a frame on it. Now and then the network says it twice.
    pub fn say(&self, word: Word, dice: &World) {
        let times = if matches!(word, Word::Send(_)) && dice.below(TWICE_ONE_IN) == 0 { 2 } else { 1 };
        let frame = translate::word(word);
        for _ in 0..times {
            // A stream that has ended says so by itself.
            let _ended = self.words.send(wire::ConverseRequest { frame: Some(frame.clone()) });
        }
    }
}

impl Line {
    fn address(&self) -> String {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let addresses = self.addresses.read().unwrap();
        addresses[turn % addresses.len()].clone()
    }

    fn token(&self) -> String {
        self.tokens.lock().unwrap().access.clone()
    }

    fn tell(&self, input: Input) {
        // A client that has finished hears nothing.
        let _finished = self.heard.send(Heard::Input(input));
    }

    /// Opens a stream. What comes on it is told, and its end.
    pub fn open(&self, number: StreamNumber, request: wire::SubscribeRequest) -> Opened {
        let (words, said) = mpsc::unbounded_channel();
        let breaks = self.dice.below(BREAKS_ONE_IN) == 0;
        let frames = if breaks { 1 + self.dice.below(BREAKS_AFTER) } else { u64::MAX };
        let wire::SubscribeRequest { threads, watch_presence, account } = request.clone();
        let hello = wire::client_frame::Frame::Hello(wire::Hello { threads, watch_presence, account });
        let hello = wire::ClientFrame { request_id: String::new(), frame: Some(hello) };
        words.send(wire::ConverseRequest { frame: Some(hello) }).unwrap();
        let (line, address) = (self.clone(), self.address());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let end = match line.kind {
                Transport::Converse => line.converse(number, address, said, frames).await,
                Transport::Subscribe => line.subscribe(number, address, request, frames).await,
            };
            line.tell(Input::Closed(
                number,
                end.map_or_else(|status| translate::status(&status), |()| ended()),
            ));
        });
        Opened { number, words, _task: task }
    }

    async fn channel(&self, address: String) -> Result<Channel, Refused> {
        let endpoint = Endpoint::new(address).unwrap().connect_timeout(DEADLINE);
        endpoint.connect().await.map_err(|error| Refused::unavailable(error.to_string()))
    }

    async fn converse(
        &self,
        number: StreamNumber,
        address: String,
        said: UnboundedReceiver<wire::ConverseRequest>,
        frames: u64,
    ) -> Result<(), Refused> {
        let signed = InterceptedService::new(self.channel(address).await?, Bearer::new(&self.token()));
        let mut chat = ChatServiceClient::new(signed);
        let heard = chat.converse(UnboundedReceiverStream::new(said)).await?.into_inner();
        self.read(number, heard.map(|item| item.map(|item| item.frame)), frames).await
    }

    async fn subscribe(
        &self,
        number: StreamNumber,
        address: String,
        request: wire::SubscribeRequest,
        frames: u64,
    ) -> Result<(), Refused> {
        let method = format!("{CHAT}/Subscribe");
        let call = grpc_web::try_call(&self.http, &address, &method, self.headers(), &request);
        let answer = tokio::time::timeout(DEADLINE, call).await.map_err(|_elapsed| broken())?;
        let answer = answer.map_err(|error| Refused::unavailable(error.to_string()))?;
        if let Some(refused) = Refused::from_header_map(&answer.headers) {
            return Err(refused);
        }
        let heard = futures_util::stream::unfold(Some(answer), async |answer| {
            let mut answer = answer?;
            match next::<wire::SubscribeResponse>(&mut answer).await {
                Ok(Some(item)) => Some((Ok(item.frame), Some(answer))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        });
        self.read(number, heard, frames).await
    }

    /// Tells what comes, until the end, or until the network breaks.
    async fn read(
        &self,
        number: StreamNumber,
        heard: impl Stream<Item = Result<Option<wire::ServerFrame>, Refused>>,
        frames: u64,
    ) -> Result<(), Refused> {
        self.tell(Input::Opened(number));
        let mut heard = pin!(heard);
        let mut left = frames;
        while let Some(item) = heard.next().await {
            if let Some(frame) = item?.and_then(|frame| frame.frame) {
                let _finished = self.heard.send(Heard::Frame(number, Box::new(frame)));
            }
            left -= 1;
            if left == 0 {
                return Err(broken());
            }
        }
        Ok(())
    }

    fn headers(&self) -> HeaderMap {
        let bearer = HeaderValue::from_str(&format!("Bearer {}", self.token())).unwrap();
        HeaderMap::from_iter([(http::header::AUTHORIZATION, bearer)])
    }

    /// Calls SendMessage, at one node or, now and then, at two at once; now and then no answer comes.
    pub fn send(&self, calls: &mut JoinSet<()>, draft: Draft) {
        let times = if self.dice.below(TWICE_ONE_IN) == 0 { 2 } else { 1 };
        for _ in 0..times {
            let (line, draft, address) = (self.clone(), draft.clone(), self.address());
            let is_lost = self.dice.below(LOST_ONE_IN) == 0;
            calls.spawn(async move {
                let id = draft.client_message_id.clone();
                let answer = match line.call(address, draft).await {
                    Ok(_) if is_lost => Err(broken()),
                    answer => answer,
                };
                line.tell(match answer {
                    Ok(receipt) => Input::Answered(receipt),
                    Err(status) => Input::Rejected(refusal(id, &status)),
                });
            });
        }
    }

    async fn call(&self, address: String, draft: Draft) -> Result<Receipt, Refused> {
        let client_message_id = draft.client_message_id.clone();
        let request = wire::SendMessageRequest {
            thread_id: draft.thread.0,
            client_message_id: draft.client_message_id.0,
            text: draft.text,
            ..Default::default()
        };
        let answer: wire::SendMessageResponse = self.unary(&address, "SendMessage", &request).await?;
        let message = answer.message.unwrap();
        let (message_id, seq) = (MessageId(message.id), message.seq);
        Ok(Receipt { client_message_id, message_id, seq, duplicate: answer.duplicate })
    }

    /// Calls a method as a browser does.
    async fn unary<A: prost::Message + Default>(
        &self,
        address: &str,
        method: &str,
        request: &impl prost::Message,
    ) -> Result<A, Refused> {
        let method = format!("{CHAT}/{method}");
        let call = async {
            let call = grpc_web::try_call(&self.http, address, &method, self.headers(), request);
            let mut answer = call.await.map_err(|error| Refused::unavailable(error.to_string()))?;
            if let Some(refused) = Refused::from_header_map(&answer.headers) {
                return Err(refused);
            }
            next(&mut answer).await
        };
        let answer = tokio::time::timeout(DEADLINE, call).await.map_err(|_elapsed| broken())??;
        answer.ok_or_else(broken)
    }

    /// Has something done, at one node or, now and then, at two at once, again and again until it is answered. Every
    /// answer has to be the same.
    pub fn act(&self, calls: &mut JoinSet<()>, act: Act) {
        let line = self.clone();
        calls.spawn(async move {
            let done = line.act_until_answered(&act).await;
            let _finished = line.heard.send(Heard::Did(act, done));
        });
    }

    async fn act_until_answered(&self, act: &Act) -> Result<Done, String> {
        let mut answered = None;
        loop {
            let times = if self.dice.below(TWICE_ONE_IN) == 0 { 2 } else { 1 };
            let mut heard = false;
            for answer in join_all((0..times).map(|_| self.perform(act))).await {
                match answer {
                    Ok(done) if answered.is_some_and(|before| before != done) => {
                        return Err(format!("{act:?} is answered with {done:?} after {answered:?}"));
                    }
                    Ok(done) => {
                        answered = Some(done);
                        heard |= self.dice.below(LOST_ONE_IN) != 0;
                    }
                    Err(status) if may_be_done(&status) => {}
                    Err(status) => return Err(format!("{act:?} is refused: {status:?}")),
                }
            }
            if let Some(done) = answered.filter(|_| heard) {
                return Ok(done);
            }
            tokio::time::sleep(Duration::from_millis(self.dice.below(AGAIN_WITHIN_MILLIS))).await;
        }
    }

    async fn perform(&self, act: &Act) -> Result<Done, Refused> {
        let (address, thread_id, request_id) = (self.address(), act.thread.clone(), act.key.clone());
        let at = |seq| if seq == 0 { Done::Nothing } else { Done::At(seq) };
        let member = |guest: &String, role: wire::ThreadRole| wire::AddThreadMemberRequest {
            thread_id: act.thread.clone(),
            account_id: guest.clone(),
            role: role.into(),
            request_id: act.key.clone(),
        };
        let done = match act.deed.clone() {
            Deed::Edit { message: message_id, text } => {
                let request = wire::EditMessageRequest { message_id, text, request_id };
                let answer = self.unary::<wire::EditMessageResponse>(&address, "EditMessage", &request).await;
                answer.map(|answer| at(answer.seq))
            }
            Deed::Delete { message: message_id } => {
                let request = wire::DeleteMessageRequest { message_id, request_id };
                let answer =
                    self.unary::<wire::DeleteMessageResponse>(&address, "DeleteMessage", &request).await;
                answer.map(|answer| at(answer.seq))
            }
            Deed::React { message: message_id, emoji } => {
                let request = wire::AddReactionRequest { message_id, emoji: emoji.to_owned(), request_id };
                let answer = self.unary::<wire::AddReactionResponse>(&address, "AddReaction", &request).await;
                answer.map(|answer| at(answer.seq))
            }
            Deed::Unreact { message: message_id, emoji } => {
                let request = wire::RemoveReactionRequest { message_id, emoji: emoji.to_owned(), request_id };
                let answer =
                    self.unary::<wire::RemoveReactionResponse>(&address, "RemoveReaction", &request).await;
                answer.map(|answer| at(answer.seq))
            }
            Deed::Rename { title } => {
                let thread = Some(wire::Thread { title, ..Default::default() });
                let request =
                    wire::UpdateThreadRequest { thread_id, thread, request_id, ..Default::default() };
                let answer =
                    self.unary::<wire::UpdateThreadResponse>(&address, "UpdateThread", &request).await;
                answer.map(|_| Done::Somewhere)
            }
            Deed::Invite { guest } => {
                let request = member(&guest, wire::ThreadRole::Member);
                let answer =
                    self.unary::<wire::AddThreadMemberResponse>(&address, "AddThreadMember", &request);
                answer.await.map(|_| Done::Somewhere)
            }
            Deed::Demote { guest } => {
                let request = member(&guest, wire::ThreadRole::Reader);
                let answer =
                    self.unary::<wire::AddThreadMemberResponse>(&address, "AddThreadMember", &request);
                answer.await.map(|_| Done::Somewhere)
            }
            Deed::Dismiss { guest: account_id } => {
                let request = wire::RemoveThreadMemberRequest { thread_id, account_id, request_id };
                let answer =
                    self.unary::<wire::RemoveThreadMemberResponse>(&address, "RemoveThreadMember", &request);
                answer.await.map(|_| Done::Somewhere)
            }
            Deed::Read { seq: up_to_seq } => {
                let request = wire::MarkReadRequest { thread_id, up_to_seq };
                let answer = self.unary::<wire::MarkReadResponse>(&address, "MarkRead", &request).await;
                answer.map(|_| Done::Somewhere)
            }
        };
        match done {
            Err(status) if translate::status(&status).reason == "MESSAGE_DELETED" => Ok(Done::Nothing),
            done => done,
        }
    }

    /// Refreshes the session.
    pub fn refresh(&self, calls: &mut JoinSet<()>) {
        let (line, address) = (self.clone(), self.address());
        calls.spawn(async move {
            let outcome = tokio::time::timeout(DEADLINE, line.refreshed(address)).await;
            line.tell(match outcome {
                Ok(Ok(())) => Input::TokenRefreshed,
                Ok(Err(status)) if status.code() == Code::Unauthenticated => {
                    Input::RefreshRefused { reason: translate::status(&status).reason }
                }
                Ok(Err(_)) | Err(_) => Input::RefreshFailed,
            });
        });
    }

    async fn refreshed(&self, address: String) -> Result<(), Refused> {
        let refresh_token = self.tokens.lock().unwrap().refresh.clone();
        let request = RefreshSessionRequest { refresh_token, ..Default::default() };
        let mut auth = AuthServiceClient::new(self.channel(address).await?);
        let session = auth.refresh_session(request).await?.into_inner().session.unwrap();
        let tokens = Tokens { access: session.access_token, refresh: session.refresh_token };
        *self.tokens.lock().unwrap() = tokens;
        Ok(())
    }
}

/// The next message of an answer; none when it ended well.
async fn next<M: prost::Message + Default>(answer: &mut Answer) -> Result<Option<M>, Refused> {
    match answer.try_message::<M>().await {
        Ok(Some(message)) => Ok(Some(message)),
        Ok(None) => match answer.trailers.as_ref().and_then(Refused::from_header_map) {
            Some(status) if status.code() == Code::Ok => Ok(None),
            Some(status) => Err(status),
            None => Err(broken()),
        },
        Err(error) => Err(Refused::unavailable(error.to_string())),
    }
}

fn broken() -> Refused {
    Refused::unavailable("the line is broken")
}

fn ended() -> Status {
    Status { code: 0, reason: String::new(), retry_after: 0 }
}

/// A call that failed. What was never answered may succeed later.
fn refusal(id: ClientMessageId, status: &Refused) -> Refusal {
    let retryable = may_come_through(status);
    Refusal { request_id: id.0, status: translate::status(status), retryable }
}

fn may_come_through(status: &Refused) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Aborted | Code::ResourceExhausted | Code::DeadlineExceeded
    )
}

/// Whether a deed may be done yet. A token that has expired is replaced as soon as the stream finds out.
fn may_be_done(status: &Refused) -> bool {
    may_come_through(status) || translate::status(status).reason == "TOKEN_EXPIRED"
}
