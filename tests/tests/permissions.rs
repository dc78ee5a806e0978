//! Every cell of the table in docs/security.md, tried on a node: no session reads or writes a room that it may not.

use natter_tests::client::error_code;
use natter_tests::tokens::{SECRET, token};
use natter_tests::{Client, Node};
use serde_json::{Value, json};

const DOCS: &str = include_str!("../../docs/security.md");

/// The table's columns: how the session stands to the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Outside,
    WithToken,
    Member,
    MemberByToken,
    Given,
    NotNamed,
}

const COLUMNS: [Standing; 6] = [
    Standing::Outside,
    Standing::WithToken,
    Standing::Member,
    Standing::MemberByToken,
    Standing::Given,
    Standing::NotNamed,
];

/// A row: what is asked for, the class's setting, and the code that each standing gets; 0 is yes.
#[derive(Debug)]
struct Row {
    action: String,
    setting: String,
    cells: Vec<Option<u64>>,
}

fn rows() -> Vec<Row> {
    let lines = DOCS.lines().filter_map(|line| line.strip_prefix("| `"));
    let settings = lines.filter_map(|line| {
        let (action, rest) = line.split_once(": ")?;
        let (setting, cells) = rest.split_once("` |")?;
        ["subscribe", "publish", "history", "presence"]
            .contains(&action)
            .then(|| Row {
                action: action.to_owned(),
                setting: setting.to_owned(),
                cells: cells
                    .trim_end_matches('|')
                    .split('|')
                    .map(|cell| code(cell.trim()))
                    .collect(),
            })
    });
    settings.collect()
}

fn code(cell: &str) -> Option<u64> {
    match cell {
        "" => None,
        "yes" => Some(0),
        code => Some(code.parse().expect("a cell is yes, empty or a code")),
    }
}

/// The class in which only the row's setting is not the most open one. A history that nobody reads must not hide
/// whether publishing is refused.
fn class(row: &Row) -> String {
    let of = |action: &str| match row.action == action {
        true => row.setting.as_str(),
        false => "Anyone",
    };
    let prefix = prefix(row);
    format!(
        "- {{prefix: {prefix}, subscribe: {}, publish: {}, history: {}, presence: {}}}\n",
        of("subscribe"),
        of("publish"),
        of("history"),
        of("presence")
    )
}

fn prefix(row: &Row) -> String {
    format!("{}-{}", row.action, row.setting).to_lowercase()
}

/// Does what the row is about as a session that stands to the room so, and returns the code it gets.
async fn try_cell(node: &Node, row: &Row, standing: Standing) -> u64 {
    let room = match standing {
        Standing::NotNamed => format!("{}:room#bob", prefix(row)),
        _ => format!("{}:room", prefix(row)),
    };
    let given: &[&str] = match standing {
        Standing::Given => &[&room],
        _ => &[],
    };
    let mut client = Client::open(node).await;
    let connection = json!({"token": token(json!({"sub": "ann", "channels": given}))});
    client.ask("connect", connection).await;
    let pass = token(json!({"sub": "ann", "channel": room}));
    match standing {
        Standing::Member => {
            client.subscribe(&room).await;
        }
        Standing::MemberByToken => {
            client
                .ask("subscribe", json!({"channel": room, "token": pass}))
                .await;
        }
        _ => {}
    }
    let (method, parameters) = match row.action.as_str() {
        "subscribe" if standing == Standing::Given => return is_member(&mut client, &room).await,
        "subscribe" if standing == Standing::WithToken => {
            ("subscribe", json!({"channel": room, "token": pass}))
        }
        "subscribe" => ("subscribe", json!({"channel": room})),
        "publish" => ("publish", json!({"channel": room, "data": "by ann"})),
        "presence" => ("presence", json!({"channel": room})),
        _ => ("history", json!({"channel": room, "limit": 10})),
    };
    let reply = client.request(method, parameters.clone()).await;
    let code = outcome(&reply, method);
    if standing == Standing::NotNamed {
        // Nor with a token, nor put into it.
        let with_token = json!({"channel": room, "token": pass});
        assert_eq!(client.refused("subscribe", with_token).await, 103, "{room}");
        assert_eq!(client.refused(method, parameters).await, 103, "{room}");
        let mut client = Client::open(node).await;
        let connect = json!({"token": token(json!({"sub": "ann", "channels": [room]}))});
        assert_eq!(client.refused("connect", connect).await, 103, "{room}");
    }
    code
}

async fn is_member(client: &mut Client, room: &str) -> u64 {
    // Whoever is a member is told so when it subscribes.
    match client.refused("subscribe", json!({"channel": room})).await {
        105 => 0,
        code => code,
    }
}

fn outcome(reply: &Value, method: &str) -> u64 {
    match reply.get(method) {
        Some(_) => 0,
        None => error_code(reply),
    }
}

#[tokio::test]
async fn every_cell_of_the_table_is_what_a_node_does() {
    let keys = tempfile::NamedTempFile::new().expect("there is a place for temporary files");
    std::fs::write(keys.path(), SECRET).expect("the file can be written to");
    let rows = rows();
    assert_eq!(
        rows.len(),
        3 + 4 + 4 + 4,
        "one row for each setting: {rows:?}"
    );
    let classes: String = rows.iter().map(class).collect();
    let path = keys.path().to_str().expect("a path in UTF-8");
    let node = Node::with(&["--jwt-key-file", path]).config(&format!("roomClasses:\n{classes}"));
    let node = node.start().await;
    let mut tried = 0;
    for row in &rows {
        assert_eq!(row.cells.len(), COLUMNS.len(), "{row:?}");
        for (cell, standing) in row.cells.iter().zip(COLUMNS) {
            if let Some(expected) = cell {
                let code = try_cell(&node, row, standing).await;
                assert_eq!(
                    code, *expected,
                    "{}: {} {standing:?}",
                    row.action, row.setting
                );
                tried += 1;
            }
        }
    }
    assert!(tried > 40, "{tried} cells");
}

#[tokio::test]
async fn what_is_refused_has_not_happened() {
    let keys = tempfile::NamedTempFile::new().expect("there is a place for temporary files");
    std::fs::write(keys.path(), SECRET).expect("the file can be written to");
    let rows = rows();
    let classes: String = rows.iter().map(class).collect();
    let path = keys.path().to_str().expect("a path in UTF-8");
    let node = Node::with(&["--jwt-key-file", path]).config(&format!("roomClasses:\n{classes}"));
    let node = node.start().await;
    let publishing = rows.iter().filter(|row| row.action == "publish");
    for row in publishing {
        let room = format!("{}:room", prefix(row));
        let mut bob = Client::open(&node).await;
        let connect = json!({"token": token(json!({"sub": "bob", "channels": [room]}))});
        bob.ask("connect", connect).await;
        let mut allowed = 0;
        for (cell, standing) in row.cells.iter().zip(COLUMNS) {
            if cell.is_some() && standing != Standing::NotNamed {
                allowed += usize::from(try_cell(&node, row, standing).await == 0);
            }
        }
        let page = bob
            .ask("history", json!({"channel": room, "limit": -1}))
            .await;
        let kept = page["publications"].as_array().expect("a list").len();
        assert_eq!(kept, allowed, "{}", row.setting);
    }
}
