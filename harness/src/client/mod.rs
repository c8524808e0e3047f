//! What did we send, what came back, how long did it take?
//!
//! One client for all services. Every call has a deadline, goes over a
//! connection of its own (as the kubelet makes them), and is recorded with its
//! secrets masked. What a driver says is never taken for truth about the node.

mod codec;
mod connect;
mod history;
mod record;
mod reply;
mod secrets;

pub use connect::{Connection, NoConnection};
pub use history::{Death, Excuse, History, InFlight, Missed};
pub use record::CallRecord;
pub use reply::{Answer, Code, Refusal, Reply};

use codec::Raw;
use csi_proto::describe;
use csi_proto::rpc::Rpc;
use http::uri::PathAndQuery;
use prost::Message as _;
use secrets::Secrets;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Endpoint;

/// How long a call may take: the kubelet's two minutes, unless the user says
/// otherwise, for all methods or for one.
#[derive(Debug, Clone)]
pub struct Deadlines {
    /// Where nothing is said of the method.
    pub default: Duration,
    /// By the method's name, e.g. `NodeStageVolume`.
    pub by_rpc: BTreeMap<String, Duration>,
}

impl Deadlines {
    /// The deadline of a method.
    pub fn of(&self, rpc: &str) -> Duration {
        self.by_rpc.get(rpc).copied().unwrap_or(self.default)
    }
}

/// The client of one run. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    controller: Option<Endpoint>,
    node: Option<Endpoint>,
    deadlines: Arc<Deadlines>,
    history: Arc<History>,
    /// The values that must not come back.
    secrets: Arc<Secrets>,
}

impl Client {
    /// A client for a driver whose services stand on these sockets; usually
    /// both are the same one. Nothing is connected yet.
    pub fn new(
        controller: Option<Endpoint>,
        node: Option<Endpoint>,
        deadlines: Deadlines,
        history: Arc<History>,
        secrets: Vec<String>,
    ) -> Self {
        Self {
            controller,
            node,
            deadlines: Arc::new(deadlines),
            history,
            secrets: Arc::new(Secrets::new(secrets)),
        }
    }

    /// Secrets that are none to whoever reads: they stand in what is sent for all to see,
    /// or the driver says them of itself.
    pub fn open_secrets(&self) -> BTreeSet<String> {
        self.secrets.open()
    }

    /// What was called in this run, and what came of it.
    pub fn history(&self) -> &Arc<History> {
        &self.history
    }

    /// Where a service is asked. Identity stands on every socket; it is asked
    /// at the node's where there is one.
    pub fn endpoint(&self, service: &str) -> Option<&Endpoint> {
        match service {
            "Node" => self.node.as_ref(),
            "Identity" => self.node.as_ref().or(self.controller.as_ref()),
            _ => self.controller.as_ref(),
        }
    }

    /// All sockets of the driver, each once.
    pub fn endpoints(&self) -> Vec<&Endpoint> {
        let mut all: Vec<_> = self.node.iter().chain(self.controller.iter()).collect();
        all.dedup();
        all
    }

    /// The deadline of a method.
    pub fn deadline(&self, rpc: &str) -> Duration {
        self.deadlines.of(rpc)
    }

    /// The longest deadline of all.
    pub fn longest_deadline(&self) -> Duration {
        let all = self.deadlines.by_rpc.values().copied();
        all.chain([self.deadlines.default])
            .max()
            .unwrap_or_default()
    }

    /// Asks once, and waits for the answer or the deadline. Never fails: what
    /// happened instead of an answer is an [`Answer`] too.
    pub async fn call<R: Rpc>(&self, check: &str, request: &R::Request) -> Reply<R::Response> {
        self.call_at::<R>(
            self.endpoint(R::SERVICE),
            check,
            request,
            self.deadline(R::NAME),
        )
        .await
    }

    /// The same at a socket of one's choice, with a deadline of one's choice.
    pub async fn call_at<R: Rpc>(
        &self,
        endpoint: Option<&Endpoint>,
        check: &str,
        request: &R::Request,
        deadline: Duration,
    ) -> Reply<R::Response> {
        let patience = Given {
            wait: deadline,
            told: deadline,
            excuse: Excuse::Nothing,
        };
        self.send::<R>(endpoint, check, request, patience).await
    }

    /// Asks while something that the driver depends on is broken by us: no answer
    /// by the deadline is no finding of the run's, but the caller's to judge.
    pub async fn call_into_fault<R: Rpc>(
        &self,
        check: &str,
        request: &R::Request,
        deadline: Duration,
    ) -> Reply<R::Response> {
        let patience = Given {
            wait: deadline,
            told: deadline,
            excuse: Excuse::Silence,
        };
        self.send::<R>(self.endpoint(R::SERVICE), check, request, patience)
            .await
    }

