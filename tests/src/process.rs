//! A program under test as a process of its own: its signals, its end, and what it wrote. Killed when dropped.

mod log;

use std::io;
use std::process::{Child, ExitStatus};

use crate::wait::{until, until_some};

pub(crate) use log::Log;

pub struct Process {
    /// What the process is called when a test fails.
    name: String,
    child: Child,
    pub(crate) log: Log,
}

/// Signals that tests send.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    Terminate,
    /// A node takes it as the order to read its file again.
    Hangup,
    /// Stops the process where it is, until `Continue`.
    Stop,
    Continue,
    /// A nats-server takes it as the order to enter lame duck mode.
    User2,
}

/// Ends a process as `kill -9` does.
pub fn kill_9(pid: u32) -> io::Result<()> {
    send(pid, libc::SIGKILL)
}

fn send(pid: u32, signal: libc::c_int) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    #[expect(unsafe_code, reason = "std sends no signal but SIGKILL, to children")]
    // SAFETY: kill takes two numbers, and touches no memory of this process.
    let result = unsafe { libc::kill(pid, signal) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lines of log that a failed test shows.
const TAIL: usize = 200;

impl Process {
    pub(crate) fn new(name: String, child: Child, log: Log) -> Self {
        Self { name, child, log }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let number = match signal {
            Signal::Terminate => libc::SIGTERM,
            Signal::Hangup => libc::SIGHUP,
            Signal::Stop => libc::SIGSTOP,
            Signal::Continue => libc::SIGCONT,
            Signal::User2 => libc::SIGUSR2,
        };
        let sent = send(self.id(), number);
        assert!(
            sent.is_ok(),
            "{signal:?} could not be sent to {}: {sent:?}",
            self.name
        );
    }

    /// Stops the process, and waits until none of its threads runs any more.
    pub async fn freeze(&self) {
        self.signal(Signal::Stop);
        let tasks = format!("/proc/{}/task", self.id());
        let is_stopped = |task: std::fs::DirEntry| {
            let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
            status.contains("State:\tT")
        };
        until("all threads to stand still", async || {
            let tasks = std::fs::read_dir(&tasks).expect("the process is there");
            tasks.flatten().all(is_stopped)
        })
        .await;
    }

    /// Kills the process as `kill -9` does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// How the process ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the process is a child")
    }

    /// Waits until the process has ended.
    pub async fn exit(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        until_some(&what, async || self.ended()).await
    }

    /// Waits until the log contains `text`.
    pub async fn logged(&self, text: &str) {
        let what = format!("'{text}' in the log of {}", self.name);
        until(&what, async || self.log.text().contains(text)).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let (name, tail) = (&self.name, self.log.tail(TAIL));
            eprintln!("--- log of {name} ---\n{tail}\n---");
        }
    }
}
