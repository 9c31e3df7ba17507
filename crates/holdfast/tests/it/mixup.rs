//! Decommission, repair and deletes at full speed, while answers are mixed up on their way.
//!
//! Every node is reached through a [`Proxy`] that misbehaves. No call fails, no byte differs, nothing
//! that was deleted comes back, and the decommission ends well: who gets an answer that is not his
//! gives up the connection, and asks again.

use super::farm::{Farm, Site};
use super::load::Load;
use super::proxy::{Deed, Proxy};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const NODES: usize = 5;
/// The one that is decommissioned, and the one that is away for a while.
const LEAVING: usize = 0;
const AWAY: usize = 2;
const MEMBERS: &str = "replace_after_seconds = 3";

/// Makes, compares and deletes files until it is ended; a file that differs ends it with an error.
fn churn(folder: &Path) -> Child {
    let program = r#"
        set -e
        head -c 300000 /dev/urandom > seed
        for ((n = 0; ; n++)); do
            [ -e stop ] && exit 0
            cp seed "f$n"; cmp seed "f$n"
            if ((n >= 8)); then cmp seed "f$((n - 8))"; rm "f$((n - 8))"; fi
        done"#;
    std::fs::create_dir(folder).unwrap();
    Command::new("bash")
        .args(["-c", program])
        .current_dir(folder)
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

fn done(proxies: &[Proxy]) -> [u64; Deed::ALL.len()] {
    let mut sum = [0; Deed::ALL.len()];
    for proxy in proxies {
        sum.iter_mut().zip(proxy.done()).for_each(|(sum, done)| *sum += done);
    }
    sum
}

async fn start(folder: &Path) -> (Farm, Vec<Site>, Vec<Proxy>) {
    let mut farm = Farm::start(folder, MEMBERS);
    let (mut sites, mut proxies) = (Vec::new(), Vec::new());
    for _ in 0..NODES {
        let mut site = Site::new();
        let proxy = Proxy::start(&site.listen).await;
        site.settings = format!("address = \"{}\"", proxy.address);
        farm.add_node(&site);
        sites.push(site);
        proxies.push(proxy);
    }
    (farm, sites, proxies)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_mixed_up_on_the_way_harm_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (mut farm, sites, proxies) = start(folder.path()).await;
    tokio::task::block_in_place(|| suffer(&mut farm, &sites, &proxies));
}

fn suffer(farm: &mut Farm, sites: &[Site], proxies: &[Proxy]) {
    farm.create_volume(&["--capacity", "8GiB", "--partitions", "24"]);
    farm.wait_healthy(Duration::from_secs(60));
    let mounted = farm.mount("mount");
    let load = Load::start(&mounted);
    let mut churning = churn(&mounted.join("churn"));
    std::thread::sleep(Duration::from_secs(1));
    proxies.iter().for_each(|proxy| proxy.misbehave(true));
    let leaving = farm.node_id(&sites[LEAVING]);
    let begun = farm.ask(&["node", "decommission", &leaving, "--yes", "--output", "json"]);
    let away = begun.json()["id"].to_string();
    farm.nodes[AWAY].kill();
    std::thread::sleep(Duration::from_secs(8));
    farm.nodes[AWAY].restart();
    farm.until("every misdeed was done", Duration::from_secs(120), || {
        assert_eq!(churning.try_wait().unwrap(), None, "a file differed, or a call failed");
        load.longest();
        done(proxies).iter().all(|count| *count >= 3)
    });
    let ended = Instant::now();
    farm.until("the decommission's end", Duration::from_secs(120), || {
        farm.json(&["operation", "show", &away])["state"] == "succeeded"
    });
    let took = ended.elapsed();
    proxies.iter().for_each(|proxy| proxy.misbehave(false));
    let _ = std::fs::File::create(mounted.join("churn/stop")).unwrap();
    assert!(churning.wait().unwrap().success(), "a file differed, or a call failed");
    let acknowledged = load.stop();
    farm.wait_healthy(Duration::from_secs(60));
    assert_eq!(farm.folders(LEAVING), Vec::<String>::new(), "its own folder holds nothing");
    let mismatched: u64 =
        (0..NODES).map(|node| farm.counter(node, "holdfast_wire_replies_mismatched_total")).sum();
    assert!(mismatched > 0, "nodes met answers that were not theirs: {:?}", done(proxies));
    farm.unmount(&mounted);
    let fresh = farm.mount("fresh");
    acknowledged.verify(&fresh);
    assert_eq!(std::fs::read_dir(fresh.join("churn")).unwrap().count(), 10, "eight, seed and stop");
    farm.unmount(&fresh);
    let checked = farm.ask(&["fsck", "v"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    let said = format!("misdeeds {:?}, mismatched {mismatched}, waited {took:?}\n", done(proxies));
    std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes()).unwrap();
}
