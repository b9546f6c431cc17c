//! What is cut out of which JSON.

use super::super::pointer::Pointer;
use super::*;

fn split(at: &str, json: &str, chunk: usize) -> (Vec<String>, Result<(), SplitFault>, bool) {
    cut(Items::Listed, at, json, chunk)
}

fn cut(items: Items, at: &str, json: &str, chunk: usize) -> (Vec<String>, Result<(), SplitFault>, bool) {
    let mut splitter = ItemSplitter::new(items, &Pointer::parse(at).unwrap().0, 64);
    splitter.id = Pointer::parse("/user/id").unwrap().0;
    let mut items = Vec::new();
    let mut take = |item: Item<'_>| {
        items.push(match item {
            Item::Whole(item) => String::from_utf8_lossy(item).into_owned(),
            Item::Id(id) => format!("id {}", String::from_utf8_lossy(id)),
        })
    };
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
fn a_byte_order_mark_is_none_of_it() {
    for chunk in [1, 2, 3, 4, 1000] {
        let marked = split("/items", "\u{feff} {\"items\":[1]}", chunk);
        assert_eq!(marked, (vec!["1".to_owned()], Ok(()), true), "{chunk}");
        assert_eq!(cut(Items::Itself, "/id", "\u{feff}{\"id\":7}", chunk).0, ["7"]);
    }
    for json in [
        "\u{feff}\u{feff}[]",
        " \u{feff}[]",
        "[\u{feff}]",
        "\u{fefe}[]",
        "[]\u{feff}",
    ] {
        assert_eq!(split("", json, 1).1, Err(SplitFault::NotJson), "{json}");
    }
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
    for at in ["", "/x"] {
        assert_eq!(split(at, &deep, 100).1, Err(SplitFault::NotJson));
    }
}

#[test]
fn of_one_that_is_too_large_the_id_comes_out_and_nobody_behind_it_is_hidden() {
    let text = "x]{".repeat(32);
    for large in [
        format!(r#"{{"user":{{"id":"u","a":"{text}"}}}}"#),
        format!(r#"{{"a":["{text}"],"user":{{"b":{{"id":1}},"id":"u"}},"z":[[2]]}}"#),
    ] {
        for chunk in [1, 5, 1000] {
            let (items, fed, finished) = split("", &format!("[1,{large},3]"), chunk);
            assert_eq!(items, ["1", r#"id "u""#, "3"], "{chunk}");
            assert_eq!((fed, finished), (Ok(()), true));
        }
    }
    let nameless = split("", &format!(r#"["{text}",3]"#), 7).0;
    assert_eq!(nameless, ["id ", "3"]);
}
