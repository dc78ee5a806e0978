//! A report -> the conditions, one function each. Pure.

use natter_crds::{ConditionType, Reason};

use super::{Nats, Report, Workload};
use crate::chat_service::plan::rollout::{Phase, Rollout};
use crate::chat_service::servers::Rolling;

pub struct New {
    pub type_: ConditionType,
    pub holds: bool,
    pub reason: Reason,
    pub message: String,
}

pub fn all(report: &Report) -> [New; 5] {
    [
        condition(ConditionType::Ready, ready(report)),
        condition(ConditionType::Progressing, progressing(report)),
        condition(ConditionType::Degraded, degraded(report)),
        condition(ConditionType::NatsReady, nats_ready(report)),
        condition(ConditionType::ScalingActive, scaling_active(report)),
    ]
}

type Finding = (bool, Reason, String);

fn condition(type_: ConditionType, (holds, reason, message): Finding) -> New {
    New {
        type_,
        holds,
        reason,
        message,
    }
}

fn ready(report: &Report) -> Finding {
    if let Some((reason, message)) = &report.problem {
        return (false, *reason, message.clone());
    }
    let (nats_is_ready, reason, message) = nats_ready(report);
    if !nats_is_ready {
        let reason = match reason {
            Reason::StreamsNotReady => Reason::StreamsNotReady,
            _ => Reason::NatsNotReady,
        };
        return (false, reason, message);
    }
    let Some(nodes) = &report.nodes else {
        return (
            false,
            Reason::NoNodeReady,
            "there is no Deployment of nodes yet".to_owned(),
        );
    };
    let (holds, reason) = match nodes {
        Workload { wanted: 0, .. } => (false, Reason::ScaledToZero),
        nodes if nodes.is_ready() => (true, Reason::AllNodesReady),
        Workload { ready: 0, .. } => (false, Reason::NoNodeReady),
        _ => (false, Reason::NotAllNodesReady),
    };
    let mut message = nodes_ready(report, nodes);
    if !report.unsupported.is_empty() {
        message = format!(
            "{message}; not done by this release: {}",
            report.unsupported.join("; ")
        );
    }
    (holds, reason, message)
}

fn nodes_ready(report: &Report, nodes: &Workload) -> String {
    let (ready, wanted) = (nodes.ready.min(nodes.wanted), nodes.wanted);
    let trouble = report.troubles.nodes.as_ref().or(nodes.failure.as_ref());
    match trouble.filter(|_| ready < wanted) {
        Some(trouble) => format!("{ready}/{wanted} nodes ready: {trouble}"),
        None => format!("{ready}/{wanted} nodes ready"),
    }
}

fn progressing(report: &Report) -> Finding {
    if report.paused {
        let message = "the operator changes nothing while spec.paused is true";
        return (false, Reason::Paused, message.to_owned());
    }
    match (&report.problem, &report.nodes) {
        (Some((reason, message)), _) => (false, *reason, message.clone()),
        (None, None) => (
            true,
            Reason::RollingOut,
            "objects are being made".to_owned(),
        ),
        (None, Some(nodes)) => rolling_out(report, nodes),
    }
}

fn rolling_out(report: &Report, nodes: &Workload) -> Finding {
    let Rollout {
        wanted,
        new_ready,
        old,
        ..
    } = report.rollout;
    match report.rollout.phase {
        Phase::Canary => return (true, Reason::Canary, canary(report, nodes)),
        Phase::Surge => {
            let ready = format!("{new_ready}/{wanted} new nodes ready");
            let waits_for = report.rollout.waits_for.as_ref();
            let waits_for = waits_for.map_or(ready.clone(), |pod| format!("{ready}: {pod}"));
            let message = format!("{waits_for}; {old} old ones serve until all are");
            return (true, Reason::RollingOut, message);
        }
        Phase::Free => {}
    }
    if !nodes.current {
        let message = "the Deployment's controller has not seen the newest settings yet";
        return (true, Reason::RollingOut, message.to_owned());
    }
    let is_new = nodes.updated >= nodes.wanted && nodes.there <= nodes.wanted;
    if !is_new || nodes.terminating > 0 {
        let message = format!(
            "{}/{} nodes have the newest settings, {} old ones run, {} end",
            nodes.updated,
            nodes.wanted,
            (nodes.there - nodes.updated).max(0),
            nodes.terminating
        );
        return (true, Reason::RollingOut, message);
    }
    if let (Some(Rolling { updated, text }), Nats::Managed(servers)) =
        (&report.rolling, &report.nats)
    {
        let message = format!(
            "{updated}/{} NATS servers have the newest settings: {text}",
            servers.wanted
        );
        return (true, Reason::RollingOut, message);
    }
    let message = format!("{} nodes have the newest settings", nodes.wanted);
    (false, Reason::Complete, message)
}

