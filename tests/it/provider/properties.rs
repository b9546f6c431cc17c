//! What holds for any JSON.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use usertap::provider::{Item, ItemSplitter};

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("JSON has no others", |n| n.is_finite())
            .prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        r#"[\[\]{},:"\\ ]{0,6}"#.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            btree_map("[a-c\"\\\\]{0,3}", inner, 0..5).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn splitter() -> ItemSplitter {
    let provider = stack();
    let matched = provider.route(&Method::GET, "/api/v1/users").unwrap();
    provider.splitter(&matched, 1 << 20).unwrap()
}

fn split(bytes: &[u8], chunk: usize) -> (Vec<Value>, bool) {
    let mut splitter = splitter();
    let mut items = Vec::new();
    let mut take = |item: Item<'_>| match item {
        Item::Whole(item) => items.push(serde_json::from_slice(item).unwrap_or(Value::Null)),
        Item::Id(_) => panic!("nobody here is so large"),
    };
    let fed = bytes
        .chunks(chunk)
        .try_for_each(|chunk| splitter.feed(chunk, &mut take));
    (items, fed.is_ok() && splitter.finished())
}

/// The same value in another spelling: keys the other way round, white space in between.
fn respelled(value: &Value) -> String {
    match value {
        Value::Array(items) => format!(
            "[ {} ]",
            items.iter().map(respelled).collect::<Vec<_>>().join(" ,\n")
        ),
        Value::Object(map) => {
            let member = |(key, value): (&String, &Value)| {
                format!("{} : {}", Value::from(key.as_str()), respelled(value))
            };
            format!(
                "{{ {} }}",
                map.iter().rev().map(member).collect::<Vec<_>>().join("\t, ")
            )
        }
        scalar => scalar.to_string(),
    }
}

fn content(metadata: &str) -> usertap::user::ContentHash {
    let provider = stack();
    let body = format!(r#"{{"id":"{ADA}","server_metadata":{metadata}}}"#);
    let headers = HeaderMap::new();
    let told = provider.read_user_answer(
        &tenant(&provider),
        &id(&provider, ADA),
        StatusCode::OK,
        &headers,
        body.as_bytes(),
    );
    match told.unwrap().seen {
        Seen::Whole(view) => view.content,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_splitter_finds_what_a_parser_finds(
        items in vec(any_json(), 0..6), other in any_json(), chunk in 1usize..40, pretty: bool,
    ) {
        let body = json!({"a": other, "items": items, "z": {"items": [1]}});
        let text = if pretty { format!("{body:#}") } else { body.to_string() };
        let parsed: Value = serde_json::from_str(&text).unwrap();
        let parsed = parsed["items"].as_array().unwrap().clone();
        prop_assert_eq!(split(text.as_bytes(), chunk), (parsed, true));
    }

    #[test]
    fn a_truncated_answer_is_never_finished(items in vec(any_json(), 0..4), cut in 0.0f64..1.0, chunk in 1usize..9) {
        let text = json!({"items": items}).to_string();
        let kept = (text.len() as f64 * cut) as usize;
        prop_assert!(!split(&text.as_bytes()[..kept], chunk).1);
    }

    #[test]
    fn no_bytes_make_a_splitter_panic(bytes in vec(any::<u8>(), 0..200), chunk in 1usize..9) {
        split(&bytes, chunk);
    }

    #[test]
    fn a_hash_sees_values_and_not_their_spelling(one in any_json(), other in any_json()) {
        prop_assert_eq!(content(&one.to_string()), content(&respelled(&one)));
        prop_assert_eq!(one == other, content(&one.to_string()) == content(&other.to_string()));
    }
}
