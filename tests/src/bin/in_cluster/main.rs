//! What runs in pods of a cluster under test, where Services and addresses of pods are: a client's cable, and knocking at the door.
//!
//!     in-cluster relay LISTEN TARGET                   carries every connection on to TARGET: its clients have the pod's address
//!     in-cluster knock TARGET SECONDS AT_ONCE          opens sessions one after the other, and counts those that could not
//!     in-cluster kill CONTAINER                        ends every process of a container of this machine, as kill -9 does
//!
//! TARGET is host:port, asked from DNS anew for each connection. Results are one line of JSON on stdout.

mod kill;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use natter_tests::socket::{End, Socket};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::signal::unix::{SignalKind, signal};

/// How long a client waits for a connection and for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["relay", listen, target] => relay(listen, target).await,
        ["knock", target, seconds, at_once] => match (seconds.parse(), at_once.parse()) {
            (Ok(seconds), Ok(at_once)) => {
                knock(target, Duration::from_secs(seconds), at_once).await
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
        "usage: in-cluster relay LISTEN TARGET | in-cluster knock TARGET SECONDS AT_ONCE | in-cluster kill CONTAINER"
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

/// Opens sessions for a while, `at_once` side by side, each closed as soon as it is connected.
async fn knock(target: &str, time: Duration, at_once: usize) {
    let begun = Instant::now();
    let opened = Arc::new(AtomicU64::new(0));
    let failures = Arc::new(Mutex::new(BTreeMap::<String, u64>::new()));
    let knockers: Vec<_> = (0..at_once)
        .map(|_| {
            let (target, opened, failures) = (target.to_owned(), opened.clone(), failures.clone());
            tokio::spawn(async move {
                while begun.elapsed() < time {
                    let session = tokio::time::timeout(PATIENCE, session(&target)).await;
                    match session {
                        Ok(Ok(())) => {
                            opened.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(Err(why)) => count(&failures, why),
                        Err(_) => count(&failures, format!("no session within {PATIENCE:?}")),
                    }
                }
            })
        })
        .collect();
    for knocker in knockers {
        knocker.await.expect("a knocker does not panic");
    }
    let failures = failures.lock().expect("nobody panicked").clone();
    println!(
        "{}",
        json!({"opened": opened.load(Ordering::Relaxed), "failures": failures})
    );
}

fn count(failures: &Mutex<BTreeMap<String, u64>>, why: String) {
    let mut failures = failures.lock().expect("nobody panicked");
    *failures.entry(why).or_default() += 1;
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
