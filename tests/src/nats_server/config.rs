//! The text of a server's configuration file: what a cluster in production has, with time limits that suit tests.

use std::net::SocketAddr;
use std::path::Path;

/// What one server's file says.
pub(super) struct Config<'a> {
    pub name: &'a str,
    pub store: &'a Path,
    /// Where the server says which ports it has.
    pub ports: &'a Path,
    /// The ways to the other servers of its cluster; empty: it stands alone.
    pub routes: &'a [SocketAddr],
    /// Where no server listens: told to the others, so that they use `routes` and nothing else.
    pub nowhere: SocketAddr,
    /// Lines that a test adds; a later line wins.
    pub more: &'a str,
    /// The file of accounts and users beside this one.
    pub accounts: Option<&'a str>,
}

impl Config<'_> {
    pub(super) fn text(&self) -> String {
        let Self {
            name,
            store,
            ports,
            routes,
            nowhere,
            more,
            accounts,
        } = self;
        let mut lines = vec![
            format!("server_name: {name}"),
            "listen: \"127.0.0.1:-1\"".to_owned(),
            "http: \"127.0.0.1:-1\"".to_owned(),
            format!("ports_file_dir: {:?}", ports.display().to_string()),
            "server_tags: [\"sync:always\"]".to_owned(),
            "max_payload: 1MB".to_owned(),
            "write_deadline: \"10s\"".to_owned(),
            "ping_interval: \"10s\"".to_owned(),
            "ping_max: 2".to_owned(),
            "lame_duck_grace_period: \"1s\"".to_owned(),
            // The server takes nothing shorter; it waits at most a second for each client.
            "lame_duck_duration: \"30s\"".to_owned(),
            "jetstream {".to_owned(),
            format!("  store_dir: {:?}", store.display().to_string()),
            "  max_mem: 256MB, max_file: 8GB, sync_interval: always".to_owned(),
            "}".to_owned(),
        ];
        if !routes.is_empty() {
            let routes: Vec<_> = routes
                .iter()
                .map(|route| format!("\"nats-route://{route}\""))
                .collect();
            lines.extend([
                "cluster {".to_owned(),
                "  name: natter, listen: \"127.0.0.1:-1\"".to_owned(),
                format!("  no_advertise: true, advertise: \"{nowhere}\""),
                format!("  routes: [{}]", routes.join(", ")),
                "}".to_owned(),
            ]);
        }
        lines.push((*more).to_owned());
        // Accounts end the file, so that nothing of theirs is taken for ours.
        lines.extend(accounts.map(|file| format!("include {file:?}")));
        lines.join("\n") + "\n"
    }
}
