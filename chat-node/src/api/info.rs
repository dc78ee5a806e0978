//! `info`: the nodes, and how much each has to do.

use serde_json::json;

use crate::broker::peers::{DescribeNode, Request, Response};

use super::{Api, Outcome};

pub async fn info(api: &Api) -> Outcome {
    let answers = api.everywhere(Request::DescribeNode(DescribeNode {}));
    let nodes = answers.await?.into_iter().filter_map(|(name, answer)| {
        let Response::Description(node) = answer else {
            return None;
        };
        Some(json!({
            "uid": node.uid,
            "name": name,
            "version": node.version,
            "num_clients": node.sessions,
            "num_users": node.users,
            "num_subs": node.members,
            "num_channels": node.rooms,
            "uptime": node.uptime_seconds,
            "metrics": {"interval": node.uptime_seconds, "items": node.totals},
        }))
    });
    let mut nodes: Vec<_> = nodes.collect();
    nodes.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    Ok(json!({"nodes": nodes}).to_string().into_bytes())
}
