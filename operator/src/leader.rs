//! One of several operators works: who holds the lease.
//!
//! The holder renews every 5 s and ends the process, hard, when it could not for 10 s; another takes over when it has
//! seen no renewal for 15 s. So two never work at once, unless a process is stopped and its clock with it.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use tracing::{error, info, warn};

const VALID: Duration = Duration::from_secs(15);
const GIVE_UP: Duration = Duration::from_secs(10);
const RENEW: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(2);

pub struct Election {
    api: Api<Lease>,
    name: String,
    identity: String,
}

/// A lease of somebody else, as it was when it last changed.
struct Seen {
    version: Option<String>,
    since: Instant,
}

impl Election {
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
        }
    }

    /// Waits until the lease is this process's.
    pub async fn win(&self) {
        let mut seen = Seen {
            version: None,
            since: Instant::now(),
        };
        loop {
            match self.take(&mut seen).await {
                Ok(true) => {
                    info!(lease = self.name, identity = self.identity, "leading");
                    return;
                }
                Ok(false) => {}
                Err(error) => warn!(lease = self.name, %error, "failed to take the lease"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Renews for ever; ends the process when the lease is lost.
    pub async fn keep(&self) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(RENEW).await;
            loop {
                let mut seen = Seen {
                    version: None,
                    since: Instant::now(),
                };
                match tokio::time::timeout(RETRY, self.take(&mut seen)).await {
                    Ok(Ok(true)) => {
                        renewed = Instant::now();
                        break;
                    }
                    Ok(Ok(false)) => self.lost("somebody else has it"),
                    Ok(Err(error)) => warn!(lease = self.name, %error, "failed to renew the lease"),
                    Err(_) => warn!(lease = self.name, "no answer to the renewal of the lease"),
                }
                if renewed.elapsed() >= GIVE_UP {
                    self.lost("it could not be renewed");
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }

    /// Nothing may be written from here on, and only the end of the process makes sure of that.
    fn lost(&self, why: &str) -> ! {
        error!(lease = self.name, why, "lost the lease: exiting");
        std::process::exit(1)
    }

    /// Lets others take over at once.
    pub async fn release(&self) {
        let released = async {
            let mut lease = self.api.get(&self.name).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() != Some(&self.identity) {
                return Ok(());
            }
            spec.holder_identity = None;
            spec.renew_time = None;
            self.api
                .replace(&self.name, &PostParams::default(), &lease)
                .await
                .map(drop)
        };
        match tokio::time::timeout(RETRY, released).await {
            Ok(Ok(())) => info!(lease = self.name, "released the lease"),
            Ok(Err(error)) => warn!(lease = self.name, %error, "failed to release the lease"),
            Err(_) => warn!(lease = self.name, "no answer to the release of the lease"),
        }
    }

    /// Takes or renews the lease. False: somebody else has it.
    async fn take(&self, seen: &mut Seen) -> Result<bool, kube::Error> {
        let now = MicroTime(Timestamp::now());
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let mut lease = Lease::default();
            lease.metadata.name = Some(self.name.clone());
            lease.spec = Some(self.claim(None, now));
            return mine(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if !holder.is_empty() && holder != self.identity {
            let version = lease.resource_version();
            if seen.version != version {
                *seen = Seen {
                    version,
                    since: Instant::now(),
                };
            }
            // By this process's clock alone: the holder's may differ.
            let valid = spec
                .lease_duration_seconds
                .and_then(|seconds| u64::try_from(seconds).ok());
            if seen.since.elapsed() < valid.map_or(VALID, Duration::from_secs) {
                return Ok(false);
            }
        }
        lease.spec = Some(self.claim(Some(&spec), now));
        // The version makes sure that nobody else was quicker.
        mine(
            self.api
                .replace(&self.name, &PostParams::default(), &lease)
                .await,
        )
    }

    fn claim(&self, before: Option<&LeaseSpec>, now: MicroTime) -> LeaseSpec {
        let is_new = before.and_then(|spec| spec.holder_identity.as_ref()) != Some(&self.identity);
        let before = before.cloned().unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(VALID.as_secs() as i32),
            acquire_time: match is_new {
                true => Some(now.clone()),
                false => before.acquire_time,
            },
            renew_time: Some(now),
            lease_transitions: Some(
                before.lease_transitions.unwrap_or_default() + i32::from(is_new),
            ),
            ..LeaseSpec::default()
        }
    }
}

/// Whoever writes second gets a conflict.
fn mine(written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
