//! Strategic merge of pod templates, as `kubectl patch` does it: maps are merged, `null` deletes, lists with a merge
//! key are merged by it (`$patch: delete` and `$patch: replace` too), all other lists are replaced. Pure.

use serde_json::{Map, Value};

/// By which field items of a list are the same, for the lists of a pod that are merged.
fn merge_keys(list: &str) -> &'static [&'static str] {
    match list {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "resourceClaims" => &["name"],
        "volumeMounts" => &["mountPath"],
        "volumeDevices" => &["devicePath"],
        "ports" => &["containerPort"],
        "hostAliases" => &["ip"],
        "topologySpreadConstraints" => &["topologyKey"],
        _ => &[],
    }
}

const DIRECTIVE: &str = "$patch";

/// `base` with `patch` over it.
pub fn merge(base: Value, patch: &Value) -> Value {
    merge_field("", base, patch)
}

fn merge_field(name: &str, base: Value, patch: &Value) -> Value {
    match (base, patch) {
        (Value::Object(base), Value::Object(patch)) => Value::Object(merge_maps(base, patch)),
        (Value::Array(base), Value::Array(patch)) if !merge_keys(name).is_empty() => {
            Value::Array(merge_lists(merge_keys(name), base, patch))
        }
        (_, patch) => without_directives(name, patch),
    }
}

fn merge_maps(mut base: Map<String, Value>, patch: &Map<String, Value>) -> Map<String, Value> {
    if patch
        .get(DIRECTIVE)
        .is_some_and(|directive| directive == "replace")
    {
        base.clear();
    }
    for (name, value) in patch.iter().filter(|(name, _)| *name != DIRECTIVE) {
        match (base.remove(name), value) {
            (_, Value::Null) => {}
            (Some(old), value) => {
                base.insert(name.clone(), merge_field(name, old, value));
            }
            (None, value) => {
                base.insert(name.clone(), without_directives(name, value));
            }
        }
    }
    base
}

fn merge_lists(keys: &[&str], mut base: Vec<Value>, patch: &[Value]) -> Vec<Value> {
    if patch.iter().any(|item| is_only_directive(item, "replace")) {
        base.clear();
    }
    for item in patch {
        let same = |other: &Value| {
            keys.iter()
                .all(|key| !item[key].is_null() && other[key] == item[key])
        };
        let place = base.iter().position(same);
        match (place, directive(item)) {
            (_, Some("replace")) if is_only_directive(item, "replace") => {}
            (Some(place), Some("delete")) => {
                base.remove(place);
            }
            (None, Some("delete")) => {}
            (Some(place), _) => {
                let old = std::mem::take(&mut base[place]);
                base[place] = merge_field("", old, item);
            }
            (None, _) => base.push(without_directives("", item)),
        }
    }
    base
}

fn directive(item: &Value) -> Option<&str> {
    item.get(DIRECTIVE).and_then(Value::as_str)
}

fn is_only_directive(item: &Value, wanted: &str) -> bool {
    directive(item) == Some(wanted) && item.as_object().is_some_and(|fields| fields.len() == 1)
}

/// What is added as it is: `null` and directives in it have nothing to delete.
fn without_directives(name: &str, value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(merge_maps(Map::new(), fields)),
        Value::Array(items) if !merge_keys(name).is_empty() => {
            Value::Array(merge_lists(merge_keys(name), Vec::new(), items))
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn maps_are_merged_and_null_deletes() {
        let base = json!({"spec": {"a": 1, "b": {"c": 2}, "d": 3}});
        let patch = json!({"spec": {"b": {"e": 4}, "d": null, "f": {"g": null}}});
        assert_eq!(
            merge(base, &patch),
            json!({"spec": {"a": 1, "b": {"c": 2, "e": 4}, "f": {}}})
        );
    }

    #[test]
    fn containers_are_merged_by_name_and_keep_their_order() {
        let base = json!({"containers": [{"name": "chat-node", "image": "a", "env": [{"name": "X", "value": "1"}]}]});
        let patch = json!({"containers": [
            {"name": "sidecar", "image": "b"},
            {"name": "chat-node", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "3"}]},
        ]});
        let merged = json!({"containers": [
            {"name": "chat-node", "image": "a", "env": [{"name": "X", "value": "3"}, {"name": "Y", "value": "2"}]},
            {"name": "sidecar", "image": "b"},
        ]});
        assert_eq!(merge(base, &patch), merged);
    }

    #[test]
    fn an_item_is_deleted_or_a_list_replaced_on_demand() {
        let base = json!({"volumes": [{"name": "a"}, {"name": "b"}], "env": [{"name": "X"}]});
        let patch = json!({
            "volumes": [{"name": "a", "$patch": "delete"}, {"name": "z", "$patch": "delete"}],
            "env": [{"$patch": "replace"}, {"name": "Y"}],
        });
        assert_eq!(
            merge(base, &patch),
            json!({"volumes": [{"name": "b"}], "env": [{"name": "Y"}]})
        );
    }

    #[test]
    fn lists_without_a_key_are_replaced() {
        let base = json!({"tolerations": [{"key": "a"}], "args": ["x"]});
        let patch = json!({"tolerations": [{"key": "b"}], "args": ["y", "z"]});
        assert_eq!(merge(base, &patch), patch);
    }

    #[test]
    fn nothing_changes_nothing() {
        let base = json!({"containers": [{"name": "a"}], "x": 1});
        assert_eq!(merge(base.clone(), &json!({})), base);
    }
}