    /// Asks, and gives the call up after so long, as a caller does that is cancelled:
    /// the connection is closed, and the driver was told of the usual deadline. Or
    /// the driver is killed or frozen by us meanwhile. That there is no answer is no
    /// finding of the run's.
    pub async fn call_interrupted<R: Rpc>(
        &self,
        check: &str,
        request: &R::Request,
        after: Option<Duration>,
    ) -> Reply<R::Response> {
        let told = self.deadline(R::NAME);
        let patience = Given {
            wait: after.unwrap_or(told),
            told,
            excuse: Excuse::NoAnswer,
        };
        self.send::<R>(self.endpoint(R::SERVICE), check, request, patience)
            .await
    }

    async fn send<R: Rpc>(
        &self,
        endpoint: Option<&Endpoint>,
        check: &str,
        request: &R::Request,
        given: Given,
    ) -> Reply<R::Response> {
        let deadline = given.wait;
        let sent = request.encode_to_vec();
        let masked = describe::to_json(R::REQUEST, &sent).unwrap_or_default();
        self.secrets.sent(&sent, &masked);
        let (n, at_ms) = self.history.begin(R::NAME, check, given.excuse);
        let began = Instant::now();
        let got = match endpoint {
            None => Err(Answer::Unreachable(
                "no socket is configured for this service".into(),
            )),
            Some(endpoint) => {
                match tokio::time::timeout(deadline, self.exchange::<R>(endpoint, sent, given.told))
                    .await
                {
                    Ok(got) => got,
                    Err(_) => Err(Answer::Silent(deadline)),
                }
            }
        };
        let duration = began.elapsed();
        let (answer, response) = match got {
            Ok(bytes) => read_response::<R>(&bytes),
            // A server that honours the deadline may tell of it just before
            // our own clock does.
            Err(Answer::Refused(refusal)) if duration >= deadline && refusal.code.is_deadline() => {
                (Answer::Silent(deadline), serde_json::Value::Null)
            }
            Err(answer) => (answer, serde_json::Value::Null),
        };
        let record = CallRecord {
            n,
            check: check.to_owned(),
            rpc: R::NAME.to_owned(),
            at_ms,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            request: masked,
            code: given.code_word(&answer),
            message: given.message(&answer),
            response,
        };
        if self.secrets.come_back(&record.message, &record.response) {
            self.history.leaked(&record);
        }
        self.history.end(&record, &answer.erase());
        Reply { record, answer }
    }

    async fn exchange<R: Rpc>(
        &self,
        endpoint: &Endpoint,
        sent: Vec<u8>,
        deadline: Duration,
    ) -> Result<Vec<u8>, Answer<R::Response>> {
        let connection = Connection::open(endpoint)
            .await
            .map_err(|no| Answer::Unreachable(no.to_string()))?;
        self.history.saw_peer(connection.peer);
        let mut grpc = tonic::client::Grpc::new(connection.channel);
        grpc.ready()
            .await
            .map_err(|e| Answer::Broken(connect::chain(&e)))?;
        let mut request = tonic::Request::new(sent);
        // The server is told a moment more than we wait, so that it is our clock
        // that ends the call, and not the library's.
        request.set_timeout(deadline + Duration::from_millis(500));
        match grpc
            .unary(request, PathAndQuery::from_static(R::PATH), Raw)
            .await
        {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(reply::read_status(&status)),
        }
    }
}

/// How long a call is given, and what is excused of it.
#[derive(Debug, Clone, Copy)]
struct Given {
    /// How long we wait.
    wait: Duration,
    /// How long we wait as far as the driver knows.
    told: Duration,
    excuse: Excuse,
}

impl Given {
    /// Whether a call came to no answer, and that is our doing.
    fn is_cut<T>(self, answer: &Answer<T>) -> bool {
        let none = matches!(
            answer,
            Answer::Silent(_) | Answer::Broken(_) | Answer::Unreachable(_)
        );
        self.excuse == Excuse::NoAnswer && none
    }

    fn code_word<T>(self, answer: &Answer<T>) -> String {
        match self.is_cut(answer) {
            true => "cut".to_owned(),
            false => answer.code_word(),
        }
    }

    fn message<T>(self, answer: &Answer<T>) -> String {
        match answer {
            Answer::Silent(after) if self.is_cut(answer) => {
                format!("we gave it up after {after:?}")
            }
            Answer::Broken(why) | Answer::Unreachable(why) if self.is_cut(answer) => {
                format!("we killed the driver meanwhile: {why}")
            }
            answer => answer.message(),
        }
    }
}

fn read_response<R: Rpc>(bytes: &[u8]) -> (Answer<R::Response>, serde_json::Value) {
    match R::Response::decode(bytes) {
        Ok(message) => {
            let json = describe::to_json(R::RESPONSE, bytes).unwrap_or_default();
            (Answer::Ok(message), json)
        }
        Err(error) => {
            let garbled = format!("the answer is no {}: {error}", R::RESPONSE);
            (Answer::Garbled(garbled), serde_json::Value::Null)
        }
    }
}
