//! Programs that people use, on a mounted volume: what they read back is what they wrote, to the
//! byte, with all its attributes. Long ones are in `cargo xtask campaign programs`.

use super::mounted::{Mounted, shell, try_shell};
use std::path::Path;

/// A tree with everything that a tree can have.
const MAKE_TREE: &str = r#"
mkdir -p tree && cd tree
cp -r "$SOURCES" sources
mkdir -p empty deep/a/b/c/d/e/f mode
echo target > deep/a/file
ln -s file deep/a/link && ln -s nowhere dangling && ln -s /absolute/path absolute
ln deep/a/file deep/second-name && ln deep/a/file third-name
mkfifo pipe && mknod device c 1 3
for mode in 000 400 644 755 1777 2755 4755; do touch mode/$mode; chmod $mode mode/$mode; done
chown 1000:1001 mode/644 && chown -h 1000:1001 dangling
touch -d '1970-01-01 00:00:01.000000001 UTC' old && touch -d '2038-01-20 03:14:08.123456789 UTC' late
truncate -s 100M sparse && printf middle | dd of=sparse bs=1 seek=70000000 conv=notrunc status=none
head -c 3000000 /dev/urandom > random && head -c 4096 /dev/zero > zeros && : > nothing
setfattr -n user.colour -v blue random && setfacl -m u:1000:rw zeros
name=$(printf 'n%.0s' $(seq 255)); echo long > "$name"
printf 'odd' > $'new\nline and "quotes" \xff'
"#;

/// Everything about every file of a folder but its inode and where its blocks are. How long a folder
/// is, is up to each file system.
const DESCRIBE: &str = r#"
find . -mindepth 1 \( -type d -printf '%P\td %m %U %G %T@\0' \) -o \
  -printf '%P\t%y %m %U %G %s %T@ %l %n\0' | sort -z | tr '\0' '\n'
find . -type f ! -name sparse -print0 | sort -z | xargs -0 sha256sum
cmp -n 6 -i 70000000:0 sparse <(printf middle)
getfattr -d --absolute-names random && getfacl -pn zeros
"#;

fn make_tree(folder: &Path) {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    shell(folder, &format!("SOURCES='{sources}'\n{MAKE_TREE}"));
}

fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (shell(one, DESCRIBE), shell(other, DESCRIBE));
    let differs = one.lines().zip(other.lines()).find(|(one, other)| one != other);
    assert!(one == other, "first difference: {differs:?}");
}

#[test]
fn trees_come_back_as_they_went() {
    let folder = tempfile::tempdir().unwrap();
    make_tree(folder.path());
    let tree = folder.path().join("tree");
    let mounted = Mounted::start(folder.path());
    let mount = mounted.path();
    let all = [
        "tar -C ../tree --xattrs --acls -Scf archive.tar . && mkdir tar \
         && tar -C tar --xattrs --acls -xpf archive.tar",
        "cp -a ../tree copy && cp -a copy copy-of-copy",
        "rsync -aHAXS ../tree/ rsynced/",
    ];
    all.iter().for_each(|line| drop(shell(&mount, line)));
    for copy in ["tar", "copy", "copy-of-copy", "rsynced"] {
        assert_same(&tree, &mount.join(copy));
    }
    assert_eq!(shell(&mount, "rsync -aHAXSc --itemize-changes ../tree/ rsynced/"), "");
    let blocks = shell(&mount, "stat -c %b copy/sparse").trim().parse::<u64>().unwrap();
    assert!(blocks < 1 << 10, "holes take no space: {blocks} blocks");
    // Changes go over, and what is gone goes.
    shell(
        &mount,
        "cp -a rsynced changed && cd changed && rm -r deep && echo more >> third-name \
                   && mv random renamed && rsync -aHAXS --delete ./ ../rsynced/",
    );
    assert_eq!(
        shell(&mount, "diff -r --no-dereference changed rsynced -x pipe -x device -x sparse"),
        ""
    );
    // And back, through a restart of everything.
    mounted.stop();
    let mounted = Mounted::start(folder.path());
    shell(
        folder.path(),
        "cp -a mount/copy back && tar -C mount/tar --xattrs --acls -Scf back.tar . \
                          && mkdir untarred && tar -C untarred --xattrs --acls -xpf back.tar",
    );
    assert_same(&tree, &folder.path().join("back"));
    assert_same(&tree, &folder.path().join("untarred"));
    shell(
        &mounted.path(),
        "rm -rf tar copy copy-of-copy changed rsynced archive.tar && test -z \"$(ls -A)\"",
    );
    mounted.stop();
}

#[test]
fn git_works() {
    let folder = tempfile::tempdir().unwrap();
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let identity = "git config user.name tester && git config user.email tester@localhost";
    shell(
        folder.path(),
        &format!(
            "git init -q -b main origin && cd origin && {identity} && for n in 1 2 3; do \
         cp -r '{sources}' part-$n && git add -A && git commit -qm part-$n; done"
        ),
    );
    let mounted = Mounted::start(folder.path());
    let mount = mounted.path();
    shell(&mount, "git clone -q ../origin clone");
    let clone = mount.join("clone");
    shell(&clone, identity);
    assert_eq!(shell(&clone, "git status --porcelain"), "");
    shell(
        &clone,
        "git checkout -qb work && git mv part-1 moved && git commit -qm moved \
                   && git checkout -q main && git merge -q work && git repack -qad",
    );
    shell(&clone, "git gc -q --aggressive --prune=now && git fsck --strict --full 2>&1");
    assert_eq!(shell(&clone, "git status --porcelain"), "");
    assert_eq!(shell(&clone, "git log --oneline | wc -l").trim(), "4");
    shell(&mount, "git clone -q clone again && cd again && git fetch -q && git fsck --full 2>&1");
    assert_eq!(shell(&mount, "diff -r -x .git clone again"), "");
    assert_eq!(shell(&mount, "diff -r clone/moved ../origin/part-1"), "");
    mounted.stop();
}

#[test]
fn sqlite_keeps_its_promises() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = Mounted::start(folder.path());
    let mount = mounted.path();
    for mode in ["wal", "delete", "truncate", "persist"] {
        let sql = |sql: &str| {
            shell(&mount, &format!("sqlite3 -cmd '.timeout 20000' {mode}.db \"{sql}\""))
        };
        sql(&format!(
            "pragma journal_mode={mode}; create table t(id integer primary key, who, text); \
             create index i on t(who);"
        ));
        // Two processes at once, each row a transaction of its own.
        let writer = |who: u32| {
            let rows = format!(
                "for n in $(seq 60); do echo \"insert into t(who,text) values({who},hex(randomblob(200)));\"; done"
            );
            format!("({rows}) | sqlite3 -cmd '.timeout 20000' {mode}.db")
        };
        shell(&mount, &format!("{} & one=$!; {} & wait $one && wait $!", writer(1), writer(2)));
        assert_eq!(sql("select who, count(*) from t group by who").trim(), "1|60\n2|60");
        // Killed within a transaction: all of it is gone, and nothing else.
        let killed = format!(
            "(echo 'begin; delete from t; insert into t(who) values(3);'; sleep 1) \
             | sqlite3 {mode}.db & sleep 0.5; kill -9 $!; wait $! || true"
        );
        try_shell(&mount, &killed);
        assert_eq!(sql("pragma integrity_check; select count(*) from t"), "ok\n120\n");
        sql("delete from t where id % 2; vacuum;");
        assert_eq!(sql("pragma integrity_check; select count(*) from t"), "ok\n60\n");
    }
    mounted.stop();
}
