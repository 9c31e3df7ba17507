//! The alert rules that are shipped for Prometheus.

use super::mounted::Mounted;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/prometheus"))
}

/// Every metric that the rules speak of.
fn named() -> BTreeSet<String> {
    let rules = std::fs::read_to_string(folder().join("holdfast.rules.yml")).unwrap();
    let expressions = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let words = expressions.flat_map(|line| {
        line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map(str::to_owned)
    });
    words.filter(|word| word.starts_with("holdfast_")).collect()
}

fn scrape(address: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// The first answer that has `line` in it.
fn scrape_until(address: &str, line: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let text = scrape(address);
        if text.contains(line) {
            return text;
        }
        assert!(Instant::now() < deadline, "{line} never came: {text}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn alerts_name_metrics_that_exist() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = Mounted::start(folder.path());
    let said = std::fs::read_to_string(folder.path().join("up.log")).unwrap();
    let admin = said.split("http://").nth(1).unwrap().split_whitespace().next().unwrap();
    // The control plane may not have heard from all replicas yet when the mount is there.
    let volume = "holdfast_control_volume{volume=\"main\",status=\"healthy\"} 1";
    let text = scrape_until(admin, volume);
    let exported: BTreeSet<&str> =
        text.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    let named = named();
    assert!(named.len() >= 8, "{named:?}");
    for metric in named {
        assert!(exported.contains(metric.as_str()), "nobody exports {metric}: {text}");
    }
    let health = "holdfast_mount_health{volume=\"main\",grade=\"ok\"} 1";
    assert!(text.contains(health), "{text}");
    mounted.stop();
}

/// Debian's package `prometheus` has `promtool`.
#[test]
fn alerts_fire_when_they_should() {
    let tested = Command::new("promtool")
        .args(["test", "rules", "holdfast.test.yml"])
        .current_dir(folder())
        .output();
    match tested {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stdout));
        }
        Err(error) => {
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: the alert rules were not tested, for promtool cannot be run: {error} \
                 (apt-get install prometheus)"
            );
        }
    }
}
