//! A backend: answers HTTP requests as a test tells it to, and remembers them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Status and body for every request; `None`: requests wait until there is another answer.
pub type Answer = Option<(u16, String)>;

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Head lines in lower case.
    pub head: String,
    pub body: String,
}

pub struct WebService {
    pub address: SocketAddr,
    answer: watch::Sender<Answer>,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: AbortHandle,
}

impl WebService {
    pub async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("there is a free port");
        let address = listener.local_addr().expect("it listens");
        let (answer, answers) = watch::channel(answer);
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let kept = asked.clone();
        let serve = async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answers.clone(), kept.clone()));
            }
        };
        let task = tokio::spawn(serve).abort_handle();
        Self {
            address,
            answer,
            asked,
            task,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub fn answer(&self, answer: Answer) {
        self.answer.send_replace(answer);
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic holds this lock").clone()
    }
}

impl Drop for WebService {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    stream: TcpStream,
    mut answers: watch::Receiver<Answer>,
    kept: Arc<Mutex<Vec<Asked>>>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut asked = Asked::default();
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            if line.trim().is_empty() {
                break;
            }
            let line = line.to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            asked.head.push_str(&line);
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        asked.body = String::from_utf8(body).expect("requests are UTF-8");
        kept.lock().expect("no panic holds this lock").push(asked);
        let answer = answers.wait_for(Option::is_some).await.ok()?.clone();
        let (status, body) = answer.expect("it was waited for");
        let length = body.len();
        let text = format!("HTTP/1.1 {status} Answer\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(text.as_bytes()).await.ok()?;
    }
}
