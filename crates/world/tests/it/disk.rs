use std::io::{ErrorKind, IoSlice};
use world::Disk;
use world::disk::sim::{Faults, SimDisk};

const MIB: u64 = 1 << 20;

fn write(disk: &Disk, path: &str, offset: u64, bytes: &[u8]) {
    let file = disk.open(path).or_else(|_| disk.create(path)).unwrap();
    file.write_at(offset, &mut [IoSlice::new(bytes)]).unwrap();
}

/// What both kinds of disk promise.
fn contract(disk: &Disk) {
    assert_eq!(disk.open("absent").unwrap_err().kind(), ErrorKind::NotFound);
    disk.create_folder("a/b").unwrap();
    let file = disk.create("a/b/f").unwrap();
    assert_eq!(disk.create("a/b/f").unwrap_err().kind(), ErrorKind::AlreadyExists);
    file.write_at(0, &mut [IoSlice::new(b"hello "), IoSlice::new(b"world")]).unwrap();
    file.write_at(20, &mut [IoSlice::new(b"!")]).unwrap();
    assert_eq!(file.len().unwrap(), 21);

    let mut buffer = [9; 32];
    assert_eq!(file.read_at(6, &mut buffer).unwrap(), 15);
    assert_eq!(&buffer[..5], b"world");
    assert_eq!(&buffer[5..14], &[0; 9], "a gap reads as zeros");
    assert_eq!(file.read_at(100, &mut buffer).unwrap(), 0);

    file.set_len(5).unwrap();
    assert_eq!(disk.read("a/b/f").unwrap().unwrap(), b"hello");
    disk.rename("a/b/f", "a/g").unwrap();
    assert_eq!(disk.list("a").unwrap(), ["b", "g"]);
    assert_eq!(disk.list("nowhere").unwrap(), [""; 0]);
    disk.replace("a/g", b"new").unwrap();
    assert_eq!(disk.read("a/g").unwrap().unwrap(), b"new");
    disk.remove_tree("a").unwrap();
    assert_eq!(disk.read("a/g").unwrap(), None);
    assert!(disk.space().unwrap().free > 0);
}

#[test]
fn a_real_disk_keeps_the_contract() {
    let root = std::env::temp_dir().join(format!("holdfast-disk-{}", std::process::id()));
    contract(&Disk::real(&root).unwrap());
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_folder_is_used_by_one_process_at_a_time() {
    let root = std::env::temp_dir().join(format!("holdfast-lock-{}", std::process::id()));
    let (first, second) = (Disk::real(&root).unwrap(), Disk::real(&root).unwrap());
    first.lock().unwrap();
    let error = second.lock().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ResourceBusy);
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    drop(first);
    second.lock().unwrap();
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_simulated_disk_keeps_the_contract() {
    contract(&Disk::simulated(SimDisk::new("d", 1, MIB)));
}

#[test]
fn a_killed_process_loses_nothing_and_its_handles_are_dead() {
    let sim = SimDisk::new("d", 1, MIB);
    let before = Disk::simulated(sim.clone());
    write(&before, "f", 0, b"kept");
    let after = Disk::simulated(sim.kill_process());
    assert_eq!(after.read("f").unwrap().unwrap(), b"kept");
    assert!(before.open("f").is_err(), "a dead incarnation cannot touch the disk");
}

#[test]
fn power_loss_keeps_what_was_synced_and_some_seed_loses_what_was_not() {
    let (mut name_lost, mut write_lost) = (0, 0);
    for seed in 0..64 {
        let sim = SimDisk::new("d", seed, MIB);
        let disk = Disk::simulated(sim.clone());
        write(&disk, "synced", 0, b"one");
        disk.open("synced").unwrap().sync().unwrap();
        disk.sync_folder(".").unwrap();
        write(&disk, "synced", 3, b"two");
        write(&disk, "named", 0, b"x");
        let disk = Disk::simulated(sim.lose_power());
        let content = disk.read("synced").unwrap().unwrap();
        assert_eq!(&content[..3], b"one");
        write_lost += u32::from(content.len() == 3);
        name_lost += u32::from(disk.read("named").unwrap().is_none());
    }
    assert!((8..56).contains(&write_lost), "{write_lost} of 64");
    assert!((8..56).contains(&name_lost), "{name_lost} of 64");
}

/// A removed folder came back with power, although the folder that it was in had been synced.
#[test]
fn what_was_in_a_folder_is_gone_with_it() {
    let mut came_back = 0;
    for seed in 0..64 {
        for synced in [true, false] {
            let sim = SimDisk::new("d", seed, MIB);
            let disk = Disk::simulated(sim.clone());
            disk.create_folder("all/one/log").unwrap();
            for path in ["all/one/log/segment", "all/one/state"] {
                write(&disk, path, 0, b"x");
            }
            for folder in ["all/one/log", "all/one", "all"] {
                disk.sync_folder(folder).unwrap();
            }
            disk.remove_tree("all/one").unwrap();
            if synced {
                disk.sync_folder("all").unwrap();
            }
            let left = Disk::simulated(sim.lose_power()).list("all").unwrap();
            assert!(!synced || left.is_empty(), "seed {seed}: {left:?}");
            came_back += usize::from(!left.is_empty());
        }
    }
    assert!((8..64).contains(&came_back), "{came_back} of 64");
}

#[test]
fn a_full_disk_says_so_and_keeps_what_fitted() {
    let sim = SimDisk::new("d", 1, 10);
    let disk = Disk::simulated(sim.clone());
    let file = disk.create("f").unwrap();
    let error = file.write_at(0, &mut [IoSlice::new(&[7; 16])]).unwrap_err();
    assert!(world::disk::is_no_space(&error));
    assert_eq!(file.len().unwrap(), 10);
    sim.set_capacity(100);
    file.write_at(10, &mut [IoSlice::new(&[7; 6])]).unwrap();
}

#[test]
fn injected_faults_reach_the_caller() {
    let sim = SimDisk::new("d", 1, MIB);
    let disk = Disk::simulated(sim.clone());
    let file = disk.create("f").unwrap();
    sim.set_faults(Faults {
        read_error: 1.0,
        write_error: 1.0,
        sync_error: 1.0,
        ..Faults::default()
    });
    assert!(file.sync().is_err());
    assert!(file.read_at(0, &mut [0]).is_err());
    assert!(file.write_at(0, &mut [IoSlice::new(b"x")]).is_err());
}
