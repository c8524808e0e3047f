//! A gRPC server that can misbehave below gRPC: on HTTP/2 itself.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::{BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// One call as it came.
#[derive(Debug)]
pub(crate) struct Call {
    /// `NodePublishVolume`.
    pub(crate) method: String,
    /// The message, as bytes.
    pub(crate) message: Vec<u8>,
    /// The `:authority` of the request.
    pub(crate) authority: String,
}

/// What is done with it.
#[derive(Debug)]
pub(crate) enum Answer {
    /// OK and these bytes.
    Ok(Vec<u8>),
    /// Another status: its number in gRPC, and words.
    Refuse(u32, String),
    /// The same with `grpc-status-details-bin`, in base64.
    Details(u32, &'static str),
    /// The stream is reset.
    Reset,
    /// The connection is closed.
    HangUp,
    /// Nothing, for ever.
    Never,
    /// The whole driver is gone; its socket file stays.
    Die,
}

/// What answers.
pub(crate) type Driver = Arc<dyn Fn(&Call) -> Answer + Send + Sync>;

/// A driver that listens, in a thread of its own, until it is dropped.
pub(crate) struct Server {
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens at this path from now on.
    pub(crate) fn start(socket: &Path, driver: Driver) -> Result<Self, Box<dyn Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = {
            let _in = runtime.enter();
            UnixListener::bind(socket)?
        };
        let stop = Arc::new(Notify::new());
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, driver) => {}
                    () = stopped.notified() => {}
                }
            });
        });
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.notify_one();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Serves until the driver dies.
pub(crate) async fn serve(listener: UnixListener, driver: Driver) {
    let (die, mut dead) = watch::channel(false);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                connections.spawn(connection(stream, driver.clone(), die.clone()));
            }
            _ = dead.changed() => return,
        }
    }
}

async fn connection(stream: UnixStream, driver: Driver, die: watch::Sender<bool>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    let hang_up = Arc::new(Notify::new());
    let mut calls = JoinSet::new();
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(Ok((request, respond))) = accepted else { return };
                calls.spawn(call(request, respond, driver.clone(), hang_up.clone(), die.clone()));
            }
            () = hang_up.notified() => return,
        }
    }
}

async fn call(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    driver: Driver,
    hang_up: Arc<Notify>,
    die: watch::Sender<bool>,
) {
    let (head, mut body) = request.into_parts();
    let mut sent = Vec::new();
    while let Some(Ok(chunk)) = body.data().await {
        let _ = body.flow_control().release_capacity(chunk.len());
        sent.extend_from_slice(&chunk);
    }
    let method = head.uri.path().rsplit('/').next().unwrap_or_default();
    let call = Call {
        method: method.to_owned(),
        // A flag and the length come first.
        message: sent.get(5..).unwrap_or_default().to_vec(),
        authority: head
            .uri
            .authority()
            .map(ToString::to_string)
            .unwrap_or_default(),
    };
    match driver(&call) {
        Answer::Ok(message) => answer(&mut respond, &message),
        Answer::Refuse(code, words) => refuse(&mut respond, code, &words, None),
        Answer::Details(code, details) => refuse(&mut respond, code, "", Some(details)),
        Answer::Reset => respond.send_reset(h2::Reason::INTERNAL_ERROR),
        Answer::HangUp => hang_up.notify_one(),
        Answer::Never => std::future::pending().await,
        Answer::Die => drop(die.send(true)),
    }
}

fn head() -> Response<()> {
    let mut head = Response::new(());
    let grpc = http::HeaderValue::from_static("application/grpc");
    head.headers_mut().insert("content-type", grpc);
    head
}

/// A client that went away needs no answer.
fn answer(respond: &mut SendResponse<Bytes>, message: &[u8]) {
    let Ok(mut stream) = respond.send_response(head(), false) else {
        return;
    };
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    let _ = stream.send_data(framed.freeze(), false);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", 0.into());
    let _ = stream.send_trailers(trailers);
}

fn refuse(
    respond: &mut SendResponse<Bytes>,
    code: u32,
    words: &str,
    details: Option<&'static str>,
) {
    let mut head = head();
    head.headers_mut().insert("grpc-status", code.into());
    if let Ok(words) = http::HeaderValue::from_str(&percent(words)) {
        head.headers_mut().insert("grpc-message", words);
    }
    if let Some(details) = details {
        let details = http::HeaderValue::from_static(details);
        head.headers_mut()
            .insert("grpc-status-details-bin", details);
    }
    let _ = respond.send_response(head, true);
}

/// As gRPC writes a message into a header.
fn percent(words: &str) -> String {
    let plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'%';
    words
        .bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}
