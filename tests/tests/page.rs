//! The chat page in a real Chromium, against a real node: what people who chat can rely on.
//!
//! The promises are kept or broken in `tests/page/scenarios`, one file each.

use std::time::Duration;

use natter_tests::script::installed;
use natter_tests::{Node, script};
use tokio::process::Command;
use tokio::sync::Semaphore;

macro_rules! promises {
    ($($promise:ident),+ $(,)?) => {$(
        #[tokio::test]
        async fn $promise() {
            keep(stringify!($promise)).await;
        }
    )+};
}

promises!(
    two_browsers_chat,
    recent_messages_are_shown,
    several_rooms,
    user_text_is_escaped,
    network_cut,
    node_restart,
    phone_width,
    keyboard_only,
    who_is_here,
);

const DEADLINE: Duration = Duration::from_secs(150);

/// Each browser is a dozen processes: more than two at once starve each other.
static BROWSERS: Semaphore = Semaphore::const_new(2);

async fn keep(promise: &str) {
    installed("tests/page/node_modules/playwright-core/package.json");
    let _turn = BROWSERS.acquire().await.expect("nobody closes it");
    let mut node = Node::with(&[])
        .config("roomClasses: [{prefix: live, joinLeave: true}]")
        .start()
        .await;
    let mut script = Command::new("node");
    script
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/page"))
        .args(["scenarios.mjs", promise])
        .arg(format!("http://{}", node.address));
    script::play(script, &mut node, DEADLINE).await;
}
