//! What tests of the outputs share.

use serde_json::Value;

/// Check `value` against what of JSON Schema our schemas use.
pub(super) fn check(value: &Value, schema: &Value, root: &Value, place: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = root.pointer(reference.trim_start_matches('#')).unwrap();
        return check(value, schema, root, place);
    }
    if let Some(constant) = schema.get("const") {
        assert_eq!(value, constant, "{place}");
    }
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{place}: {value}");
    }
    if let Some(minimum) = schema["minimum"].as_u64() {
        assert!(value.as_u64() >= Some(minimum), "{place}: {value}");
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::Null => return,
        Value::Array(types) => types.iter().map(|one| one.as_str().unwrap()).collect(),
        one => vec![one.as_str().unwrap()],
    };
    let is_one = |name: &&str| match *name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("{place}: type {other} is not checked"),
    };
    assert!(types.iter().any(is_one), "{place}: {value} is no {types:?}");
    let items = schema.get("items");
    for (index, item) in (0..).zip(value.as_array().into_iter().flatten()) {
        if let Some(schema) = items {
            check(item, schema, root, &format!("{place}[{index}]"));
        }
    }
    if value.is_object() {
        members(value, schema, root, place);
    }
}

fn members(value: &Value, schema: &Value, root: &Value, place: &str) {
    for required in schema["required"].as_array().into_iter().flatten() {
        let name = required.as_str().unwrap();
        assert!(value.get(name).is_some(), "{place}: no {name}");
    }
    let others = &schema["additionalProperties"];
    for (name, value) in value.as_object().unwrap() {
        let property = schema["properties"].get(name);
        let property = property.or_else(|| Some(others).filter(|others| others.is_object()));
        let property = property.unwrap_or_else(|| panic!("{place}: {name} is not described"));
        check(value, property, root, &format!("{place}.{name}"));
    }
}