/// How it stands with the first new node.
fn canary(report: &Report, nodes: &Workload) -> String {
    let Rollout { wanted, old, .. } = report.rollout;
    let rollout = &report.rollout;
    let state = match (&rollout.waits_for, &nodes.failure) {
        (Some(pod), _) => format!("is tried: {pod}"),
        (None, Some(failure)) if rollout.new == 0 => format!("cannot be made: {failure}"),
        (None, _) if rollout.new == 0 => "is being made".to_owned(),
        (None, _) => "is ready, and is watched for a moment".to_owned(),
    };
    format!(
        "the first of {wanted} new nodes {state}; {old} old ones serve until it has proved itself"
    )
}

fn degraded(report: &Report) -> Finding {
    if let Some((reason, message)) = &report.problem {
        return (true, *reason, message.clone());
    }
    if let Nats::Managed(servers) = &report.nats
        && servers.ready < servers.wanted
        && servers.has_quorum()
    {
        return (
            true,
            Reason::NotAllServersReady,
            servers_ready(report, servers),
        );
    }
    if let (Phase::Canary, true, Some(nodes)) =
        (report.rollout.phase, report.rollout.is_stuck, &report.nodes)
    {
        return (true, Reason::PodsFailing, canary(report, nodes));
    }
    match &report.nodes {
        Some(nodes) if nodes.ready > 0 && nodes.ready < nodes.wanted => {
            (true, Reason::NotAllNodesReady, nodes_ready(report, nodes))
        }
        _ => (
            false,
            Reason::AsExpected,
            "nothing is less than was asked for".to_owned(),
        ),
    }
}

fn servers_ready(report: &Report, servers: &Workload) -> String {
    let Workload { ready, wanted, .. } = servers;
    match report.troubles.servers.as_ref().filter(|_| ready < wanted) {
        Some(trouble) => format!("{ready}/{wanted} NATS servers ready: {trouble}"),
        None => format!("{ready}/{wanted} NATS servers ready"),
    }
}

fn nats_ready(report: &Report) -> Finding {
    let streams = |message: &String| {
        (
            false,
            Reason::StreamsNotReady,
            format!("streams: {message}"),
        )
    };
    match (&report.nats, &report.streams) {
        (Nats::Unknown, _) => {
            let message = "nothing is known of the NATS servers yet";
            (false, Reason::NatsNotReady, message.to_owned())
        }
        (Nats::Managed(servers), _) if !servers.has_quorum() => {
            (false, Reason::NoQuorum, servers_ready(report, servers))
        }
        (_, Some(problem)) => streams(problem),
        (Nats::Managed(servers), None) => {
            let reason = match servers.ready >= servers.wanted {
                true => Reason::AllServersReady,
                false => Reason::NotAllServersReady,
            };
            (true, reason, servers_ready(report, servers))
        }
        (Nats::External, None) => {
            let message = "the servers of nats.external.urls have the streams";
            (true, Reason::External, message.to_owned())
        }
    }
}

