//! Any bytes as a frame of Protobuf commands: nothing panics, all is read to its end, and data is JSON or refused.
#![no_main]

use chat_node::protocol::command::Request;
use chat_node::protocol::protobuf::{Commands, wire::Command};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

fuzz_target!(|bytes: &[u8]| {
    let mut commands = Commands::new(bytes);
    let mut kept = Command::default();
    while let Some(command) = commands.next(&mut kept) {
        if let Ok(command) = command
            && let Request::Publish(publish) = command.request
            && let Ok(Some(data)) = publish.data.json()
        {
            let same: &RawValue = serde_json::from_str(data.get()).expect("still JSON");
            assert_eq!(same.get(), data.get());
        }
    }
    assert!(commands.rest().is_empty());
});
