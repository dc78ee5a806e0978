//! TCP connections that a test can break: each link is a proxy with an address that stays, wherever its target listens.
//!
//! Links live on a thread of their own, so that a test that computes does not hold up what it tests.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};

/// What a link does with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Open,
    /// Connections are reset, and so are new ones.
    Refused,
    /// Nothing passes and nothing ends, as if every packet were lost on the way.
    Silent,
}

/// The thread on which links live; they end with it.
pub struct Links {
    runtime: Handle,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// One proxy.
pub struct Link {
    /// Where it accepts.
    pub address: SocketAddr,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy)]
struct State {
    target: Option<SocketAddr>,
    way: Way,
    /// How often the link was cut: a connection ends when it is no longer what it was at its beginning.
    cuts: u64,
}

/// How long the way to a target may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

impl Links {
    pub fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime needs little");
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        let thread = thread::spawn(move || {
            // Either somebody says so, or nobody is left who could.
            let _ = runtime.block_on(ended);
        });
        Self {
            runtime: handle,
            end: Some(end),
            thread: Some(thread),
        }
    }

    /// A link that leads nowhere yet.
    pub fn add(&self) -> Link {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener.expect("the system has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let set = listener.set_nonblocking(true);
        set.expect("a listener may be asynchronous");
        let state = watch::Sender::new(State {
            target: None,
            way: Way::Open,
            cuts: 0,
        });
        let states = state.subscribe();
        self.runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("this is in a runtime");
            accept(listener, states).await;
        });
        Link { address, state }
    }
}

impl Default for Links {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Link {
    /// Leads new connections to `target`.
    pub fn lead_to(&self, target: SocketAddr) {
        self.state.send_modify(|state| state.target = Some(target));
    }

    /// Resets all connections; new ones are served as before.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    pub fn set(&self, way: Way) {
        self.state.send_modify(|state| state.way = way);
    }
}

async fn accept(listener: TcpListener, states: watch::Receiver<State>) {
    loop {
        // It fails when there are no file descriptors left; a connection less will do.
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        if states.has_changed().is_err() {
            return;
        }
        tokio::spawn(carry(client, states.clone()));
    }
}

/// Returns when connections that began at `cuts` have to end.
async fn is_cut(mut states: watch::Receiver<State>, cuts: u64) {
    let _ = states
        .wait_for(|state| state.way == Way::Refused || state.cuts != cuts)
        .await;
}

/// Returns when something may pass. False: the link is no more.
async fn is_open(states: &mut watch::Receiver<State>) -> bool {
    states
        .wait_for(|state| state.way == Way::Open)
        .await
        .is_ok()
}

/// Carries bytes both ways until one side ends or the link is cut.
async fn carry(mut client: TcpStream, states: watch::Receiver<State>) {
    let cuts = states.borrow().cuts;
    let server = tokio::select! {
        server = connect(states.clone()) => server,
        () = is_cut(states.clone(), cuts) => None,
    };
    let Some(mut server) = server else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let cut = tokio::select! {
        () = pump(from_client, to_server, states.clone()) => false,
        () = pump(from_server, to_client, states.clone()) => false,
        () = is_cut(states.clone(), cuts) => true,
    };
    if cut {
        // A reset, not an orderly end: nothing on its way arrives.
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    }
}

async fn connect(mut states: watch::Receiver<State>) -> Option<TcpStream> {
    if !is_open(&mut states).await {
        return None;
    }
    let target = states.borrow().target?;
    let server = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(target)).await;
    server.ok()?.ok()
}

async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut states: watch::Receiver<State>) {
    let mut bytes = vec![0; 16 * 1024];
    while is_open(&mut states).await {
        let read = match from.read(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        if !is_open(&mut states).await || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
