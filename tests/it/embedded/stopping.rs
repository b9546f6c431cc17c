//! What a server's end and its start are to survive.

use std::fs;

use super::support::*;

#[test]
fn a_server_ends_though_its_folder_takes_no_word_of_it() {
    let dir = Temp::new();
    let closing = at_rest(&dir).join("closing");
    let _ = fs::remove_file(&closing);
    fs::create_dir(&closing).unwrap();
    ended(durable(&dir));
}
