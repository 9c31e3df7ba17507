//! Wrong command lines and configuration files.

use super::run::holdfast;

#[test]
fn wrong_lines_end_with_2_and_say_what_is_wrong() {
    for words in [
        &["frobnicate"][..],
        &["volume", "create", "main"],
        &["volume", "create", "main", "--kind", "block"],
        &["volume", "create", "main", "--kind", "file", "--capacity", "lots"],
        &["status", "--server", "nowhere"],
        &["status", "--server", "https://127.0.0.1:1"],
        &["server", "--config", "/does/not/exist"],
        &["server", "--check"],
    ] {
        let run = holdfast(words);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{words:?} {run:?}");
        assert!(run.err.starts_with("error: "), "{words:?} {run:?}");
    }
}

#[test]
fn nobody_there_ends_with_5() {
    // Port 1 is nobody's.
    let run = holdfast(&["node", "list", "--server", "127.0.0.1:1"]);
    assert_eq!((run.code, run.out.as_str()), (5, ""));
    assert!(run.err.contains("cannot reach") && run.err.contains("--server"), "{}", run.err);
}

#[test]
fn the_printed_configuration_is_in_order_and_a_public_one_says_what_to_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.toml");
    let file = path.display().to_string();
    let printed = holdfast(&["server", "--print-config"]);
    std::fs::write(&path, &printed.out).unwrap();
    let run = holdfast(&["server", "--config", &file, "--check"]);
    assert_eq!(run.code, 0, "{run:?}");

    std::fs::write(&path, printed.out.replace("\"16MiB\"", "\"16KiB\"")).unwrap();
    let run = holdfast(&["server", "--config", &file, "--check"]);
    assert!(run.code == 2 && run.err.contains("repair_rate must be 1MiB or more"), "{run:?}");

    std::fs::write(&path, printed.out.replace("127.0.0.1:7402", "0.0.0.0:7402")).unwrap();
    let run = holdfast(&["server", "--config", &file, "--check"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("holdfast ca init"), "{}", run.err);
}
