//! The controller of ChatServices: what it watches, and reconcile = the calls below, a file each.

pub mod apply;
pub mod build;
pub mod children;
mod connections;
mod context;
pub mod fetch;
pub mod live;
pub mod plan;
pub mod secrets;
pub mod servers;
pub mod status;
pub mod streams;
pub mod validate;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::jiff::Timestamp;
use kube::api::ApiResource;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::{PredicateConfig, WatchStreamExt as _, predicates, reflector, watcher};
use kube::{Api, ResourceExt};
use natter_crds::{ChatService, Reason};
use tracing::{Instrument as _, info, info_span, warn};

use self::build::chat_node::config_map;
use self::build::metadata::{Component, MANAGED_BY, RESTART_HASH};
use self::build::{Kind, Object};
use self::children::Child;
use self::fetch::Observed;
use self::plan::Pod;
use self::plan::rollout::{self, Phase, Rollout};
use self::status::{Nats, Report, Troubles, Workload};
use self::validate::{NatsServers, ValidatedService};
pub use context::Context;

/// What reconciles fail by.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Fetch(#[from] fetch::Error),
    #[error(transparent)]
    Validate(#[from] validate::Error),
    #[error(transparent)]
    Build(#[from] build::Error),
    #[error(transparent)]
    Apply(#[from] apply::Error),
    #[error(transparent)]
    Servers(#[from] servers::Error),
    #[error(transparent)]
    Live(#[from] live::Error),
    #[error("failed to write the status")]
    Status(#[source] kube::Error),
}

impl Error {
    /// The error as a user of the resource reads it.
    fn problem(&self) -> (Reason, String) {
        let reason = match self {
            Self::Validate(validate::Error::Invalid(_)) | Self::Build(_) => Reason::Invalid,
            Self::Validate(validate::Error::Secret(_)) => Reason::SecretNotReady,
            Self::Apply(apply::Error::NotOwned { .. }) => Reason::NotOwned,
            Self::Fetch(_)
            | Self::Apply(_)
            | Self::Servers(_)
            | Self::Live(_)
            | Self::Status(_) => Reason::ApplyFailed,
        };
        (reason, self.to_string())
    }
}

/// Works until `stop`; reconciles under way end first.
pub async fn run(
    context: Arc<Context>,
    namespace: Option<&str>,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    // A burst of events about the objects of one ChatService is one reconcile.
    let config = controller::Config::default()
        .concurrency(concurrency)
        .debounce(Duration::from_millis(200));
    let (services, writer) = reflector::store();
    let watch = watcher(
        chat_services(&context, namespace),
        watcher::Config::default(),
    )
    .modify(|service| service.metadata.managed_fields = None)
    .reflect(writer)
    .applied_objects()
    // Not for what the operator itself writes into the status.
    .predicate_filter(predicates::generation, PredicateConfig::default());
    let connections = connections::watch(context.clone(), services.clone());
    let mut controller = Controller::for_stream(watch, services).with_config(config);
    for kind in Kind::ALL {
        let resource = fetch::resource(kind);
        let (api, known) = (children(&context, namespace, &resource), context.clone());
        let ours = format!("app.kubernetes.io/managed-by={MANAGED_BY}");
        let watch = watcher(api, watcher::Config::default().labels(&ours))
            .modify(children::slim)
            .inspect_ok(move |event| known.children.take(kind, event))
            .touched_objects();
        controller = controller.owns_stream_with(watch, resource);
    }
    let controller = controller
        .graceful_shutdown_on(stop)
        .run(reconcile, retry, context)
        .for_each(|result| async move {
            // Failed reconciles are logged where they end; this is about watches.
            if let Err(
                error @ (controller::Error::QueueError(_) | controller::Error::RunnerError(_)),
            ) = result
            {
                warn!(%error, "a watch failed, and is tried again");
            }
        });
    tokio::select! {
        () = controller => {}
        () = connections => {}
    }
}

fn chat_services(context: &Context, namespace: Option<&str>) -> Api<ChatService> {
    let client = context.client.clone();
    match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    }
}

/// Names and owners are enough to know whose reconcile it is; Secrets' contents stay where they are.
fn children(context: &Context, namespace: Option<&str>, resource: &ApiResource) -> Api<Child> {
    let client = context.client.clone();
    match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, resource),
        None => Api::all_with(client, resource),
    }
}

async fn reconcile(service: Arc<ChatService>, context: Arc<Context>) -> Result<Action, Error> {
    let namespace = service.namespace().unwrap_or_default();
    let span = info_span!("reconcile", namespace, name = service.name_any());
    reconcile_one(&service, &context).instrument(span).await
}

async fn reconcile_one(service: &ChatService, context: &Context) -> Result<Action, Error> {
    let uid = service.uid().unwrap_or_default();
    if service.metadata.deletion_timestamp.is_some() {
        // Objects go by their owner references, volumes by the policy of their StatefulSet.
        context.forget(&uid);
        return Ok(Action::await_change());
    }
    let started = Instant::now();
    context.metrics.running.inc();
    let mut report = Report::default();
    let mut result = carry_out(service, context, &mut report).await;
    report.problem = result.as_ref().err().map(Error::problem);
    let status = status::of(service, &report, now());
    match status::update(&context.client, service, &status).await {
        Ok(true) => context.announce_status(service, &status, &report).await,
        Ok(false) => {}
        Err(error) => result = result.and(Err(Error::Status(error))),
    }
    context.metrics.running.dec();
    context
        .metrics
        .seconds
        .observe(started.elapsed().as_secs_f64());
    match result {
        Ok(()) => {
            context.succeeded(&uid);
            Ok(Action::requeue(next_look(&report)))
        }
        Err(error) => {
            let (reason, text) = error.problem();
            context.metrics.failed(&reason.to_string());
            warn!(%reason, error = text, "failed to reconcile");
            Err(error)
        }
    }
}

/// In whole seconds, as the API server keeps times.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Fills `report` as far as it comes.
async fn carry_out(
    service: &ChatService,
    context: &Context,
    report: &mut Report,
) -> Result<(), Error> {
    let name = service.name_any();
    let (client, written) = (&context.client, &context.written);
    let observed = fetch::fetch(client, &context.children, written, service).await?;
    look(report, service, &observed);
    context.remember_nodes(service, connections::addresses(&observed.pods));
    report.connections = context.connections(&service.uid().unwrap_or_default());
    if service.spec.paused == Some(true) {
        report.paused = true;
        return Ok(());
    }
    let given = observed.given(&name, context.images.clone());
    let validated = validate::validate(service, given)?;
    report.unsupported.clone_from(&validated.unsupported);
    let labels = validated.selector(Component::Nodes);
    let labels = labels
        .iter()
        .map(|(label, value)| format!("{label}={value}"));
    report.selector = Some(labels.collect::<Vec<_>>().join(","));

    let mut objects = build::build(&validated)?;
    report.rollout = plan_rollout(&validated, &objects, &observed.pods);
    rollout::pace(&mut objects, report.rollout.phase);
    let scope = apply::Scope {
        namespace: &validated.namespace,
        uid: &validated.owner.uid,
    };
    let applied = apply::apply(client, written, scope, &objects, &observed).await?;
    context.announce_actions(service, &applied.actions).await;
    let (namespace, pods) = (&validated.namespace, &observed.pods);
    let live_hash = config_map::live_hash(&validated);
    let told = live::tell(client, namespace, &live_hash, pods).await?;
    if told > 0 {
        context.announce_settings(service, told).await;
    }
    for live in &applied.objects {
        let Some(body) = &live.body else {
            continue;
        };
        let workload = || Workload::read(body.metadata.generation, &body.data);
        match live.kind {
            Kind::Deployment => report.nodes = Some(workload()),
            Kind::StatefulSet => {
                report.nats = Nats::Managed(workload());
                report.rolling = servers::roll(context, service, namespace, body, pods).await?;
                if report.rolling.is_none() {
                    report.nats_version = servers::version(context, service, body, pods).await;
                }
            }
            _ => {}
        }
    }
    let can_be_asked = match (&validated.nats, &report.nats) {
        (NatsServers::External(_), _) => true,
        (NatsServers::Managed(_), Nats::Managed(servers)) => {
            servers.current && servers.has_quorum()
        }
        (NatsServers::Managed(_), _) => false,
    };
    if can_be_asked {
        report.streams = context.set_up_streams(&validated, &observed).await.err();
    }
    Ok(())
}

fn plan_rollout(service: &ValidatedService, objects: &[Object], pods: &[Pod]) -> Rollout {
    let mut deployments = objects.iter().filter(|it| it.kind == Kind::Deployment);
    let template = deployments.next().map(|it| &it.body["spec"]["template"]);
    let hash = template.and_then(|it| it["metadata"]["annotations"][RESTART_HASH].as_str());
    let nodes = pods
        .iter()
        .filter(|pod| pod.is_of(Component::Nodes))
        .cloned();
    let nodes: Vec<_> = nodes.collect();
    let replicas = service.spec.replicas;
    rollout::plan(replicas, hash.unwrap_or_default(), &nodes, now())
}

/// What runs, as far as it can be told without changing anything.
fn look(report: &mut Report, service: &ChatService, observed: &Observed) {
    let name = service.name_any();
    let workload = |kind, component: Component| {
        let live = observed.object(kind, &component.object_name(&name))?;
        let body = live.body.as_ref()?;
        Some(Workload::read(body.metadata.generation, &body.data))
    };
    report.troubles = Troubles::read(&observed.pods);
    report.nodes = workload(Kind::Deployment, Component::Nodes);
    report.nats = match (
        &service.spec.nats.external,
        workload(Kind::StatefulSet, Component::Nats),
    ) {
        (Some(_), _) => Nats::External,
        (None, Some(servers)) => Nats::Managed(servers),
        (None, None) => Nats::Unknown,
    };
}

/// Watches tell of every change; this is for what they cannot see.
fn next_look(report: &Report) -> Duration {
    if report.rolling.is_some() || report.rollout.phase != Phase::Free {
        return Duration::from_secs(2);
    }
    let is_ready = |set: &Workload| set.is_ready();
    let servers_are_ready = match &report.nats {
        Nats::Managed(servers) => is_ready(servers),
        Nats::Unknown | Nats::External => true,
    };
    if report.streams.is_some()
        || !servers_are_ready
        || !report.nodes.as_ref().is_some_and(is_ready)
    {
        // Why a pod is not ready changes without a word to its Deployment.
        return Duration::from_secs(10);
    }
    // Not all at once.
    Duration::from_secs(600 + fastrand::u64(0..120))
}

/// What only an edit can cure waits for the edit; all else is tried again, less and less often.
fn retry(service: Arc<ChatService>, error: &Error, context: Arc<Context>) -> Action {
    let failures = context.failed(&service.uid().unwrap_or_default());
    let longest = match error.problem().0 {
        Reason::Invalid => return Action::requeue(Duration::from_secs(3600)),
        // The operator does not watch Secrets of others.
        Reason::SecretNotReady => 15_000,
        _ => 300_000,
    };
    let pause = 1000u64.saturating_mul(1 << failures.min(10)).min(longest);
    let pause = pause * 3 / 4 + fastrand::u64(0..pause / 2);
    info!(
        name = service.name_any(),
        failures,
        pause_ms = pause,
        "trying again later"
    );
    Action::requeue(Duration::from_millis(pause))
}

#[cfg(test)]
mod tests;
