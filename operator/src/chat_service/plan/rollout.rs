//! How far a rollout of nodes may go: one new pod first, then all, and old ones end when all new ones are ready. Pure.
//!
//! The Deployment controller does the work. It takes no old pod away for new ones that are not available; so new pods
//! that are ready do not count as available (`minReadySeconds`) until it is their turn. If the operator is gone
//! meanwhile, the rollout goes on without it after that time.

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::Pod;
use crate::chat_service::build::{Kind, Object};

/// How long new pods that are ready wait for the operator's word.
const HELD_SECONDS: i32 = 300;

/// How long the first new pod has to stay ready.
const TRIED_SECONDS: i64 = 5;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// One new pod is tried.
    Canary,
    /// All new pods start; old ones go on serving.
    Surge,
    /// Nothing is held back: old pods end, or there are none.
    #[default]
    Free,
}

/// A rollout in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    pub phase: Phase,
    pub wanted: usize,
    pub new: usize,
    pub new_ready: usize,
    pub old: usize,
    /// Why a new pod is not ready: its name, and what is wrong as far as it is known.
    pub waits_for: Option<String>,
    /// A new pod is in trouble that does not look as if it went away.
    pub is_stuck: bool,
}

/// Decides by the pods of the nodes; `hash` is that of the template that is wanted.
pub fn plan(wanted: i32, hash: &str, pods: &[Pod], now: Timestamp) -> Rollout {
    let alive = pods.iter().filter(|pod| !pod.is_terminating);
    let (new, old): (Vec<_>, Vec<_>) = alive.partition(|pod| pod.restart_hash == hash);
    let ready = |pods: &[&Pod]| pods.iter().filter(|pod| pod.is_ready()).count();
    let wanted = usize::try_from(wanted).unwrap_or(0);
    let is_tried = |pod: &&Pod| {
        let since = pod.ready_since;
        since.is_some_and(|since| now.as_second() - since.as_second() >= TRIED_SECONDS)
    };
    let phase = if ready(&old) == 0 {
        // Nobody is served by old pods: there is nothing to go easy on.
        Phase::Free
    } else if !new.iter().any(is_tried) {
        Phase::Canary
    } else if ready(&new) < wanted {
        Phase::Surge
    } else {
        Phase::Free
    };
    let waiting = || new.iter().filter(|pod| !pod.is_ready());
    let worst = waiting().find(|pod| pod.trouble.is_some());
    Rollout {
        phase,
        wanted,
        new: new.len(),
        new_ready: ready(&new),
        old: old.len(),
        waits_for: worst.or(waiting().next()).map(|pod| pod.why_not_ready()),
        is_stuck: worst.is_some(),
    }
}

