//! Says which replicas are in the folders of this node's disks.
//!
//! The folders are read anew, and what the loop believes to have is not asked: a replica that was deleted
//! from memory and not from its disk is found, and so is one that nobody ever opened.

use crate::context::Context;
use crate::replica::{Found, Home, REPLICAS_FOLDER};
use std::sync::Arc;
use wire::control::{AskContents, Contents, FoundReplica};
use wire::{Reply, Request, Responder, Status};

/// Answers in its own time: disks may be slow.
pub(crate) fn answer(
    context: &Arc<Context>,
    homes: Vec<Home>,
    request: &Request,
    responder: Responder,
) {
    match request.decode::<AskContents>() {
        Ok(ask) if ask.node != context.node.0 => {
            responder.refuse(Status::Invalid, format!("this is node {}", context.node));
        }
        Ok(_) => {
            let of = context.clone();
            context.world.detach_blocking(move || {
                responder.reply(Reply::message(&look(&of, &homes)));
            });
        }
        Err(error) => responder.refuse(Status::Invalid, error.to_string()),
    }
}

fn look(context: &Context, homes: &[Home]) -> Contents {
    let mut contents =
        Contents { node: context.node.0, boot: context.boot.0, ..Contents::default() };
    for home in homes {
        match home.disk.list(REPLICAS_FOLDER) {
            Ok(names) => {
                contents.listed.push(home.disk_id.0);
                let found = names.iter().filter_map(|name| Found::parse(name));
                contents.replicas.extend(found.map(|found| FoundReplica {
                    partition: found.partition.0,
                    replica: found.replica.0,
                    disk: home.disk_id.0,
                }));
            }
            Err(error) => {
                tracing::warn!(disk = %home.disk_id, %error, "the folder of replicas cannot be read");
                contents.unreadable.push(home.disk_id.0);
            }
        }
    }
    contents
}
