//! The public keys of a JWKS document, by URL: kept, and asked for again when a token names one that is not known.
//!
//! One request is out at a time, whoever asks. While the source is down the last good keys count. A key that was taken
//! out of the document is refused at the latest after [`RENEW_EVERY`].

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::Uri;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use super::http_client::HttpClient;
use super::keys::Keys;
use crate::metrics::AuthMetrics;

/// How long one request may take. Whoever waits for it, an SDK that gives up after 5 s, must have its answer by then.
const FETCH_PATIENCE: Duration = Duration::from_secs(4);
/// How long it is believed that a key is not there, or that the source is down.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
const RENEW_EVERY: Duration = Duration::from_secs(300);
/// How soon a source that is down is asked again by itself.
const RETRY_EVERY: Duration = Duration::from_secs(10);

pub struct Jwks {
    uri: Uri,
    client: HttpClient,
    runtime: Handle,
    metrics: AuthMetrics,
    state: Mutex<State>,
    /// Changes with each request that is over.
    over: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    keys: Option<Arc<Keys>>,
    is_asked: bool,
    /// When the last request was over, and whether it was good.
    last: Option<(Instant, bool)>,
}

/// The keys cannot be had.
#[derive(Debug, PartialEq, Eq)]
pub struct Unavailable;

type Answer = Result<Arc<Keys>, Unavailable>;

pub enum Found {
    Now(Answer),
    Later(Pin<Box<dyn Future<Output = Answer> + Send>>),
}

impl Jwks {
    /// Asks for the keys, and from then on now and then, on the runtime that this is called in.
    ///
    /// Errors: TLS is needed, and the system knows no authorities.
    pub fn open(uri: Uri, metrics: AuthMetrics) -> Result<Arc<Self>, std::io::Error> {
        let jwks = Arc::new(Self {
            client: HttpClient::new(&uri)?,
            uri,
            runtime: Handle::current(),
            metrics,
            state: Mutex::default(),
            over: watch::Sender::new(()),
        });
        tokio::spawn(jwks.clone().keep());
        Ok(jwks)
    }

    /// The keys, in which `id` is if it can be found. Without an id any keys will do.
    pub fn keys_for(self: &Arc<Self>, id: Option<&str>) -> Found {
        let mut over = self.over.subscribe();
        let mut state = self.lock();
        if let Some(keys) = state.keys.as_ref().filter(|keys| keys.knows(id)) {
            return Found::Now(Ok(keys.clone()));
        }
        let is_fresh = state.last.is_some_and(|(at, _)| at.elapsed() < AGAIN_AFTER);
        if !state.is_asked && is_fresh {
            return Found::Now(state.outcome(id));
        }
        self.ask(&mut state);
        drop(state);
        let (jwks, id) = (self.clone(), id.map(str::to_owned));
        Found::Later(Box::pin(async move {
            // Cannot fail before this does: the sender is its own.
            let _ = timeout(FETCH_PATIENCE, over.changed()).await;
            jwks.lock().outcome(id.as_deref())
        }))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic holds this lock")
    }

    /// Starts a request, unless one is out.
    fn ask(self: &Arc<Self>, state: &mut State) {
        if !std::mem::replace(&mut state.is_asked, true) {
            self.runtime.spawn(self.clone().fetch());
        }
    }

    async fn fetch(self: Arc<Self>) {
        let answer = timeout(FETCH_PATIENCE, self.client.get(&self.uri)).await;
        let keys = match answer {
            Ok(Ok(document)) => {
                Keys::from_public_jwks(&document).map_err(|error| error.to_string())
            }
            Ok(Err(failure)) => Err(failure.to_string()),
            Err(_) => Err("it did not answer in time".to_owned()),
        };
        let mut state = self.lock();
        let was_good = state.last.is_none_or(|(_, good)| good);
        let is_first = state.last.is_none();
        let (uri, is_good) = (&self.uri, keys.is_ok());
        self.metrics.fetched_keys(is_good);
        match keys {
            Ok(keys) => {
                if is_first || !was_good {
                    tracing::info!(%uri, keys = keys.count(), "have the keys for tokens");
                }
                state.keys = Some(Arc::new(keys));
            }
            Err(error) if was_good => {
                tracing::warn!(%uri, %error, "cannot get the keys for tokens; those known before count on");
            }
            Err(_) => {}
        }
        state.is_asked = false;
        state.last = Some((Instant::now(), is_good));
        drop(state);
        self.over.send_replace(());
    }

    async fn keep(self: Arc<Self>) {
        loop {
            self.ask(&mut self.lock());
            let mut over = self.over.subscribe();
            let _ = timeout(FETCH_PATIENCE * 2, over.changed()).await;
            let is_good = self.lock().last.is_some_and(|(_, good)| good);
            tokio::time::sleep(if is_good { RENEW_EVERY } else { RETRY_EVERY }).await;
        }
    }
}

