//! Which NATS server may be started anew, if any. Pure: its pods and what each server says of itself -> a step.
//!
//! One at a time; a server that does not work before one that does, the meta leader last; and only while every server
//! and every copy of every stream is current and has been for a while. A server hands its leaderships over when it is
//! told to stop (lame duck mode), the meta leader too, so that nothing has to be asked of it before.

mod said;

use std::time::Duration;

pub use said::{Asset, Peer, Said};

use super::Pod;

/// So long everything must have been current: for ten seconds a peer that died is still said to be current.
pub const SETTLED: Duration = Duration::from_secs(30);

/// A server's pod, and what the server says of itself; or why it says nothing.
#[derive(Clone, Debug)]
pub struct Server {
    pub pod: Pod,
    pub said: Result<Said, String>,
}

impl Server {
    fn name(&self) -> &str {
        &self.pod.name
    }

    fn leads(&self) -> bool {
        matches!(&self.said, Ok(said) if said.leader.as_deref() == Some(self.name()))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Every server runs with what is wanted.
    Done,
    /// A server has to be started anew, and not now: why.
    Wait(String),
    /// Everything is current, but not for long enough.
    Settle,
    /// The pods of these names may be deleted: one, or all that could never meet the others again.
    Restart(Vec<String>),
}

/// What servers should be like.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub servers: u32,
    /// Of the template.
    pub hash: &'a str,
    /// Of the password by which servers know each other.
    pub routes_hash: &'a str,
}

/// Whether a pod has to be replaced, or is on its way.
pub fn is_due(pod: &Pod, hash: &str) -> bool {
    pod.restart_hash != hash || pod.is_terminating
}

/// Decides; `well_for` is how long [`trouble`] has found nothing.
pub fn next(wanted: Wanted<'_>, servers: &[Server], well_for: Duration) -> Step {
    let Wanted {
        servers: wanted,
        hash,
        routes_hash,
    } = wanted;
    if !servers.iter().any(|server| is_due(&server.pod, hash)) {
        return Step::Done;
    }
    // A server with another password finds nobody. One after the other they would never be a quorum again.
    let is_stranger = |pod: &Pod| {
        !pod.is_terminating && !pod.routes_hash.is_empty() && pod.routes_hash != routes_hash
    };
    let strangers = servers.iter().filter(|server| is_stranger(&server.pod));
    let strangers: Vec<_> = strangers.map(|server| server.name().to_owned()).collect();
    if wanted > 1 && !strangers.is_empty() {
        return Step::Restart(strangers);
    }
    if let Some(going) = servers.iter().find(|server| server.pod.is_terminating) {
        return Step::Wait(format!("{} ends", going.name()));
    }
    if servers.len() < wanted as usize {
        let there = servers.len();
        return Step::Wait(format!("{there} of {wanted} servers are there"));
    }
    // From the highest number down, as a StatefulSet would; names end in numbers of one digit.
    let mut due: Vec<_> = servers
        .iter()
        .filter(|server| is_due(&server.pod, hash))
        .collect();
    due.sort_by(|a, b| b.name().cmp(a.name()));
    let restart = |server: &Server| Step::Restart(vec![server.name().to_owned()]);

    let is_down = |server: &&&Server| !server.pod.is_ready() && server.said.is_err();
    if let Some(down) = due.iter().find(is_down) {
        // It does nothing for anybody: whatever state the others are in, it cannot get worse.
        return restart(down);
    }
    if let Some(unready) = due.iter().find(|server| !server.pod.is_ready()) {
        let others: Vec<_> = servers
            .iter()
            .filter(|server| server.name() != unready.name())
            .collect();
        return match trouble(wanted, &others, Some(unready.name())) {
            Some(trouble) => Step::Wait(trouble),
            None => restart(unready),
        };
    }
    let all: Vec<_> = servers.iter().collect();
    if let Some(trouble) = trouble(wanted, &all, None) {
        return Step::Wait(trouble);
    }
    if well_for < SETTLED {
        return Step::Settle;
    }
    let follower = due.iter().find(|server| !server.leads());
    follower
        .or(due.first())
        .map_or(Step::Done, |it| restart(it))
}

/// What is not as it should be with these servers, the first thing; `except` is a server that nobody waits for.
///
/// Texts do not change while the trouble is the same: no counts of messages, no times.
pub fn trouble(wanted: u32, servers: &[&Server], except: Option<&str>) -> Option<String> {
    for server in servers {
        let name = server.name();
        if !server.pod.is_ready() {
            return Some(server.pod.why_not_ready());
        }
        let said = match &server.said {
            Ok(said) => said,
            Err(error) => return Some(format!("{name} does not answer the operator: {error}")),
        };
        if said.name != name {
            return Some(format!("{} answers in place of {name}", said.name));
        }
        if let Some(problem) = &said.problem {
            return Some(format!("{name} says: {problem}"));
        }
    }
    let said = || {
        servers
            .iter()
            .filter_map(|server| server.said.as_ref().ok())
    };
    if wanted > 1
        && let Some(trouble) = trouble_of_cluster(wanted, said(), except)
    {
        return Some(trouble);
    }
    trouble_of_assets(said(), except)
}

/// Whether all servers know one leader, and it knows all of them. What others know of their peers may be wrong.
fn trouble_of_cluster<'a>(
    wanted: u32,
    said: impl Iterator<Item = &'a Said> + Clone,
    except: Option<&str>,
) -> Option<String> {
    let mut leaders = said.clone().map(|said| said.leader.as_deref());
    let first = leaders.next().flatten();
    let Some(leader) = first.filter(|_| leaders.all(|leader| leader == first)) else {
        return Some("the servers do not agree on a leader".to_owned());
    };
    let Some(led) = said.clone().find(|said| said.name == leader) else {
        return Some(format!("{leader} leads, which is not ready"));
    };
    if led.cluster_size != wanted {
        let size = led.cluster_size;
        return Some(format!("the cluster has {size} members, not {wanted}"));
    }
    let mut peers = led.peers.iter();
    let behind = peers.find(|peer| !peer.is_current() && Some(peer.name.as_str()) != except)?;
    Some(format!("{} is behind in the cluster's state", behind.name))
}

/// Whether every stream and consumer has a leader, and all its copies are current. Only leaders know.
fn trouble_of_assets<'a>(
    said: impl Iterator<Item = &'a Said> + Clone,
    except: Option<&str>,
) -> Option<String> {
    let is_led = |name: &str| {
        let mut all = said.clone().flat_map(|said| &said.assets);
        all.any(|asset| asset.name == name && asset.is_led_here)
    };
    for asset in said.clone().flat_map(|said| &said.assets) {
        let name = &asset.name;
        if !asset.is_led_here {
            if !is_led(name) {
                return Some(format!("{name} has no leader"));
            }
            continue;
        }
        let mut peers = asset.peers.iter();
        let behind = peers.find(|peer| !peer.is_current() && Some(peer.name.as_str()) != except);
        if let Some(behind) = behind {
            return Some(format!("the copy of {name} on {} is behind", behind.name));
        }
        let copies = asset.peers.len() + 1;
        if let Some(wanted) = asset.copies.filter(|wanted| *wanted != copies) {
            return Some(format!(
                "{name} has {copies} copies, not {wanted}: it moves"
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests;
