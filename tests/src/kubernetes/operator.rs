//! The operator, installed once for all tests by its chart, as a user does it.

use tokio::sync::OnceCell;

use super::{kubectl, run};

/// Where the operator runs.
pub const NAMESPACE: &str = "natter-operator";

/// Installs the chart, or upgrades it to that of this checkout, and waits until the operator is ready.
pub async fn installed() {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    INSTALLED.get_or_init(install).await;
}

async fn install() {
    kubectl(&["create", "namespace", NAMESPACE]).await;
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    kubectl(&["label", "namespace", NAMESPACE, restricted, "--overwrite"])
        .await
        .succeeded();
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/natter");
    let values = "image.tag=test,defaults.chatNode.image=natter.dev/chat-node:test";
    let words = [
        "upgrade",
        "--install",
        "natter",
        chart,
        "--namespace",
        NAMESPACE,
        "--set",
        values,
        "--wait",
        "--timeout",
        "120s",
    ];
    run("helm", &words, "").await.succeeded();
}
