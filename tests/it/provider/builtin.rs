//! What must hold of every file that is compiled in.

use super::*;

#[test]
fn no_shipped_file_has_a_mistake() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/provider/builtin");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let provider =
            Provider::parse(&text).unwrap_or_else(|mistakes| panic!("{}: {mistakes:#?}", file.display()));
        assert_eq!(Some(provider.name.as_str()), file.file_stem().unwrap().to_str());
        assert!(
            Provider::builtin(&provider.name).is_some(),
            "{} is not built in",
            provider.name
        );
    }
    assert_eq!(files.len(), Provider::builtin_names().count());
}
