//! A user's own provider file: every mistake is named at once, with its line.

use usertap::provider::Provider;

const SOUND: &str = include_str!("../../fixtures/providers/numbered.toml");

fn mistakes(text: &str) -> Vec<String> {
    let found = Provider::parse(text).expect_err("it has mistakes");
    found.iter().map(ToString::to_string).collect()
}

fn line_of(text: &str, what: &str) -> usize {
    1 + text.lines().position(|line| line.contains(what)).unwrap()
}

#[test]
fn all_mistakes_come_at_once_with_their_lines() {
    let text = SOUND
        .replace("id = \"$.id\"", "id = \"$.id[\"")
        .replace("query = \"tenant\"", "query = \"tenant\"\nquerry = \"tenant\"")
        .replace("tells = [{ whole = \"\" }]", "tells = [{ hole = \"\" }]")
        .replace("\"location\"", "\"place\"")
        .replace("kind = \"page\"", "kind = \"pages\"")
        .replace("{tenant}", "{tenent}");
    let text = format!("{text}\n[[route]]\non = \"get users\"\n\n[colour]\nred = 1\n");
    let found = mistakes(&text);
    for what in [
        "id = \"$.id[",
        "querry",
        "hole",
        "place",
        "pages",
        "tenent",
        "get users",
        "[colour]",
    ] {
        let line = format!("line {}: ", line_of(&text, what));
        assert!(
            found.iter().any(|mistake| mistake.starts_with(&line)),
            "{what} ({line}) is not in {found:#?}"
        );
    }
}

#[test]
fn one_mistake_hides_no_other_of_the_same_section() {
    let text = SOUND.replace(
        "read = \"/users/{id}\"\ncreated_at = { at = \"$.created_at\", unit = \"rfc3339\" }",
        "read = \"/users/{id}\"\nshoe_size = 42\nupdated_at = { at = \"$.x\", unit = \"days\" }\ncreated_at = { at = \"$.y\", unit = \"weeks\" }",
    );
    let text = format!("{text}\n[[route]]\non = \"FETCH /people\"\nusers = [\"path:id\"]\n");
    let found = mistakes(&text);
    for what in ["shoe_size", "days", "weeks", "FETCH", "users = "] {
        let line = format!("line {}: ", line_of(&text, what));
        let told = found.iter().filter(|mistake| mistake.starts_with(&line)).count();
        assert_eq!(told, 1, "{what} ({line}) in {found:#?}");
    }
    assert_eq!(found.len(), 5, "{found:#?}");
}

#[test]
fn what_is_missing_is_told_beside_what_is_wrong() {
    let text = SOUND.replace(
        "param = \"per_page\", value = 50",
        "parm = \"per_page\", value = \"many\"",
    );
    let found = mistakes(&text);
    assert!(
        found.iter().any(|mistake| mistake.contains("`parm`")),
        "{found:#?}"
    );
    assert!(
        found
            .iter()
            .any(|mistake| mistake.contains("missing field `param`")),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|mistake| mistake.contains("\"many\"")),
        "{found:#?}"
    );
}

/// A sound file, and a deletion that tells this.
fn told(tell: &str) -> String {
    format!(
        "{SOUND}\n[[route]]\non = \"DELETE /users/{{id}}\"\nuser = [\"path:id\"]\ntells = [{{ {tell} }}]\n"
    )
}

/// A sound file, and a key.
fn keyed(how: &str) -> String {
    format!("{SOUND}\n[key]\nsettings = [\"KEY\"]\n{how}\n")
}

