//! What is cut out of which JSON.

use super::super::pointer::Pointer;
use super::*;

fn split(at: &str, json: &str, chunk: usize) -> (Vec<String>, Result<(), SplitFault>, bool) {
    cut(Items::Listed, at, json, chunk)
}

fn cut(items: Items, at: &str, json: &str, chunk: usize) -> (Vec<String>, Result<(), SplitFault>, bool) {
    let mut splitter = ItemSplitter::new(items, &Pointer::parse(at).unwrap().0, 64);
    let mut items = Vec::new();
    let mut take = |item: &[u8]| items.push(String::from_utf8(item.to_vec()).unwrap());
    let fed = json
        .as_bytes()
        .chunks(chunk)
        .try_for_each(|chunk| splitter.feed(chunk, &mut take));
    (items, fed, splitter.finished())
}

#[test]
fn items_come_out_as_they_stand() {
    let json = r#"{"x":[{"items":[9]}],"items" : [ {"a":"]}\"\\"} , 1,[2, 3],"s"],"n":null} "#;
    for chunk in [1, 2, 3, 7, 1000] {
        let (items, fed, finished) = split("/items", json, chunk);
        assert_eq!(items, [r#"{"a":"]}\"\\"}"#, "1", "[2, 3]", r#""s""#], "{chunk}");
        assert_eq!((fed, finished), (Ok(()), true));
    }
    assert_eq!(split("", "[]", 1), (vec![], Ok(()), true));
    assert_eq!(split("/data/users", r#"{"data":{"users":[{}]}}"#, 1).0, ["{}"]);
    assert_eq!(split("/items", r#"{"it\u0065ms":[1]}"#, 1).0, ["1"]);
}

#[test]
fn one_value_comes_out_as_it_stands() {
    let json = r#"{"x":{"id":"no","user":{"id":"nor this"}},"user" : {"a":["id"],"id":"u\"1", "z":{"id":2}},"id":3}"#;
    for chunk in [1, 3, 1000] {
        let (items, fed, finished) = cut(Items::Itself, "/user/id", json, chunk);
        assert_eq!(items, [r#""u\"1""#], "{chunk}");
        assert_eq!((fed, finished), (Ok(()), true));
    }
    let deep = r#"{"id":{"id":[1,{}]},"n":null}"#;
    assert_eq!(cut(Items::Itself, "/id", deep, 1).0, [r#"{"id":[1,{}]}"#]);
    assert_eq!(
        cut(Items::Itself, "/id", r#"{"id":"a","id":7}"#, 1).0,
        [r#""a""#, "7"]
    );
    for json in ["{}", r#"["id"]"#, r#"{"a":{"id":1}}"#, r#"{"id":"a""#] {
        assert!(!cut(Items::Itself, "/id", json, 1).2, "{json}");
    }
    let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(64));
    assert_eq!(cut(Items::Itself, "/id", &long, 5).1, Err(SplitFault::TooLarge));
}

#[test]
fn an_answer_that_breaks_off_is_not_finished() {
    for json in ["", "[", "[1", "[1,", r#"[{"a":1}"#, "{}", r#"{"items":null}"#] {
        let (_, fed, finished) = split("", json, 1);
        assert_eq!((fed, finished), (Ok(()), false), "{json}");
    }
}

#[test]
fn what_is_no_json_is_a_fault() {
    for json in [
        "<html>",
        "[1}",
        "[tru]",
        "[1]x",
        "{\"a\" 1}",
        "[1,]",
        "[,1]",
        "{1:2}",
        "[\"\n\"]",
        "[01]",
    ] {
        assert_eq!(split("", json, 1).1, Err(SplitFault::NotJson), "{json}");
    }
    let deep = "[".repeat(DEEPEST + 1);
    assert_eq!(split("", &deep, 100).1, Err(SplitFault::TooLarge));
    assert_eq!(split("/x", &deep, 100).1, Err(SplitFault::NotJson));
    let large = format!("[{{\"a\":\"{}\"}}]", "x".repeat(64));
    assert_eq!(split("", &large, 5).1, Err(SplitFault::TooLarge));
}
