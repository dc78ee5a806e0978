use kube::ResourceExt as _;
use serde_json::json;

use super::*;
use crate::fake_api::FakeApi;
use crate::fixtures::{SMALLEST, built};

const SCOPE: Scope<'_> = Scope {
    namespace: "chat",
    uid: "1-2-3",
};
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/chat/deployments/lobby-nodes";

/// What is there after `applied`, all of it read.
fn observed(applied: &Applied) -> Observed {
    Observed {
        objects: applied.objects.clone(),
        ..Observed::default()
    }
}

/// Changes an object that is seen, as a read would bring it.
fn change(live: &mut Live, change: impl FnOnce(&mut DynamicObject)) {
    let mut body = live.body.clone().unwrap();
    change(&mut body);
    *live = Live::read(live.kind, body);
}

/// Applies where nothing is yet.
async fn first_apply(client: &Client, written: &Written, wanted: &[Object]) -> Applied {
    let applied = apply(client, written, SCOPE, wanted, &Observed::default()).await;
    applied.unwrap()
}

#[tokio::test]
async fn everything_is_made_and_a_second_look_writes_nothing() {
    let (api, client) = FakeApi::start();
    let (wanted, written) = (built(SMALLEST), Written::default());
    let first = first_apply(&client, &written, &wanted).await;
    assert_eq!(first.actions.len(), wanted.len());
    assert!(
        first
            .actions
            .iter()
            .all(|action| matches!(action, Action::Created(..)))
    );
    assert_eq!(
        api.take_requests().len(),
        2 * wanted.len(),
        "a look and a write each"
    );

    let second = apply(&client, &written, SCOPE, &wanted, &observed(&first))
        .await
        .unwrap();
    assert_eq!(api.take_requests(), [""; 0]);
    assert_eq!(second.actions, []);
}

#[tokio::test]
async fn after_a_restart_objects_are_written_once_and_nothing_is_said_to_have_changed() {
    let (api, client) = FakeApi::start();
    let wanted = built(SMALLEST);
    let first = first_apply(&client, &Written::default(), &wanted).await;
    api.take_requests();
    let written = Written::default();
    let again = apply(&client, &written, SCOPE, &wanted, &observed(&first))
        .await
        .unwrap();
    assert_eq!(again.actions, []);
    assert_eq!(api.take_requests().len(), wanted.len());
    apply(&client, &written, SCOPE, &wanted, &observed(&again))
        .await
        .unwrap();
    assert_eq!(api.take_requests(), [""; 0]);
}

#[tokio::test]
async fn an_edit_of_somebody_else_is_put_back() {
    let (api, client) = FakeApi::start();
    let (wanted, written) = (built(SMALLEST), Written::default());
    let mut first = first_apply(&client, &written, &wanted).await;
    api.take_requests();
    let mut objects = first.objects.iter_mut();
    let deployment = objects.find(|it| it.kind == Kind::Deployment).unwrap();
    change(deployment, |body| body.data["spec"]["replicas"] = json!(7));
    api.edit(DEPLOYMENT, |object| object["spec"]["replicas"] = json!(7));

    let second = apply(&client, &written, SCOPE, &wanted, &observed(&first))
        .await
        .unwrap();
    assert_eq!(api.take_requests(), [format!("PATCH {DEPLOYMENT}")]);
    assert_eq!(
        second.actions,
        [Action::Updated(Kind::Deployment, "lobby-nodes".to_owned())]
    );
    assert_eq!(api.objects(DEPLOYMENT)[0]["spec"]["replicas"], 2);
}

#[tokio::test]
async fn what_kubernetes_says_of_an_object_changes_nothing_about_it() {
    let (api, client) = FakeApi::start();
    let (wanted, written) = (built(SMALLEST), Written::default());
    let mut first = first_apply(&client, &written, &wanted).await;
    api.take_requests();
    for live in &mut first.objects {
        change(live, |body| {
            body.data["status"] = json!({"readyReplicas": 2});
            let revision = "deployment.kubernetes.io/revision".to_owned();
            body.annotations_mut().insert(revision, "1".to_owned());
            body.metadata.resource_version = Some("99".to_owned());
        });
    }
    apply(&client, &written, SCOPE, &wanted, &observed(&first))
        .await
        .unwrap();
    assert_eq!(api.take_requests(), [""; 0]);
    for live in &first.objects {
        let seen = written.state_of("1-2-3", live.kind, &live.name, "99");
        assert_eq!(
            seen,
            Some(live.state),
            "{} need not be read again",
            live.name
        );
    }
}

#[tokio::test]
async fn a_child_that_was_deleted_comes_back() {
    let (api, client) = FakeApi::start();
    let (wanted, written) = (built(SMALLEST), Written::default());
    let mut first = first_apply(&client, &written, &wanted).await;
    first.objects.retain(|live| live.kind != Kind::Deployment);
    api.objects.lock().unwrap().remove(DEPLOYMENT);
    let second = apply(&client, &written, SCOPE, &wanted, &observed(&first))
        .await
        .unwrap();
    assert_eq!(
        second.actions,
        [Action::Created(Kind::Deployment, "lobby-nodes".to_owned())]
    );
}

#[tokio::test]
async fn an_object_of_somebody_else_is_never_touched() {
    let (api, client) = FakeApi::start();
    let foreign = json!({
        "apiVersion": "v1", "kind": "Service", "spec": {"selector": {"theirs": "yes"}},
        "metadata": {"name": "lobby", "namespace": "chat", "uid": "9", "ownerReferences": [
            {"apiVersion": "v1", "kind": "Shop", "name": "corner", "uid": "8", "controller": true},
        ]},
    });
    let path = "/api/v1/namespaces/chat/services/lobby";
    api.put(path, foreign.clone());
    let error = apply(
        &client,
        &Written::default(),
        SCOPE,
        &built(SMALLEST),
        &Observed::default(),
    )
    .await
    .unwrap_err();
    let text =
        "Service lobby belongs to Shop corner: rename the ChatService, or remove the Service";
    assert_eq!(error.to_string(), text);
    assert_eq!(api.objects(path)[0], foreign);
}

#[tokio::test]
async fn what_is_not_wanted_any_more_goes_and_what_others_labelled_stays() {
    let (api, client) = FakeApi::start();
    let written = Written::default();
    let first = first_apply(&client, &written, &built(SMALLEST)).await;
    let mut seen = observed(&first);
    let mut foreign = seen.objects[0].clone();
    foreign.name = "of-somebody-else".to_owned();
    foreign.metadata.owner_references = None;
    seen.objects.push(foreign);
    api.take_requests();

    let one = built("{auth: {allowAnonymous: true}, replicas: 1}");
    let second = apply(&client, &written, SCOPE, &one, &seen).await.unwrap();
    let deleted: Vec<_> = second
        .actions
        .iter()
        .filter(|action| matches!(action, Action::Deleted(..)))
        .collect();
    assert_eq!(
        deleted,
        [&Action::Deleted(
            Kind::PodDisruptionBudget,
            "lobby-nodes".to_owned()
        )]
    );
    assert_eq!(
        api.objects("poddisruptionbudgets").len(),
        1,
        "that of the servers"
    );
}