#[test]
fn each_mistake_names_a_remedy() {
    let cases = [
        (
            SOUND.replace("on = \"POST /users\"", "on = \"GET /users\""),
            "twice",
        ),
        (SOUND.replace("\"path:id\"", "\"path:name\""), "has no {name}"),
        (
            format!(
                "{SOUND}\n[provision]\ndoes = \"x\"\n[[provision.request]]\non = \"POST /a\"\nbody = {{ a = [\"{{secret}}\"] }}\n"
            ),
            "`{secret}` has no value here: ask for it",
        ),
        (
            format!("{SOUND}\n[subscribe]\ndoes = \"x\"\n[[subscribe.request]]\non = \"/a\"\n"),
            "write it as POST /webhooks",
        ),
        (SOUND.replace("\"path:id\"", "\"caller\""), "add [token]"),
        (SOUND.replace("\"location\"", "\"path:x\""), "has no {x}"),
        (SOUND.replace("settings = [\"TENANT\"]", ""), "add settings"),
        (SOUND.replace("\"path:id\"", "\"answer:/id\""), "an answer cannot"),
        (
            SOUND.replace("{ list = \"/users\" }", "{ list = \"/users\", whole = \"\" }"),
            "exactly one",
        ),
        (
            SOUND.replace("{ list = \"/users\" }", "{ list = \"/users/*\" }"),
            "take the `*` out",
        ),
        (
            SOUND.replace(
                "{ list = \"/users\" }",
                "{ list = \"/users\", consistency = \"soon\" }",
            ),
            "at-sending",
        ),
        (SOUND.replace("[\"\"]", "[\"v1\"]"), "begins with a slash"),
        (
            SOUND.replace("[\"\"]", "[\"\"]\nuserless = [\"health\"]"),
            "is no request",
        ),
        (
            SOUND.replace("read = \"/users/{id}\"", "read = \"/users\""),
            "/users/{id}",
        ),
        (
            SOUND.replace("unit = \"rfc3339\"", "unit = \"years\""),
            "unknown variant",
        ),
        (SOUND.replace("x-total-count", "x total"), "no header name"),
        (
            format!("{SOUND}\n[[credential]]\nis = \"server\"\nheaders = [\"x-key\", \"X-Key\"]\n"),
            "`x-key` stands here twice",
        ),
        (
            SOUND.replace("on = \"GET /users\"\nsize", "on = \"GET /people\"\nsize"),
            "[list] names",
        ),
        (SOUND.replace("[[identity]]", "[identity]"), "[[identity]]"),
        (SOUND.replace("name = \"numbered\"", ""), "name"),
        (SOUND.replace("name = \"numbered\"", "name = "), "not TOML"),
        (
            SOUND.replace("{ whole = \"\" }", "{ partial = \"\" }"),
            "tells `whole`",
        ),
        (told("deleted = [\"named\"], for = \"server\""), "needs `done`"),
        (
            told("deleted = [\"named\"], done = \"maybe\", for = \"server\""),
            "needs `done`",
        ),
        (
            told("deleted = [\"named\"], done = { success = true }, for = \"server\""),
            "needs `done`",
        ),
        (
            told("deleted = [\"named\"], done = \"empty\""),
            "add for = \"server\"",
        ),
        (
            told("deleted = [\"path:id\"], done = \"empty\", for = \"client\""),
            "add for = \"server\"",
        ),
        (
            told("touched = [\"named\"], done = \"empty\""),
            "belongs to a `deleted`",
        ),
        (
            format!("{SOUND}\n[errors]\ncode = \"/code\"\nnot_found = {{ status = 200, codes = [] }}\n"),
            "needs its `codes`",
        ),
        (
            SOUND.replace("param = \"page\"", "param = \"/page\""),
            "a GET has none",
        ),
        (
            SOUND.replace("param = \"per_page\"", "param = \"/per_page\""),
            "a GET has none",
        ),
        (
            SOUND.replace("\"GET /users\"", "\"POST /users/search\""),
            "writes = false",
        ),
        (
            SOUND.replace("first = 1", "first = 1, behind_last = { statuses = [404] }"),
            "`behind_last` needs `codes`",
        ),
        (
            SOUND.replace("{ whole = \"\" }", "{ whole = \"\", empty_has = [\"/total\"] }"),
            "belong to a `list`",
        ),
        (
            SOUND.replace("id_type = \"uuid\"", "id_type = \"uuid\"\nnumeric_ids = true"),
            "write id_type = \"text\"",
        ),
        (
            SOUND.replace(
                "kind = \"page\", param = \"page\", first = 1",
                "kind = \"cursor\", param = \"after\", next = \"/next\", text = \"id gt {id}\"",
            ),
            "has {cursor} in it",
        ),
        (
            keyed("opens = \"schemas\""),
            "`opens` is a path below the first prefix",
        ),
        (keyed("basic = true"), "add shown = \"{user}:{key}\""),
        (keyed("shown = \"{tenant}\""), "put {key} into it"),
        (
            keyed("shown = \"{tenant}:{key}\"\nbasic = true\nlimits = { sk_ = [\"1/10s\"] }"),
            "take `limits` out",
        ),
        (
            format!(
                "{}\n[poll]\nkind = \"changed\"\non = \"POST /users/search\"\npaging = {{ kind = \"offset\", param = \"/at\" }}\n\
                 at = {{ at = \"/at\", unit = \"ms\" }}\n[[route]]\non = \"POST /users/search\"\n\
                 tells = [{{ list = \"\", consistency = \"unknown\" }}]\n",
                SOUND
            ),
            "writes = false",
        ),
        (
            format!(
                "{}\n[[route]]\non = \"POST /users/search\"\nwrites = false\n\
                 tells = [{{ list = \"\", consistency = \"unknown\" }}]\n",
                SOUND
                    .replace("on = \"GET /users\"\nsize", "on = \"POST /users/search\"\nsize")
                    .replace("param = \"per_page\"", "param = \"/pages/*/size\"")
            ),
            "names several places",
        ),
        (
            keyed("shown = \"{tenent}:{key}\""),
            "`{tenent}` has no value here",
        ),
        (
            SOUND.replace("\"{tenant}\"", "\"Basic {tenant}:{tenant}\""),
            "in base64: write them as [key] shown",
        ),
        (
            SOUND.replace("\"path:id\"", "\"joined:a|{path:name}\""),
            "has no {name}",
        ),
        (
            SOUND.replace(
                "tells = [{ whole = \"\" }]",
                "tells = [{ whole = \"\" }]\nwrites = true\ncache = \"ttl\"",
            ),
            "only the answer to a read by GET can be kept",
        ),
        (
            SOUND.replace(
                "tells = [{ list = \"/users\" }]",
                "tells = [{ list = \"/users\" }]\nuser_limit = \"5/10s\"",
            ),
            "a limit for each user needs the user",
        ),
        (
            SOUND.replace(
                "kind = \"page\", param = \"page\", first = 1",
                "kind = \"window\", param = \"q\", within = \"{from}\", page = \"page\", first = 1, most = 49, \
                 created_at = \"/created_at\"",
            ),
            "no less than a page has",
        ),
        (
            format!(
                "{}\n[[credential]]\nis = \"server\"\nheaders = [\"x-key\"]\nkey = true\n",
                keyed("opens = \"/keys\"")
            ),
            "add own_only = true",
        ),
        (
            format!("{SOUND}\n[[credential]]\nis = \"server\"\nheaders = [\"x-key\"]\nunless_headers = [\"X-Key\"]\n"),
            "the credential itself stands in a header of `unless_headers`",
        ),
        (
            format!("{SOUND}\n[provision]\ndoes = \"x\"\n[[provision.request]]\non = \"POST /a/{{team}}\"\n"),
            "`{team}` has no value here: ask for it",
        ),
        (
            format!(
                "{SOUND}\n[poll]\nkind = \"changed\"\non = \"GET /users\"\nquery = {{ \"/sort\" = \"a\" }}\n\
                 paging = {{ kind = \"offset\", param = \"skip\" }}\nat = {{ at = \"/updated_at\", unit = \"ms\" }}\n"
            ),
            "`/sort` is a place in a request's body",
        ),
        (
            format!("{SOUND}\n[[route]]\non = \"POST /silent\"\n[console]\ncreate = \"POST /silent\"\n"),
            "a write needs a [[route]] of the same method and path that tells of its user",
        ),
        (String::new(), "[provider]"),
    ];
    for (text, remedy) in cases {
        let found = mistakes(&text);
        assert!(
            found.iter().any(|mistake| mistake.contains(remedy)),
            "{remedy} is not in {found:#?}"
        );
    }
    assert!(Provider::parse(SOUND).is_ok());
    assert!(Provider::builtin("nobody").is_none());
}

