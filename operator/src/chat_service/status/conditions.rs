//! A report -> the conditions, one function each. Pure.

use natter_crds::{ConditionType, Reason};

use super::{Nats, Report, Workload};

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
    let mut message = nodes_ready(nodes);
    if !report.unsupported.is_empty() {
        message = format!(
            "{message}; not done by this release: {}",
            report.unsupported.join("; ")
        );
    }
    (holds, reason, message)
}

fn nodes_ready(nodes: &Workload) -> String {
    format!(
        "{}/{} nodes ready",
        nodes.ready.min(nodes.wanted),
        nodes.wanted
    )
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
        (None, Some(nodes)) => {
            let is_new =
                nodes.current && nodes.updated >= nodes.wanted && nodes.there <= nodes.wanted;
            if is_new && nodes.terminating == 0 {
                let message = format!("{} nodes have the newest settings", nodes.wanted);
                return (false, Reason::Complete, message);
            }
            let message = format!(
                "{}/{} nodes have the newest settings, {} old ones run, {} end",
                nodes.updated,
                nodes.wanted,
                (nodes.there - nodes.updated).max(0),
                nodes.terminating
            );
            (true, Reason::RollingOut, message)
        }
    }
}

fn degraded(report: &Report) -> Finding {
    if let Some((reason, message)) = &report.problem {
        return (true, *reason, message.clone());
    }
    if let Nats::Managed(servers) = &report.nats
        && servers.ready < servers.wanted
        && servers.has_quorum()
    {
        return (true, Reason::NotAllServersReady, servers_ready(servers));
    }
    match &report.nodes {
        Some(nodes) if nodes.ready > 0 && nodes.ready < nodes.wanted => {
            (true, Reason::NotAllNodesReady, nodes_ready(nodes))
        }
        _ => (
            false,
            Reason::AsExpected,
            "nothing is less than was asked for".to_owned(),
        ),
    }
}

fn servers_ready(servers: &Workload) -> String {
    format!("{}/{} NATS servers ready", servers.ready, servers.wanted)
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
            (false, Reason::NoQuorum, servers_ready(servers))
        }
        (_, Some(problem)) => streams(problem),
        (Nats::Managed(servers), None) => {
            let reason = match servers.ready >= servers.wanted {
                true => Reason::AllServersReady,
                false => Reason::NotAllServersReady,
            };
            (true, reason, servers_ready(servers))
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
