use serde_json::json;

use super::*;
use crate::chat_service::fetch::Live;
use crate::fake_api::FakeApi;
use crate::fixtures::{SMALLEST, built};

const SCOPE: Scope<'_> = Scope {
    namespace: "chat",
    uid: "1-2-3",
};
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/chat/deployments/lobby-nodes";

/// What a list by labels would bring.
fn observed(applied: &Applied) -> Observed {
    let live = |(kind, name, body): &(Kind, String, DynamicObject)| Live {
        kind: *kind,
        name: name.clone(),
        body: body.clone(),
    };
    Observed {
        objects: applied.objects.iter().map(live).collect(),
        ..Observed::default()
    }
}

#[tokio::test]
async fn everything_is_made_and_a_second_look_writes_nothing() {
    let (api, client) = FakeApi::start();
    let (wanted, written) = (built(SMALLEST), Written::default());
    let first = apply(&client, &written, SCOPE, &wanted, &Observed::default())
        .await
        .unwrap();
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
    let first = apply(
        &client,
        &Written::default(),
        SCOPE,
        &wanted,
        &Observed::default(),
    )
    .await
    .unwrap();
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
    let mut first = apply(&client, &written, SCOPE, &wanted, &Observed::default())
        .await
        .unwrap();
    api.take_requests();
    let (_, _, deployment) = first
        .objects
        .iter_mut()
        .find(|(kind, ..)| *kind == Kind::Deployment)
        .unwrap();
    deployment.data["spec"]["replicas"] = json!(7);
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
async fn a_change_of_status_alone_writes_nothing() {
    let (api, client) = FakeApi::start();
    let (wanted, written) = (built(SMALLEST), Written::default());
    let mut first = apply(&client, &written, SCOPE, &wanted, &Observed::default())
        .await
        .unwrap();
    api.take_requests();
    for (_, _, object) in &mut first.objects {
        object.data["status"] = json!({"readyReplicas": 2});
        object.metadata.resource_version = Some("99".to_owned());
    }
    apply(&client, &written, SCOPE, &wanted, &observed(&first))
        .await
        .unwrap();
    assert_eq!(api.take_requests(), [""; 0]);
}

#[tokio::test]
async fn a_child_that_was_deleted_comes_back() {
    let (api, client) = FakeApi::start();
    let (wanted, written) = (built(SMALLEST), Written::default());
    let mut first = apply(&client, &written, SCOPE, &wanted, &Observed::default())
        .await
        .unwrap();
    first.objects.retain(|(kind, ..)| *kind != Kind::Deployment);
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
    let first = apply(
        &client,
        &written,
        SCOPE,
        &built(SMALLEST),
        &Observed::default(),
    )
    .await
    .unwrap();
    let mut seen = observed(&first);
    let mut foreign = seen.objects[0].clone();
    foreign.name = "of-somebody-else".to_owned();
    foreign.body.metadata.owner_references = None;
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