fn scaling_active(report: &Report) -> Finding {
    let asked = report
        .unsupported
        .iter()
        .find(|text| text.starts_with("autoscaling"));
    match asked {
        Some(text) => (false, Reason::NotSupported, text.clone()),
        None => (
            false,
            Reason::Disabled,
            "spec.autoscaling is absent: spec.replicas counts".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Troubles;
    use super::*;

    fn workload(wanted: i32, ready: i32) -> Workload {
        Workload {
            wanted,
            there: ready,
            ready,
            updated: ready,
            current: true,
            ..Workload::default()
        }
    }

    fn well() -> Report {
        Report {
            nodes: Some(workload(2, 2)),
            nats: Nats::Managed(workload(3, 3)),
            ..Report::default()
        }
    }

    fn said((holds, reason, message): Finding) -> (bool, String, String) {
        (holds, reason.to_string(), message)
    }

    #[test]
    fn everything_ready_is_ready_and_nothing_else() {
        let report = well();
        assert_eq!(
            said(ready(&report)),
            (
                true,
                "AllNodesReady".to_owned(),
                "2/2 nodes ready".to_owned()
            )
        );
        let [ready, progressing, degraded, nats, scaling] =
            all(&report).map(|condition| condition.holds);
        assert!(ready && nats && !progressing && !degraded && !scaling);
    }

    #[test]
    fn a_missing_node_is_counted() {
        let report = Report {
            nodes: Some(workload(3, 2)),
            ..well()
        };
        assert_eq!(
            said(ready(&report)),
            (
                false,
                "NotAllNodesReady".to_owned(),
                "2/3 nodes ready".to_owned()
            )
        );
        assert!(degraded(&report).0);
    }

    #[test]
    fn two_of_three_servers_take_messages_and_one_does_not() {
        let with = |ready| Report {
            nats: Nats::Managed(workload(3, ready)),
            ..well()
        };
        let two = with(2);
        assert!(nats_ready(&two).0 && degraded(&two).0 && ready(&two).0);
        let one = with(1);
        let no_quorum = said(nats_ready(&one));
        assert_eq!(
            no_quorum,
            (
                false,
                "NoQuorum".to_owned(),
                "1/3 NATS servers ready".to_owned()
            )
        );
        assert_eq!(said(ready(&one)).1, "NatsNotReady");
    }

    fn canary(waits_for: Option<&str>, is_stuck: bool) -> Report {
        Report {
            rollout: Rollout {
                phase: Phase::Canary,
                wanted: 2,
                new: 1,
                old: 2,
                waits_for: waits_for.map(str::to_owned),
                is_stuck,
                ..Rollout::default()
            },
            ..well()
        }
    }

    #[test]
    fn a_canary_that_fails_stops_the_rollout_says_why_and_takes_nothing_away() {
        let report = canary(
            Some("lobby-nodes-c does not start: image no:1 cannot be pulled"),
            true,
        );
        let message = "the first of 2 new nodes is tried: lobby-nodes-c does not start: image no:1 cannot be pulled; \
                       2 old ones serve until it has proved itself";
        let expected = |reason: &str| (true, reason.to_owned(), message.to_owned());
        assert_eq!(said(progressing(&report)), expected("Canary"));
        assert_eq!(said(degraded(&report)), expected("PodsFailing"));
        assert!(ready(&report).0, "old nodes serve");
    }

    #[test]
    fn a_canary_that_is_on_its_way_is_nothing_bad() {
        for report in [
            canary(None, false),
            canary(Some("lobby-nodes-c is not ready yet"), false),
        ] {
            assert_eq!(progressing(&report).1, Reason::Canary);
            assert!(!degraded(&report).0 && ready(&report).0);
        }
    }

    #[test]
    fn why_no_pod_can_be_made_is_said() {
        let mut report = canary(None, false);
        report.rollout.new = 0;
        let nodes = report.nodes.as_mut().unwrap();
        nodes.failure = Some("exceeded quota".to_owned());
        let (_, _, message) = progressing(&report);
        assert!(
            message.contains("new nodes cannot be made: exceeded quota"),
            "{message}"
        );
    }

    #[test]
    fn old_nodes_serve_until_all_new_ones_are_ready() {
        let mut report = canary(None, false);
        report.rollout.phase = Phase::Surge;
        report.rollout.new_ready = 1;
        let expected = (
            true,
            "RollingOut".to_owned(),
            "1/2 new nodes ready; 2 old ones serve until all are".to_owned(),
        );
        assert_eq!(said(progressing(&report)), expected);
    }

    #[test]
    fn servers_that_get_new_settings_are_counted() {
        let report = Report {
            rolling: Some(Rolling {
                updated: 1,
                text: "restarting lobby-nats-1".to_owned(),
            }),
            ..well()
        };
        let expected = (
            true,
            "RollingOut".to_owned(),
            "1/3 NATS servers have the newest settings: restarting lobby-nats-1".to_owned(),
        );
        assert_eq!(said(progressing(&report)), expected);
    }

    #[test]
    fn what_keeps_pods_from_being_ready_stands_beside_the_numbers() {
        let report = Report {
            nodes: Some(workload(3, 2)),
            nats: Nats::Managed(workload(3, 2)),
            troubles: Troubles {
                nodes: Some("a does not stay up".to_owned()),
                servers: Some("b cannot be scheduled: no room".to_owned()),
            },
            ..well()
        };
        assert_eq!(ready(&report).2, "2/3 nodes ready: a does not stay up");
        let servers = "2/3 NATS servers ready: b cannot be scheduled: no room";
        assert_eq!(nats_ready(&report).2, servers);
    }

    #[test]
    fn streams_that_are_not_as_they_should_be_are_said() {
        let report = Report {
            streams: Some("C_0: is missing".to_owned()),
            ..well()
        };
        let expected = (
            false,
            "StreamsNotReady".to_owned(),
            "streams: C_0: is missing".to_owned(),
        );
        assert_eq!(said(ready(&report)), expected);
    }

    #[test]
    fn a_rollout_ends_when_nothing_terminates_any_more() {
        let terminating = Workload {
            terminating: 1,
            ..workload(2, 2)
        };
        let report = |nodes| Report {
            nodes: Some(nodes),
            ..well()
        };
        assert!(progressing(&report(terminating)).0);
        let unseen = Workload {
            current: false,
            ..workload(2, 2)
        };
        assert!(progressing(&report(unseen)).0);
        assert!(!progressing(&report(workload(2, 2))).0);
    }

    #[test]
    fn what_is_not_done_stands_in_the_message() {
        let report = Report {
            unsupported: vec!["autoscaling: replicas counts".to_owned()],
            ..well()
        };
        let (holds, _, message) = ready(&report);
        assert!(
            holds && message.ends_with("not done by this release: autoscaling: replicas counts"),
            "{message}"
        );
        assert_eq!(said(scaling_active(&report)).1, "NotSupported");
    }

    #[test]
    fn a_problem_is_why_it_is_not_ready() {
        let report = Report {
            problem: Some((Reason::Invalid, "history.maxAge is 1m".to_owned())),
            ..well()
        };
        let expected = (
            false,
            "Invalid".to_owned(),
            "history.maxAge is 1m".to_owned(),
        );
        assert_eq!(said(ready(&report)), expected);
        assert!(degraded(&report).0 && !progressing(&report).0);
    }

    #[test]
    fn no_nodes_were_asked_for_and_nobody_can_connect() {
        let report = Report {
            nodes: Some(workload(0, 0)),
            ..well()
        };
        assert_eq!(said(ready(&report)).1, "ScaledToZero");
    }
}
