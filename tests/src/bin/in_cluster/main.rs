//! What runs in pods of a cluster under test, where Services and addresses of pods are: a client's cable, and knocking at the door.
//!
//!     in-cluster relay LISTEN TARGET                   carries every connection on to TARGET: its clients have the pod's address
//!     in-cluster knock TARGET SESSIONS SECONDS         opens so many sessions in that time, and counts those that could not
//!     in-cluster kill CONTAINER                        ends every process of a container of this machine, as kill -9 does
//!
//! TARGET is host:port, asked from DNS anew for each connection. Results are one line of JSON on stdout.

mod kill;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use natter_tests::socket::{End, Socket};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// How long a client waits for a connection and for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["relay", listen, target] => relay(listen, target).await,
        ["knock", target, sessions, seconds] => match (sessions.parse(), seconds.parse()) {
            (Ok(sessions), Ok(seconds)) => {
                knock(target, sessions, Duration::from_secs(seconds)).await
            }
            _ => return usage(),
        },
        ["kill", container] => return kill::kill(container),
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: in-cluster relay LISTEN TARGET | in-cluster knock TARGET SESSIONS SECONDS | in-cluster kill CONTAINER"
    );
    ExitCode::from(2)
}

/// Copies between whoever connects and the target, until SIGTERM.
async fn relay(listen: &str, target: &str) {
    let listener = TcpListener::bind(listen)
        .await
        .expect("the pod's port is free");
    // Process 1 gets only those signals that it asked for.
    let mut term = signal(SignalKind::terminate()).expect("signals can be handled");
    println!("relaying {listen} to {target}");
    loop {
        let client = tokio::select! {
            accepted = listener.accept() => accepted.map(|(client, _)| client),
            _ = term.recv() => return,
        };
        let (Ok(mut client), target) = (client, target.to_owned()) else {
            continue;
        };
        tokio::spawn(async move {
            match TcpStream::connect(&target).await {
                Ok(mut server) => {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    part(client).await;
                }
                Err(error) => eprintln!("{target}: {error}"),
            }
        });
    }
}

/// Ends a connection in order whatever became of the server: one that is reset takes `kubectl port-forward` with it,
/// and all other connections.
async fn part(mut client: TcpStream) {
    let _ = client.shutdown().await;
    let rest = async { tokio::io::copy(&mut client, &mut tokio::io::sink()).await };
    let _ = tokio::time::timeout(PATIENCE, rest).await;
}

/// Opens sessions at an even pace, each closed as soon as it is connected. None waits for another, however long that takes.
async fn knock(target: &str, sessions: u32, time: Duration) {
    let mut knocks = JoinSet::new();
    let begun = Instant::now();
    for number in 0..sessions {
        sleep_until(begun + time * number / sessions).await;
        let target = target.to_owned();
        knocks.spawn(async move {
            let begun = Instant::now();
            let session = timeout(PATIENCE, session(&target)).await;
            let session =
                session.unwrap_or_else(|_| Err(format!("no session within {PATIENCE:?}")));
            session.map(|()| begun.elapsed())
        });
    }
    let (mut opened, mut slowest) = (0, Duration::ZERO);
    let mut failures = BTreeMap::<String, u64>::new();
    for knocked in knocks.join_all().await {
        match knocked {
            Ok(took) => {
                opened += 1;
                slowest = slowest.max(took);
            }
            Err(why) => *failures.entry(why).or_default() += 1,
        }
    }
    let slowest = slowest.as_millis() as u64;
    let said = json!({"opened": opened, "failures": failures, "slowest_ms": slowest});
    println!("{said}");
}

/// Connects as a client does, up to the answer to its connect command.
async fn session(target: &str) -> Result<(), String> {
    let address = lookup_host(target).await;
    let address = address.map_err(|error| format!("no address of {target}: {error}"))?;
    let address = address.into_iter().next().ok_or("no address")?;
    let mut socket = Socket::open(address).await.map_err(said)?;
    socket
        .send(r#"{"id":1,"connect":{}}"#)
        .await
        .map_err(said)?;
    let reply = socket.read().await.map_err(said)?;
    if !reply.contains(r#""connect":"#) {
        return Err(reply);
    }
    socket.close().await.map_err(said)
}

fn said(end: End) -> String {
    end.to_string()
}