#[test]
fn what_people_may_do_is_checked_too() {
    let console = "
[console]
create = \"POST /nowhere\"
delete = \"DELETE /users\"
problem = \"error\"

[[console.field]]
label = \"Name\"
at = \"/names/*\"
kind = \"text\"

[[console.field]]
label = \"Colour\"
at = \"/colour\"
kind = \"colour\"

[[console.link]]
label = \"Users\"
url = \"https://example.com/{key}\"

[[console.snippet]]
title = \"curl\"
text = \"{public}\"
";
    let text = format!("{SOUND}{console}");
    let found = mistakes(&text);
    // A form that cannot be read hides what else is in its section, and nothing beyond.
    assert!(
        found.iter().any(|mistake| mistake.contains("colour")),
        "{found:#?}"
    );
    let found = mistakes(&text.replace("kind = \"colour\"", "kind = \"text\""));
    for (what, remedy) in [
        ("POST /nowhere", "needs a [[route]]"),
        ("problem = ", "is no JSON pointer"),
        ("/names/*", ""),
        ("{key}", "`{key}` has no value here"),
        ("text = \"{public}\"", "`{public}` has no value here"),
    ] {
        let line = format!("line {}: ", line_of(&text, what));
        assert!(
            found
                .iter()
                .any(|mistake| mistake.starts_with(&line) && mistake.contains(remedy)),
            "{what} ({line}) is not in {found:#?}"
        );
    }
}

