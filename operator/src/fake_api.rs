//! An API server in memory, for tests of what is written and what is not: GET, server-side apply, merge patch and
//! DELETE of single objects, lists of all of a kind, and a list of the requests that came.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

type Handle = tower_test::mock::Handle<Request<Body>, Response<Body>>;

const MERGE: &str = "application/merge-patch+json";

/// What can be listed; labels are not looked at.
const LISTS: [&str; 9] = [
    "/pods",
    "/services",
    "/secrets",
    "/configmaps",
    "/serviceaccounts",
    "/deployments",
    "/statefulsets",
    "/networkpolicies",
    "/poddisruptionbudgets",
];

/// As RFC 7386 says.
fn merge(object: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *object = patch;
        return;
    };
    for (key, value) in patch {
        match value {
            Value::Null => {
                object.as_object_mut().map(|object| object.remove(&key));
            }
            value => merge(&mut object[key], value),
        }
    }
}

#[derive(Clone, Default)]
pub struct FakeApi {
    pub objects: Arc<Mutex<BTreeMap<String, Value>>>,
    versions: Arc<AtomicU64>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl FakeApi {
    /// Starts to answer; ends with the runtime of the test.
    pub fn start() -> (Self, Client) {
        let (service, handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let api = Self::default();
        tokio::spawn(api.clone().answer(handle));
        (api, Client::new(service, "chat"))
    }

    /// The requests since the last call, `METHOD path` each.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    /// Every object whose path has `part` in it.
    pub fn objects(&self, part: &str) -> Vec<Value> {
        let objects = self.objects.lock().unwrap();
        let found = objects.iter().filter(|(path, _)| path.contains(part));
        found.map(|(_, object)| object.clone()).collect()
    }

    /// Changes an object behind the operator's back.
    pub fn edit(&self, path: &str, edit: impl FnOnce(&mut Value)) {
        let mut objects = self.objects.lock().unwrap();
        let object = objects.get_mut(path).unwrap();
        edit(object);
        self.change(object);
    }

    pub fn put(&self, path: &str, object: Value) {
        self.objects.lock().unwrap().insert(path.to_owned(), object);
    }

    /// A change gives an object another version.
    fn change(&self, object: &mut Value) {
        let version = self.versions.fetch_add(1, Ordering::Relaxed) + 1;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
    }

    async fn answer(self, mut handle: Handle) {
        while let Some((request, send)) = handle.next_request().await {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            let path = parts.uri.path().to_owned();
            self.requests
                .lock()
                .unwrap()
                .push(format!("{} {path}", parts.method));
            let is_merge = parts
                .headers
                .get("content-type")
                .is_some_and(|it| it == MERGE);
            let (status, body) = self.respond(&parts.method, &path, is_merge, &body);
            let response = Response::builder()
                .status(status)
                .body(Body::from(body.to_string().into_bytes()));
            send.send_response(response.unwrap());
        }
    }

    fn respond(
        &self,
        method: &Method,
        path: &str,
        is_merge: bool,
        body: &[u8],
    ) -> (StatusCode, Value) {
        let mut objects = self.objects.lock().unwrap();
        match (method.as_str(), objects.get(path).cloned()) {
            ("GET", Some(object)) => (StatusCode::OK, object),
            ("GET", None) if LISTS.iter().any(|list| path.ends_with(list)) => {
                let inside = format!("{path}/");
                let items = objects.iter().filter(|(path, _)| path.starts_with(&inside));
                let items: Vec<_> = items.map(|(_, object)| object).collect();
                let list =
                    json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items});
                (StatusCode::OK, list)
            }
            ("PATCH", Some(mut object)) if is_merge => {
                merge(&mut object, serde_json::from_slice(body).unwrap());
                self.change(&mut object);
                objects.insert(path.to_owned(), object.clone());
                (StatusCode::OK, object)
            }
            ("PATCH", _) if path.ends_with("/status") => {
                let object = objects.get_mut(path.trim_end_matches("/status")).unwrap();
                let patch: Value = serde_json::from_slice(body).unwrap();
                match is_merge {
                    true => merge(&mut object["status"], patch["status"].clone()),
                    false => object["status"] = patch["status"].clone(),
                }
                (StatusCode::OK, object.clone())
            }
            ("PATCH", before) if !is_merge => {
                let mut object: Value = serde_json::from_slice(body).unwrap();
                let uid = before.as_ref().map_or_else(
                    || json!(format!("uid of {path}")),
                    |before| before["metadata"]["uid"].clone(),
                );
                object["metadata"]["uid"] = uid;
                let mut same = object.clone();
                let version = before.as_ref().map(|it| &it["metadata"]["resourceVersion"]);
                same["metadata"]["resourceVersion"] = version.cloned().unwrap_or_default();
                match before == Some(same.clone()) {
                    true => object = same,
                    false => self.change(&mut object),
                }
                objects.insert(path.to_owned(), object.clone());
                (StatusCode::OK, object)
            }
            ("DELETE", Some(object)) => {
                let wanted: Value = serde_json::from_slice(body).unwrap();
                assert_eq!(wanted["preconditions"]["uid"], object["metadata"]["uid"]);
                objects.remove(path);
                (
                    StatusCode::OK,
                    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}),
                )
            }
            (_, _) => (
                StatusCode::NOT_FOUND,
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound",
                       "message": format!("{path} not found"), "code": 404}),
            ),
        }
    }
}
