//! The programs of `make bench`: two servers that cost what the kernel costs, and the clients that load servers.
//!
//! bench.py -> floor | bare-101 | chat-node | peers   (core 0)
//!          -> load                                   (core 1)
//!          -> cluster                                (any core, beside nodes and NATS servers)
//!
//! bench.py decides what is measured and does the arithmetic; nothing here knows about targets or ratios.

use std::net::SocketAddr;

use clap::{Parser, Subcommand};

mod bare_101;
mod cluster;
mod control;
mod dialect;
mod door;
mod floor;
mod frame;
mod handshake;
mod histogram;
mod load;
mod message;
mod stopwatch;
mod sys;

#[derive(Parser)]
#[command(about)]
struct Arguments {
    #[command(subcommand)]
    program: Program,
}

#[derive(Subcommand)]
enum Program {
    /// Sends prebuilt frames to the sockets of a room, one send(2) per socket, and does nothing else.
    Floor {
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Where messages come in; a member's connection only receives.
        #[arg(long, default_value = "127.0.0.1:0")]
        control: SocketAddr,
        /// Send every message by itself, also when several of its room are waiting.
        #[arg(long)]
        no_coalesce: bool,
    },
    /// Accepts connections and answers each WebSocket request with 101.
    #[command(name = "bare-101")]
    Bare101 {
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Holds the connections and makes the load; reads one JSON command per line, answers with one line each.
    Load,
    /// Sends messages over nodes and NATS, and over NATS alone; commands and answers as with `load`.
    Cluster,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().program {
        Program::Floor {
            listen,
            control,
            no_coalesce,
        } => floor::run(listen, control, !no_coalesce),
        Program::Bare101 { listen } => bare_101::run(listen),
        Program::Load => load::run(),
        Program::Cluster => cluster::run(),
    }
}