#[test]
fn a_user_of_whom_nothing_is_kept_is_a_mistake() {
    for field in ["volatile", "drop"] {
        let text = SOUND.replacen("[user]\n", &format!("[user]\n{field} = [\"\"]\n"), 1);
        let found = mistakes(&text);
        let line = format!("line {}: ", line_of(&text, field));
        assert!(
            found.len() == 1 && found[0].starts_with(&line) && found[0].contains("names all of the user"),
            "{field}: {found:#?}"
        );
    }
}

/// A provider whose tenant is told by its key, with events and a not-found of its own.
const KEYED: &str = "
[provider]
name = \"keyed\"
id_type = \"text\"
prefixes = [\"/v2\"]

[[identity]]
part = \"account\"
fingerprint = true

[key]
settings = [\"KEYED_SECRET\"]

[[credential]]
is = \"server\"
headers = [\"x-key\"]
key = true

[[own]]
header = \"x-key\"
value = \"{key}\"

[errors]
code = \"/code\"
not_found = { status = 404, codes = [\"gone\"] }

[own_errors]
body = \"{word}\"
headers = { content-type = \"text/plain\" }

[user]
id = \"$.id\"
read = \"/users/{id}\"

[list]
on = \"GET /users\"
size = { param = \"limit\", value = 20 }
total = { body = \"/count\" }
paging = { kind = \"offset\", param = \"skip\" }

[[event]]
on = [\"user.left\"]
deleted = [\"$.user.id\"]

[[route]]
on = \"GET /users\"
tells = [{ list = \"/users\" }]

[[route]]
on = \"GET /users/{id}\"
user = [\"path:id\"]
tells = [{ whole = \"\" }]
";

/// What would otherwise come to light as an error that says nothing, or as a link to nowhere.
#[test]
fn a_misspelt_name_in_a_template_is_told_with_its_line() {
    let text = KEYED.replace("body = \"{word}\"", "body = \"{wort} {status} {text}\"");
    let text = format!(
        "{text}
[[answer]]
on = \"GET /urls\"
body = '{{\"urls\":[\"{{publik}}\"]}}'

[dashboard]
user = \"https://example.com/{{account}}/{{idd}}\"
users = \"https://example.com/{{acount}}\"

[login]
path = \"/{{acc}}/token\"
form = {{ client_id = \"{{account}}\", client_secret = \"{{keyy}}\" }}
token = \"/token\"
"
    );
    let found = mistakes(&text);
    for (name, known) in [
        ("wort", "there are status, word, text"),
        ("publik", "there are public"),
        ("idd", "there are account, id"),
        ("acount", "there are account"),
        ("acc", "there are account"),
        ("keyy", "there are account, key, upstream"),
    ] {
        let line = format!(
            "line {}: `{{{name}}}` has no value here",
            line_of(&text, &format!("{{{name}}}"))
        );
        assert!(
            found
                .iter()
                .any(|mistake| mistake.starts_with(&line) && mistake.contains(known)),
            "{line}; {known}: {found:#?}"
        );
    }
    assert_eq!(found.len(), 6, "{found:#?}");
}

/// What would otherwise come to light as users who are never recorded, each with the line where it is mended.
#[test]
fn what_could_never_work_is_told_with_its_line() {
    assert!(Provider::parse(KEYED).is_ok());
    let cases = [
        // The mistake, in the place of what, the line that holds this, and what is said.
        ("name = \"\"", "name = \"keyed\"", "name = \"\"", "my-provider"),
        (
            "name = \"a b\"",
            "name = \"keyed\"",
            "name = \"a b\"",
            "my-provider",
        ),
        (
            "value = 0",
            "value = 20",
            "value = 0",
            "expected a whole number above 0",
        ),
        (
            "value = \"20\"",
            "value = 20",
            "value = \"20\"",
            "expected a whole number",
        ),
        (
            "total = \"/count\"",
            "total = { body = \"/count\" }",
            "total = ",
            "expected a table, in { }",
        ),
        (
            "paging = \"offset\"",
            "paging = { kind = \"offset\", param = \"skip\" }",
            "paging = ",
            "expected a table, in { }",
        ),
        (
            "on = \"user.left\"",
            "on = [\"user.left\"]",
            "on = \"user.left\"",
            "expected a list, in [ ]",
        ),
        ("on = []", "on = [\"user.left\"]", "[[event]]", "names the types"),
        (
            "deleted = [\"$.user[\"]",
            "deleted = [\"$.user.id\"]",
            "$.user[",
            "write it as $.",
        ),
        ("id = \"/id\"", "id = \"$.id\"", "id = \"/id\"", "write it as $."),
        ("", "headers = [\"x-key\"]\n", "[[credential]]", "needs `headers`"),
        ("", "key = true\n", "[key]", "add one with key = true"),
        (
            "value = \"secret\"",
            "value = \"{key}\"",
            "[key]",
            "with {key} in its value",
        ),
        (
            "",
            "code = \"/code\"\n",
            "not_found",
            "add `code` or `code_headers`",
        ),
        (
            "on = \"GET /v2/users/{id}\"",
            "on = \"GET /users/{id}\"",
            "GET /v2/users/{id}",
            "take `/v2` out",
        ),
        (
            "on = \"GET /users/{id}?all=1\"",
            "on = \"GET /users/{id}\"",
            "GET /users/{id}?all=1",
            "is no route",
        ),
    ];
    for (wrong, right, place, remedy) in cases {
        assert!(KEYED.contains(right), "{right}");
        let text = KEYED.replacen(right, wrong, 1);
        let line = format!("line {}: ", line_of(&text, place));
        let found = mistakes(&text);
        assert!(
            found
                .iter()
                .any(|one| one.starts_with(&line) && one.contains(remedy)),
            "{remedy} is not at {line} in {found:#?}"
        );
    }
}
