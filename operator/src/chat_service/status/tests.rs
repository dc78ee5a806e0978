use super::*;
use crate::fake_api::FakeApi;
use crate::fixtures::{SMALLEST, lobby};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn deployment(ready: i32) -> Value {
    json!({
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"image": "chat-node:1"}]}}},
        "status": {"replicas": 2, "readyReplicas": ready, "updatedReplicas": 2, "observedGeneration": 3},
    })
}

fn report(ready: i32) -> Report {
    Report {
        nodes: Some(Workload::read(Some(3), &deployment(ready))),
        nats: Nats::External,
        selector: Some("a=b".to_owned()),
        ..Report::default()
    }
}

#[test]
fn numbers_come_from_the_deployment() {
    let status = of(&lobby(SMALLEST), &report(1), at(1));
    assert_eq!((status.replicas, status.ready_replicas), (Some(2), Some(1)));
    assert_eq!(status.image.as_deref(), Some("chat-node:1"));
    assert_eq!(status.selector.as_deref(), Some("a=b"));
    assert_eq!(status.observed_generation, Some(1));
    assert!(
        status
            .conditions
            .iter()
            .all(|condition| condition.observed_generation == Some(1))
    );
}

#[test]
fn a_change_that_the_controller_has_not_seen_is_progress_and_no_outage() {
    let old = Report {
        nodes: Some(Workload::read(Some(4), &deployment(2))),
        ..report(2)
    };
    let status = of(&lobby(SMALLEST), &old, at(1));
    let is = |type_: &str| {
        let mut conditions = status.conditions.iter();
        conditions
            .find(|it| it.type_ == type_)
            .unwrap()
            .status
            .clone()
    };
    assert_eq!(
        (is("Ready"), is("Progressing")),
        ("True".to_owned(), "True".to_owned())
    );
}

#[test]
fn a_condition_keeps_its_time_until_it_changes() {
    let mut service = lobby(SMALLEST);
    service.status = Some(of(&service, &report(2), at(1)));
    let same = of(&service, &report(2), at(2));
    assert_eq!(
        Some(&same),
        service.status.as_ref(),
        "nothing changed: not even a time"
    );
    let other = of(&service, &report(1), at(2));
    let time = |type_: &str| {
        let condition = other
            .conditions
            .iter()
            .find(|condition| condition.type_ == type_);
        condition.unwrap().last_transition_time.0
    };
    assert_eq!((time("Ready"), time("NATSReady")), (at(2), at(1)));
}

#[tokio::test]
async fn a_status_is_written_when_it_changed_and_only_then() {
    let (api, client) = FakeApi::start();
    let path = "/apis/natter.dev/v1alpha1/namespaces/chat/chatservices/lobby";
    let mut service = lobby(SMALLEST);
    api.put(path, serde_json::to_value(&service).unwrap());
    let status = of(&service, &report(2), at(1));
    assert!(update(&client, &service, &status).await.unwrap());
    assert_eq!(api.take_requests(), [format!("PATCH {path}/status")]);
    assert_eq!(api.objects(path)[0]["status"]["readyReplicas"], 2);
    service.status = Some(status.clone());
    assert!(!update(&client, &service, &status).await.unwrap());
    assert_eq!(api.take_requests(), [""; 0]);
}
