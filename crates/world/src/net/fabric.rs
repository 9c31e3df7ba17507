//! The cables of a simulated network, where a test can pull them.
//!
//! The simulated network underneath never loses part of a connection: a test that cuts a link lets
//! it *hold* what is sent, as retransmission would. What it cannot do is give a connection up. Real
//! ones are given up after [`types::limits::PEER_SILENCE_MAX`]: then a test calls
//! [`Fabric::sever`], and both ends find out with an error.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// All connections of one simulation; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Fabric {
    lines: Arc<Mutex<Vec<Line>>>,
}

#[derive(Debug)]
struct Line {
    ends: (IpAddr, IpAddr),
    end: Weak<End>,
}

#[derive(Debug, Default)]
struct End {
    severed: AtomicBool,
    /// Who waits for bytes, and who for room.
    waiting: Mutex<[Option<Waker>; 2]>,
}

impl Fabric {
    /// Breaks every connection between two hosts; says how many ends there were.
    pub fn sever(&self, one: IpAddr, other: IpAddr) -> usize {
        let mut lines = self.lines.lock().expect("no holder panics");
        let (mut severed, mut wakers) = (0, Vec::new());
        lines.retain(|line| {
            let Some(end) = line.end.upgrade() else { return false };
            if line.ends != (one, other) && line.ends != (other, one) {
                return true;
            }
            severed += 1;
            end.severed.store(true, Ordering::Release);
            wakers
                .extend(end.waiting.lock().expect("no holder panics").iter_mut().map(Option::take));
            false
        });
        drop(lines);
        wakers.into_iter().flatten().for_each(Waker::wake);
        severed
    }

    /// Lays a cable around one end of a connection.
    pub(super) fn lay(&self, stream: turmoil::net::TcpStream) -> io::Result<Cable> {
        let ends = (stream.local_addr()?.ip(), stream.peer_addr()?.ip());
        let end = Arc::new(End::default());
        let mut lines = self.lines.lock().expect("no holder panics");
        lines.retain(|line| line.end.strong_count() > 0);
        lines.push(Line { ends, end: Arc::downgrade(&end) });
        Ok(Cable { stream, end })
    }
}

/// One end of a connection that may be severed.
pub(super) struct Cable {
    stream: turmoil::net::TcpStream,
    end: Arc<End>,
}

const READER: usize = 0;
const WRITER: usize = 1;

impl Cable {
    /// The error of a severed cable; otherwise sees to it that `who` is woken when that happens.
    fn check(&self, who: usize, context: &Context<'_>) -> io::Result<()> {
        if self.end.severed.load(Ordering::Acquire) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut waiting = self.end.waiting.lock().expect("no holder panics");
        waiting[who] = Some(context.waker().clone());
        Ok(())
    }
}

impl AsyncRead for Cable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(READER, context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(WRITER, context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
