//! One chat node: its parts, the order in which they start, and how they stop.

use std::io::{self, IsTerminal};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use tokio::runtime::Handle;

use crate::api::Api;
use crate::api::keys::{self, Keys};
use crate::auth::{self, Auth};
use crate::broker::memory::{self, Memory};
use crate::broker::nats::account::{Account, Role};
use crate::broker::nats::{self, Nats};
use crate::broker::{Broker, NodeLoad, NodeState};
use crate::config::{BrokerKind, Config, History, Listening, Live, Servers};
use crate::ids::{RoomName, SessionId};
use crate::metrics::Metrics;
use crate::peer::LocalPeer;
use crate::presence::Presence;
use crate::rate::{Rate, RoomRates};
use crate::room::registry::{Registry, WorkerIndex};
use crate::session::users::UserSessions;
use crate::worker::emulated::{self, EmulationKey};
use crate::worker::{self, Event, Inbox};
use crate::{drain, http, reload};

/// What all parts of a node share.
pub struct Shared {
    /// What the node was started with. What may change since then is in `live`.
    pub config: Config,
    live: ArcSwap<Live>,
    pub metrics: Metrics,
    pub(crate) auth: Auth,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) presence: Arc<Presence>,
    pub(crate) room_rates: RoomRates,
    pub(crate) sessions: AtomicUsize,
    pub(crate) user_sessions: UserSessions,
    connects: Mutex<Rate>,
    /// Proves where sessions are whose commands come beside their connections.
    pub(crate) emulation_key: EmulationKey,
    started: Instant,
    /// Another one after each start.
    pub(crate) uid: String,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        metrics: Metrics,
        auth: Auth,
        broker: Arc<dyn Broker>,
        registry: Arc<Registry>,
        presence: Arc<Presence>,
    ) -> Self {
        presence.connect(&broker);
        Self {
            metrics,
            auth,
            broker,
            registry,
            presence,
            room_rates: RoomRates::default(),
            sessions: AtomicUsize::new(0),
            user_sessions: UserSessions::default(),
            connects: Mutex::default(),
            emulation_key: emulated::random_key(),
            started: Instant::now(),
            uid: SessionId::random().to_string(),
            live: ArcSwap::from_pointee(config.live()),
            config,
        }
    }

    /// The settings that may change while the node runs, as they are now. Costs no lock; hold it briefly, and one for
    /// all that has to agree.
    pub(crate) fn live(&self) -> Guard<Arc<Live>> {
        self.live.load()
    }

    /// Goes on with other settings.
    pub(crate) fn renew(&self, config: &Config) {
        let connections = config.limits.connections;
        if connections > self.live().limits.connections
            && let Err(error) = raise_file_descriptors(connections)
        {
            tracing::warn!("{error}");
        }
        self.metrics.connections_limit.set(connections as i64);
        self.live.store(Arc::new(config.live()));
    }

    /// Time since the node's start: the clock of deadlines and rates.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// `instant` by the node's clock.
    pub(crate) fn time_of(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.started)
    }

    pub(crate) fn allow_connect(&self) -> bool {
        let mut connects = self.connects.lock().expect("no panic holds this lock");
        connects.allow(self.now(), self.live().limits.connects_per_second)
    }

    /// A worker's first member of `room` is about to join: the feed must reach the worker before that.
    pub(crate) fn enter(&self, worker: WorkerIndex, room: &RoomName) {
        self.registry.enter(worker, room);
        self.broker.open(room);
    }

    /// A worker's last member has left `room`.
    pub(crate) fn leave(&self, worker: WorkerIndex, room: &RoomName) {
        self.broker.close(room);
        self.registry.leave(worker, room);
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address} for {what}; choose another address with {flag}")]
    Listen {
        what: &'static str,
        flag: &'static str,
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("failed to register the metrics")]
    Metrics(#[from] prometheus::Error),
    #[error(transparent)]
    ApiKeys(#[from] keys::Error),
    #[error(transparent)]
    Auth(#[from] auth::Error),
    #[error(transparent)]
    Nats(#[from] nats::account::Error),
    #[error("failed to start a worker thread")]
    Worker(#[source] io::Error),
    #[error("failed to start accepting connections")]
    Door(#[source] io::Error),
    #[error("failed to start the runtime")]
    Runtime(#[source] io::Error),
    #[error("only {limit} file descriptors allowed, at least {needed} needed; raise `ulimit -n`")]
    FileDescriptors { limit: u64, needed: u64 },
}

/// A node that listens and is ready to run.
pub struct Node {
    shared: Arc<Shared>,
    /// The embedded broker, if it is the one in use.
    memory: Option<Arc<Memory>>,
    inboxes: Vec<Inbox>,
    threads: Vec<JoinHandle<()>>,
    clients: TcpListener,
    admin: TcpListener,
    api: Option<ApiPort>,
}

/// The server API, which is off without a key.
struct ApiPort {
    listener: TcpListener,
    api: Api,
    keys: Arc<Keys>,
}

impl Node {
    /// Opens the ports, starts the workers and, within the runtime that this is called in, the broker. Nothing is
    /// accepted before `run`.
    pub fn start(config: Config) -> Result<Self, Error> {
        raise_file_descriptors(config.limits.connections)?;
        let Listening {
            listen,
            admin_listen,
            ..
        } = config.listening;
        // Longer than a member may lag, which is dealt with more kindly.
        let patience = UNACKNOWLEDGED.max(config.limits.backlog_age * 2);
        let clients = open(listen, patience, "clients", "--listen")?;
        let admin = open(admin_listen, patience, "the admin port", "--admin-listen")?;
        let api = match config.api() {
            Some((address, file)) => {
                let keys = Keys::open(file)?;
                Some((
                    open(address, patience, "the server API", "--api-listen")?,
                    keys,
                ))
            }
            None => None,
        };
        let registry = Arc::new(Registry::default());
        let metrics = Metrics::new(config.limits.connections)?;
        let presence = Presence::new(registry.clone(), metrics.presence.clone());
        let peer = Arc::new(LocalPeer::new(registry.clone(), presence.clone()));
        let auth = Auth::start(&config, &metrics.auth)?;
        let mut memory = None;
        let broker: Arc<dyn Broker> = match config.nats.broker() {
            BrokerKind::Memory => memory
                .insert(Arc::new(embedded(&config.history, registry.clone())))
                .clone(),
            BrokerKind::Nats => {
                let thread = broker_thread().map_err(Error::Runtime)?;
                let _entered = thread.enter();
                Nats::start(
                    nats(&config)?,
                    registry.clone(),
                    peer.clone(),
                    metrics.nats()?,
                )
            }
        };
        let shared = Arc::new(Shared::new(
            config,
            metrics,
            auth,
            broker,
            registry.clone(),
            presence,
        ));
        let (mut inboxes, mut threads) = (Vec::new(), Vec::new());
        for index in 0..shared.config.listening.workers {
            let (inbox, thread) =
                worker::start(index as WorkerIndex, shared.clone()).map_err(Error::Worker)?;
            inboxes.push(inbox);
            threads.push(thread);
        }
        registry.connect(inboxes.clone());
        peer.connect(&shared, &inboxes);
        Ok(Self {
            api: api.map(|(listener, keys)| ApiPort {
                listener,
                api: Api::new(shared.clone(), peer),
                keys,
            }),
            shared,
            memory,
            inboxes,
            threads,
            clients,
            admin,
        })
    }

    /// Where clients connect: with the port that was chosen if 0 was asked for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.clients.local_addr()
    }

    pub fn admin_address(&self) -> io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// Where backends call the server API, unless it is off.
    pub fn api_address(&self) -> Option<io::Result<SocketAddr>> {
        self.api.as_ref().map(|port| port.listener.local_addr())
    }

    /// Ends when the broker has been joined, while the node runs or before.
    pub fn ready(&self) -> impl Future<Output = ()> + use<> {
        let broker = self.shared.broker.clone();
        async move {
            while broker.readiness().is_err() {
                tokio::time::sleep(READINESS_POLL).await;
            }
        }
    }

    /// Serves until `shutdown` is ready, then drains.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let admin = tokio::net::TcpListener::from_std(self.admin).map_err(Error::Runtime)?;
        let shared = &self.shared;
        let stop = http::serve_clients(self.clients, shared.clone(), self.inboxes.clone())
            .map_err(Error::Door)?;
        let heads = http::Heads::of(&shared.config.limits);
        let front = http::admin::router(shared.clone(), self.inboxes.clone());
        // Whoever watches a drain asks this port: it stays open to the end.
        tokio::spawn(http::serve(admin, front, heads));
        if let Some(ApiPort {
            listener,
            api,
            keys,
        }) = self.api
        {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(Error::Runtime)?;
            // Backends may call until the node ends: what they ask of the others is done there.
            tokio::spawn(http::serve(listener, http::api::router(api, keys), heads));
        }
        let second = tokio::spawn(every_second(self.memory, shared.clone()));
        tokio::spawn(reload::keep(shared.clone()));
        tokio::spawn(shared.presence.clone().keep());
        shutdown.await;
        let accept = shared.config.shutdown.drain_accept.unwrap_or_else(|| {
            let seconds = if io::stdin().is_terminal() { 0 } else { 5 };
            Duration::from_secs(seconds)
        });
        drain::drain(shared, &self.inboxes, accept, || stop.wake()).await;
        second.abort();
        // Nobody is told anything any more: whether the others hear of it changes nothing here.
        let _ = tokio::time::timeout(GOODBYE, shared.broker.leave()).await;
        for inbox in &self.inboxes {
            inbox.send(Event::Stop);
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread panicked");
            }
        }
        Ok(())
    }
}

fn embedded(history: &History, registry: Arc<Registry>) -> Memory {
    let limits = memory::Limits {
        max_messages_per_room: history.max_messages,
        max_bytes_per_room: history.max_bytes,
        max_age: history.max_age,
        max_total_bytes: history.max_total_bytes,
    };
    Memory::new(limits, registry)
}

/// A thread for the connections to NATS and the shards' logs, for as long as the process lives. What goes from task to
/// task on one thread waits for no other thread to wake, and each message goes over several.
fn broker_thread() -> io::Result<Handle> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("nats".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
}

fn nats(config: &Config) -> Result<nats::Settings, nats::account::Error> {
    let servers = &config.nats.servers;
    let credentials = config.nats.moderator_credentials.clone();
    // Servers that let everybody in let everybody erase.
    let moderator = match credentials.is_some() || servers.credentials.is_none() {
        true => Some(Servers {
            credentials,
            ..servers.clone()
        }),
        false => None,
    };
    let moderator = moderator.map(|servers| Account::new(&servers, Role::Moderator));
    Ok(nats::Settings {
        account: Account::new(servers, Role::Node)?,
        moderator: moderator.transpose()?,
        node: config.nats.node_name.clone(),
        shards: config.nats.shards,
        message_bytes: config.limits.message_bytes,
        log: nats::Caps {
            entries: config.nats.shard_log_messages,
            bytes: config.nats.shard_log_bytes,
        },
        patience: config.nats.publish_timeout,
    })
}

/// Shows what changes all the time, and drops expired history of quiet rooms.
async fn every_second(memory: Option<Arc<Memory>>, shared: Arc<Shared>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let metrics = &shared.metrics;
    loop {
        second.tick().await;
        if let Some(memory) = &memory {
            memory.sweep(Instant::now());
            let usage = memory.usage();
            metrics.history_rooms.set(usage.rooms as i64);
            metrics.history_publications.set(usage.publications as i64);
            metrics.history_bytes.set(usage.bytes as i64);
            let evicted = metrics.history_evicted_rooms.get();
            metrics
                .history_evicted_rooms
                .inc_by(usage.evicted_rooms_total.saturating_sub(evicted));
        }
        shared.broker.announce(load(&shared));
        let nodes = shared.broker.nodes();
        let connections: usize = nodes.iter().map(|node| node.connections).sum();
        metrics.cluster_nodes.set(nodes.len() as i64);
        metrics.cluster_connections.set(connections as i64);
        metrics.rooms.set(shared.registry.rooms() as i64);
        metrics.sessions.set(shared.sessions.load(Relaxed) as i64);
    }
}

fn load(shared: &Shared) -> NodeLoad {
    let is_draining = shared.metrics.draining.get() > 0;
    NodeLoad {
        node: shared.config.nats.node_name.clone(),
        connections: shared.sessions.load(Relaxed),
        capacity: shared.live().limits.connections,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state: if is_draining {
            NodeState::Draining
        } else {
            NodeState::Serving
        },
    }
}

/// Opens a port. A connection whose client takes nothing for `patience` is given up by the kernel.
fn open(
    address: SocketAddr,
    patience: Duration,
    what: &'static str,
    flag: &'static str,
) -> Result<TcpListener, Error> {
    let listener = || {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
        // A restarted node takes its port back from connections that linger.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        // Accepted connections inherit these. Small frames must not wait for acknowledgements of earlier ones.
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_notsent_lowat(KERNEL_BACKLOG_BYTES)?;
        socket.set_tcp_user_timeout(Some(patience))?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    listener().map_err(|source| Error::Listen {
        what,
        flag,
        address,
        source,
    })
}

/// Unsent bytes that the kernel holds for a socket before a write blocks: enough to keep the wire busy, little enough
/// that a stalled client shows soon and costs no more.
const KERNEL_BACKLOG_BYTES: u32 = 128 * 1024;
/// How long sent bytes may stay unacknowledged, or unread, before the kernel gives the connection up.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// How long taking leave of the other nodes may take.
const GOODBYE: Duration = Duration::from_secs(1);
const READINESS_POLL: Duration = Duration::from_millis(20);

/// Connections that may wait to be accepted: after a restart all clients come at once.
const BACKLOG: i32 = 4096;

/// File descriptors beside those of clients: listeners, logs, pollers.
const SPARE_FILE_DESCRIPTORS: u64 = 64;

/// Allows this process as many open files as the system lets it have.
fn raise_file_descriptors(connections: usize) -> Result<(), Error> {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|error| {
        tracing::warn!(%error, "failed to raise the limit of file descriptors");
        rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(0, |(soft, _)| soft)
    });
    if limit < SPARE_FILE_DESCRIPTORS * 2 {
        return Err(Error::FileDescriptors {
            limit,
            needed: SPARE_FILE_DESCRIPTORS * 2,
        });
    }
    let usable = limit - SPARE_FILE_DESCRIPTORS;
    if usable < connections as u64 {
        tracing::warn!(
            "the system allows {limit} file descriptors, enough for {usable} connections and not for the \
             {connections} of --connections; raise `ulimit -n` or lower the limit"
        );
    }
    Ok(())
}
