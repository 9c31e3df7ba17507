//! Whatever comes in on any port of a running cluster, the cluster goes on.
//!
//! Every port of every process gets nonsense, and frames that are well formed with bodies that are
//! not. Afterwards everybody is alive, all replicas are in sync, and what was stored is there.

use super::cluster::{create, reopen};
use super::hosts::{Hosts, open};
use bytes::Bytes;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use types::{Epoch, PartitionId};
use wire::frame::Kind;
use wire::{Class, Frame, Header, Operation, Status};

/// Small, and the same for the same seed everywhere.
struct Dice(u64);

impl Dice {
    fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.0 >> 29
    }

    fn bytes(&mut self, length_max: u64) -> Vec<u8> {
        let length = self.any() % (length_max + 1);
        (0..length).map(|_| self.any() as u8).collect()
    }

    /// Fields with small numbers, zeros, numbers on borders, and pieces of nonsense: bytes that decode
    /// as some message more often than not.
    fn body(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        for _ in 0..self.any() % 6 {
            let field = self.any() % 12 + 1;
            match self.any() % 3 {
                0 => {
                    body.push((field << 3) as u8);
                    let numbers = [0, 1, 2, 3, 127, 1 << 20, (1 << 20) + 1, 1 << 40, u64::MAX];
                    let mut number = numbers[(self.any() % 9) as usize];
                    while number > 127 {
                        body.push(number as u8 | 128);
                        number >>= 7;
                    }
                    body.push(number as u8);
                }
                1 => {
                    let piece = self.bytes(20);
                    body.extend([(field << 3) as u8 | 2, piece.len() as u8]);
                    body.extend(piece);
                }
                _ => {
                    body.push((field << 3) as u8 | 1);
                    body.extend(self.any().to_le_bytes());
                }
            }
        }
        body
    }

    fn frame(&mut self, operation: Operation, id: u64) -> Vec<u8> {
        let kinds = [Kind::Request, Kind::Request, Kind::OneWay, Kind::Cancel];
        let header = Header {
            kind: kinds[(self.any() % 4) as usize],
            class: Class::Foreground,
            request_id: id,
            operation,
            status: Status::Ok,
            deadline_ms: 100,
            partition: PartitionId(self.any() % 6),
            epoch: Epoch(self.any() % 4),
            body_bytes: 0,
            payload_bytes: 0,
            body_checksum: 0,
            payload_checksum: 0,
            access_bytes: 0,
        };
        let (body, payload) = (Bytes::from(self.body()), Bytes::from(self.bytes(100)));
        let frame = Frame::seal(header, body, payload);
        [&frame.header.encode()[..], &frame.body, &frame.payload].concat()
    }
}

/// Says something on a port, and takes what comes back for a moment.
fn say(address: &str, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap_or_else(|error| {
        panic!("{address} is not listened on any more: {error}");
    });
    stream.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
    // It may hang up in the middle of a sentence.
    let _ = stream.write_all(bytes);
    let mut heard = vec![0; 64 << 10];
    while stream.read(&mut heard).is_ok_and(|count| count > 0) {}
}

/// Who presents itself properly is let in, were it a stranger: on loopback nobody asks for more.
fn is_an_introduction(operation: Operation) -> bool {
    matches!(operation, Operation::ControlJoin)
}

fn pester_wire(address: &str, dice: &mut Dice) {
    for round in 0..3 {
        for operation in Operation::ALL.iter().filter(|o| !is_an_introduction(**o)) {
            let frames: Vec<u8> =
                (0..20).flat_map(|id| dice.frame(*operation, round * 100 + id)).collect();
            say(address, &frames);
        }
        say(address, &dice.bytes(5000));
    }
}

fn pester_admin(address: &str, dice: &mut Dice) {
    let long = "x".repeat(1 << 20);
    let requests = [
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET /v1/status HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n"),
        "POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{".to_owned(),
        format!("POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}", 1 << 20, "[".repeat(1 << 20)),
        "POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n".to_owned(),
        "DELETE /v1/volumes/%00%ff%2e%2e HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "GET /v1/partitions/99999999999999999999999 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
    ];
    requests.iter().for_each(|request| say(address, request.as_bytes()));
    (0..50).for_each(|_| say(address, &dice.bytes(3000)));
}

/// Memory of a process in bytes.
fn resident(pid: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_on_every_port_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = Hosts::start(folder.path(), "");
    hosts.create_volume("v");
    hosts.wait_healthy().await;
    let content: Bytes = (0..200_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>().into();
    let volume = open(&hosts.members).await;
    let file = create(&volume, "kept").await;
    file.write(0, content.clone()).await.unwrap();
    file.sync().await.unwrap();
    let before: Vec<u64> = hosts.hosts.iter().map(|host| resident(host.pid())).collect();
    let addresses = hosts.addresses.clone();
    let pestered = tokio::task::spawn_blocking(move || {
        for (seed, [control, admin, node]) in addresses.iter().enumerate() {
            let mut dice = Dice(seed as u64 + 1);
            pester_wire(control, &mut dice);
            pester_wire(node, &mut dice);
            pester_admin(admin, &mut dice);
        }
    });
    pestered.await.unwrap();
    hosts.wait_healthy().await;
    for (host, before) in hosts.hosts.iter().zip(before) {
        let grown = resident(host.pid()).saturating_sub(before);
        assert!(grown < 100 << 20, "{grown} bytes more are used");
        let log = host.log();
        assert!(!log.contains("panicked"), "{log}");
    }
    let again = open(&hosts.members).await;
    let file = reopen(&again, "kept").await;
    assert_eq!(file.read(0, content.len()).await.unwrap(), content);
    let checked = hosts.ask(&["fsck", "v"]);
    assert_eq!(checked.code, 0, "{checked:?}");
}