impl State {
    /// What the last request has come to for who wants `id`. Where it failed nobody knows whether the key is there now.
    fn outcome(&self, id: Option<&str>) -> Answer {
        let was_good = self.last.is_some_and(|(_, good)| good) && !self.is_asked;
        let keys = self.keys.as_ref().ok_or(Unavailable)?;
        match keys.knows(id) || was_good {
            true => Ok(keys.clone()),
            false => Err(Unavailable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A source of keys that counts how often it is asked.
    struct Source {
        document: Mutex<Option<String>>,
        asked: AtomicUsize,
    }

    fn document(id: &str) -> String {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"{id}","x":"{x}"}}]}}"#)
    }

    impl Source {
        async fn start(document: Option<String>) -> (Arc<Self>, Arc<Jwks>) {
            let source = Arc::new(Self {
                document: Mutex::new(document),
                asked: AtomicUsize::new(0),
            });
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let uri = format!("http://{}/keys", listener.local_addr().unwrap());
            tokio::spawn(source.clone().serve(listener));
            let metrics = crate::metrics::Metrics::new(1).unwrap();
            let jwks = Jwks::open(uri.parse().unwrap(), metrics.auth).unwrap();
            (source, jwks)
        }

        async fn serve(self: Arc<Self>, listener: TcpListener) {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                self.asked.fetch_add(1, SeqCst);
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let (status, body) = match self.document.lock().unwrap().clone() {
                    Some(document) => ("200 OK", document),
                    None => ("503 Unavailable", String::new()),
                };
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
                );
                let _ = stream.write_all((head + &body).as_bytes()).await;
            }
        }

        fn publish(&self, document: Option<String>) {
            *self.document.lock().unwrap() = document;
        }
    }

    async fn ask(jwks: &Arc<Jwks>, id: &str) -> Option<bool> {
        let answer = match jwks.keys_for(Some(id)) {
            Found::Now(answer) => answer,
            Found::Later(answer) => answer.await,
        };
        answer.ok().map(|keys| keys.knows(Some(id)))
    }

    #[tokio::test]
    async fn many_who_ask_at_once_are_one_request() {
        let (source, jwks) = Source::start(Some(document("a"))).await;
        let asking: Vec<_> = (0..100)
            .map(|_| {
                let jwks = jwks.clone();
                tokio::spawn(async move { ask(&jwks, "a").await })
            })
            .collect();
        for answer in asking {
            assert_eq!(answer.await.unwrap(), Some(true));
        }
        assert_eq!(source.asked.load(SeqCst), 1);
    }

    #[tokio::test]
    async fn an_unknown_key_is_asked_for_once_in_a_while_and_found_when_it_is_there() {
        let (source, jwks) = Source::start(Some(document("a"))).await;
        assert_eq!(ask(&jwks, "a").await, Some(true));
        source.publish(Some(document("b")));
        for _ in 0..10 {
            assert_eq!(ask(&jwks, "b").await, Some(false));
        }
        assert_eq!(source.asked.load(SeqCst), 1, "it has just been asked");
        jwks.lock().last = Some((Instant::now() - AGAIN_AFTER, true));
        assert_eq!(ask(&jwks, "b").await, Some(true));
        assert_eq!(source.asked.load(SeqCst), 2);
    }

    #[tokio::test]
    async fn while_the_source_is_down_known_keys_count_and_unknown_ones_are_unknown() {
        let (source, jwks) = Source::start(Some(document("a"))).await;
        assert_eq!(ask(&jwks, "a").await, Some(true));
        source.publish(None);
        jwks.lock().last = Some((Instant::now() - AGAIN_AFTER, true));
        assert_eq!(ask(&jwks, "b").await, None);
        assert_eq!(ask(&jwks, "a").await, Some(true));
        assert_eq!(ask(&jwks, "b").await, None);
        assert_eq!(source.asked.load(SeqCst), 2);
    }

    #[tokio::test]
    async fn without_any_keys_nobody_can_be_told_anything() {
        let (source, jwks) = Source::start(None).await;
        assert_eq!(ask(&jwks, "a").await, None);
        assert_eq!(ask(&jwks, "a").await, None);
        assert_eq!(source.asked.load(SeqCst), 1, "the failure is remembered");
        source.publish(Some("{}".to_owned()));
        jwks.lock().last = Some((Instant::now() - AGAIN_AFTER, false));
        assert_eq!(
            ask(&jwks, "a").await,
            None,
            "no document is no answer either"
        );
    }
}
