//! What the operator is told: flags, or environment variables of the same names.

use std::net::SocketAddr;

use crate::chat_service::validate::Images;

#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "natter-operator",
    version,
    about = "Carries out ChatServices on Kubernetes"
)]
pub struct Config {
    /// Namespace to work in; absent: all of them
    #[arg(long, env = "NATTER_OPERATOR_NAMESPACE", value_name = "NAME", value_parser = name)]
    pub namespace: Option<String>,
    /// Image of chat nodes whose ChatService names none
    #[arg(long, env = "NATTER_OPERATOR_CHAT_NODE_IMAGE", value_name = "IMAGE")]
    pub chat_node_image: String,
    /// Image of NATS servers whose ChatService names none; the program in it is /nats-server, 2.15 or newer
    #[arg(long, env = "NATTER_OPERATOR_NATS_IMAGE", value_name = "IMAGE")]
    pub nats_image: String,
    /// Address for /metrics, /healthz and /readyz
    #[arg(
        long,
        env = "NATTER_OPERATOR_LISTEN",
        value_name = "IP:PORT",
        default_value = "0.0.0.0:9090"
    )]
    pub listen: SocketAddr,
    /// Namespace of the lease by which one of several operators works
    #[arg(long, env = "NATTER_OPERATOR_LEASE_NAMESPACE", value_name = "NAME", value_parser = name)]
    pub lease_namespace: String,
    /// Name of that lease
    #[arg(long, env = "NATTER_OPERATOR_LEASE_NAME", value_name = "NAME", default_value = "natter-operator", value_parser = name)]
    pub lease_name: String,
    /// This process among the operators; in Kubernetes the pod's name
    #[arg(long, env = "NATTER_OPERATOR_IDENTITY", value_name = "NAME", value_parser = name)]
    pub identity: String,
    /// ChatServices that are worked on at once, 1 to 100
    #[arg(long, env = "NATTER_OPERATOR_CONCURRENCY", value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub concurrency: u16,
    /// One line of text or one JSON object per event
    #[arg(
        long,
        env = "NATTER_OPERATOR_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "json"
    )]
    pub log_format: LogFormat,
    /// A level (error, warn, info, debug, trace, off) or directives such as info,natter_operator=debug
    #[arg(
        long,
        env = "NATTER_OPERATOR_LOG_LEVEL",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub log_level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

impl Config {
    pub fn images(&self) -> Images {
        Images {
            chat_node: self.chat_node_image.clone(),
            nats: self.nats_image.clone(),
        }
    }
}

/// A name of an object; an empty variable is a mistake in a template and must not mean "everywhere".
fn name(text: &str) -> Result<String, String> {
    let is_fine = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
    };
    match (1..=253).contains(&text.len()) && text.bytes().all(is_fine) {
        true => Ok(text.to_owned()),
        false => {
            Err("expected the name of an object: 1 to 253 of a-z, 0-9, '-' and '.'".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const NEEDED: [&str; 5] = [
        "natter-operator",
        "--chat-node-image=chat-node:1",
        "--nats-image=nats:2.15",
        "--lease-namespace=natter",
        "--identity=natter-operator-0",
    ];

    #[test]
    fn without_a_namespace_it_works_in_all() {
        let config = Config::parse_from(NEEDED);
        assert_eq!(config.namespace, None);
        assert_eq!(config.images().chat_node, "chat-node:1");
        assert_eq!(config.log_format, LogFormat::Json);
    }

    #[test]
    fn an_empty_namespace_is_a_mistake() {
        let arguments = NEEDED.into_iter().chain(["--namespace="]);
        let error = Config::try_parse_from(arguments).unwrap_err().to_string();
        assert!(error.contains("expected the name of an object"), "{error}");
    }
}