/// Sets the pace of the Deployment among `objects`.
pub fn pace(objects: &mut [Object], phase: Phase) {
    let (surge, held) = match phase {
        Phase::Canary => (json!(1), HELD_SECONDS),
        Phase::Surge => (json!("100%"), HELD_SECONDS),
        Phase::Free => (json!("100%"), 0),
    };
    let deployments = objects.iter_mut().filter(|it| it.kind == Kind::Deployment);
    for deployment in deployments {
        let spec = &mut deployment.body["spec"];
        spec["strategy"]["rollingUpdate"]["maxSurge"] = surge.clone();
        spec["minReadySeconds"] = held.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{SMALLEST, built, object};

    const NOW: i64 = 1_000_000;

    fn pod(name: &str, hash: &str, ready_for: Option<i64>) -> Pod {
        Pod {
            name: name.to_owned(),
            restart_hash: hash.to_owned(),
            ready_since: ready_for.map(|seconds| Timestamp::from_second(NOW - seconds).unwrap()),
            ..Pod::default()
        }
    }

    fn planned(wanted: i32, pods: &[Pod]) -> Rollout {
        plan(wanted, "new", pods, Timestamp::from_second(NOW).unwrap())
    }

    fn old() -> [Pod; 2] {
        [pod("a", "old", Some(900)), pod("b", "old", Some(900))]
    }

    fn with_old(new: &[Pod]) -> Rollout {
        planned(2, &[&old()[..], new].concat())
    }

    #[test]
    fn the_first_pods_ever_start_together() {
        assert_eq!(planned(2, &[]).phase, Phase::Free);
        assert_eq!(planned(2, &[pod("a", "new", None)]).phase, Phase::Free);
    }

    #[test]
    fn one_new_pod_is_tried_then_all_start_then_old_ones_end() {
        assert_eq!(with_old(&[]).phase, Phase::Canary);
        assert_eq!(with_old(&[pod("c", "new", None)]).phase, Phase::Canary);
        let just_now = pod("c", "new", Some(TRIED_SECONDS - 1));
        assert_eq!(with_old(&[just_now]).phase, Phase::Canary);
        let tried = pod("c", "new", Some(TRIED_SECONDS));
        assert_eq!(with_old(std::slice::from_ref(&tried)).phase, Phase::Surge);
        let starting = [tried.clone(), pod("d", "new", None)];
        assert_eq!(with_old(&starting).phase, Phase::Surge);
        let all = [tried, pod("d", "new", Some(0))];
        assert_eq!(with_old(&all).phase, Phase::Free);
        assert_eq!(planned(2, &all).phase, Phase::Free);
    }

    #[test]
    fn a_service_of_one_node_has_its_canary_too() {
        let tried = pod("b", "new", Some(60));
        let before = pod("a", "old", Some(900));
        assert_eq!(
            planned(1, std::slice::from_ref(&before)).phase,
            Phase::Canary
        );
        assert_eq!(planned(1, &[before, tried]).phase, Phase::Free);
    }

    #[test]
    fn a_canary_that_does_not_become_ready_stops_the_rollout_and_is_named() {
        let mut canary = pod("c", "new", None);
        canary.trouble = Some("does not start: image no:1 cannot be pulled".to_owned());
        let rollout = with_old(&[canary]);
        assert_eq!(rollout.phase, Phase::Canary);
        assert!(rollout.is_stuck);
        assert_eq!(
            rollout.waits_for.unwrap(),
            "c does not start: image no:1 cannot be pulled"
        );
        assert_eq!((rollout.new, rollout.new_ready, rollout.old), (1, 0, 2));
    }

    #[test]
    fn pods_that_end_and_pods_that_serve_nobody_hold_nothing_up() {
        let mut ending = old();
        for pod in &mut ending {
            pod.is_terminating = true;
        }
        assert_eq!(planned(2, &ending).phase, Phase::Free);
        let broken = [pod("a", "old", None), pod("b", "old", None)];
        assert_eq!(planned(2, &broken).phase, Phase::Free);
    }

    #[test]
    fn going_back_to_what_still_runs_ends_the_canary() {
        let pods = [
            pod("a", "new", Some(900)),
            pod("b", "new", Some(900)),
            pod("c", "old", None),
        ];
        assert_eq!(planned(2, &pods).phase, Phase::Free);
    }

    #[test]
    fn the_deployment_is_told_the_pace_and_nothing_else_changes() {
        let before = built(SMALLEST);
        let spec = |phase| {
            let mut objects = before.clone();
            pace(&mut objects, phase);
            object(&objects, Kind::Deployment, "lobby-nodes")["spec"].clone()
        };
        let told = |phase| {
            let spec = spec(phase);
            let surge = spec["strategy"]["rollingUpdate"]["maxSurge"].clone();
            (surge, spec["minReadySeconds"].clone())
        };
        assert_eq!(told(Phase::Canary), (json!(1), json!(300)));
        assert_eq!(told(Phase::Surge), (json!("100%"), json!(300)));
        assert_eq!(told(Phase::Free), (json!("100%"), json!(0)));
        assert_eq!(
            spec(Phase::Canary)["template"],
            spec(Phase::Free)["template"]
        );
    }
}
