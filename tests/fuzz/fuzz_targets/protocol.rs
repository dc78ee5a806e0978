//! Any text as a frame of commands: nothing panics, and data that is accepted is one line of the same JSON.
#![no_main]

use chat_node::protocol::command::{Commands, Request};
use chat_node::protocol::compact::compact;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &str| {
    for command in Commands::new(text).map_while(Result::ok) {
        let Request::Publish(publish) = command.request else {
            continue;
        };
        let Ok(Some(data)) = publish.data.json() else {
            continue;
        };
        let Ok(compacted) = compact(data.get()) else {
            continue;
        };
        assert!(!compacted.contains(&b'\n'));
        let again = std::str::from_utf8(&compacted).expect("still text");
        assert_eq!(compact(again).expect("still fit"), compacted);
        let value: Result<Value, _> = serde_json::from_str(data.get());
        if let Ok(value) = value {
            let same: Value = serde_json::from_str(again).expect("still JSON");
            assert_eq!(same, value);
        }
    }
});
