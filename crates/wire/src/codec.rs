//! Frames on a byte stream.
//!
//! Between frames a peer may be silent for as long as it likes. Within one it may not: all others wait for the end
//! of it.

use crate::error::Ended;
use crate::frame::{Frame, HEADER_BYTES, Header};
use bytes::{Bytes, BytesMut};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use types::checksum::crc32c;

/// A peer that has sent a part of a frame and then nothing for this long is given up.
const FRAME_STALL_MAX: Duration = Duration::from_secs(10);

/// Frames up to this long are gathered into one write.
const GATHER_BYTES: usize = 16 << 10;

impl Frame {
    /// A frame whose lengths and checksums follow from its parts.
    #[must_use]
    pub fn seal(mut header: Header, body: Bytes, payload: Bytes) -> Frame {
        header.body_bytes = u32::try_from(body.len()).expect("bodies have a limit");
        header.payload_bytes = u32::try_from(payload.len()).expect("payloads have a limit");
        header.body_checksum = crc32c(&body);
        header.payload_checksum = crc32c(&payload);
        Frame { header, body, payload }
    }

    /// Bytes this frame takes on the wire.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        HEADER_BYTES + self.body.len() + self.payload.len()
    }
}

/// Reads one frame; `None` when the peer closed between frames.
///
/// # Errors
/// When the connection breaks, or what comes is not a frame. The session must end then.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Frame>, Ended> {
    let mut bytes = [0; HEADER_BYTES];
    let mut have = stream.read(&mut bytes).await?;
    if have == 0 {
        return Ok(None);
    }
    while have < HEADER_BYTES {
        match more(stream.read(&mut bytes[have..])).await? {
            0 => return Err(Ended::ByPeer),
            read => have += read,
        }
    }
    let header = Header::decode(&bytes)?;
    let body = read_part(stream, header.body_bytes).await?;
    let payload = read_part(stream, header.payload_bytes).await?;
    header.verify(&body, &payload)?;
    Ok(Some(Frame { header, body, payload }))
}

/// Waits for more of a frame that has begun.
async fn more(read: impl Future<Output = io::Result<usize>>) -> Result<usize, Ended> {
    let mut read = pin!(read);
    // What is here already needs no clock.
    let here = poll_fn(|context| match read.as_mut().poll(context) {
        Poll::Ready(read) => Poll::Ready(Some(read)),
        Poll::Pending => Poll::Ready(None),
    });
    match here.await {
        Some(read) => Ok(read?),
        None => match tokio::time::timeout(FRAME_STALL_MAX, read).await {
            Ok(read) => Ok(read?),
            Err(_) => Err(Ended::Stalled),
        },
    }
}

async fn read_part(stream: &mut (impl AsyncRead + Unpin), length: u32) -> Result<Bytes, Ended> {
    let mut rest = length as usize;
    // Grown as bytes arrive, so that a length alone cannot make us allocate.
    let mut bytes = BytesMut::with_capacity(rest.min(GATHER_BYTES * 4));
    while rest > 0 {
        let read = more((&mut *stream).take(rest as u64).read_buf(&mut bytes)).await?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        rest -= read;
    }
    Ok(bytes.freeze())
}

/// Writes frames, short ones gathered together.
///
/// # Errors
/// When the connection breaks.
pub async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    frames: &[Frame],
    scratch: &mut Vec<u8>,
) -> io::Result<()> {
    scratch.clear();
    for frame in frames {
        scratch.extend_from_slice(&frame.header.encode());
        scratch.extend_from_slice(&frame.body);
        if frame.payload.len() <= GATHER_BYTES {
            scratch.extend_from_slice(&frame.payload);
        } else {
            write_two(stream, scratch, &frame.payload).await?;
            scratch.clear();
        }
    }
    stream.write_all(scratch).await?;
    stream.flush().await
}

/// Writes `first` and then `second`, without copying them together.
async fn write_two(
    stream: &mut (impl AsyncWrite + Unpin),
    first: &[u8],
    second: &[u8],
) -> io::Result<()> {
    let mut slices = [IoSlice::new(first), IoSlice::new(second)];
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        let written = stream.write_vectored(rest).await?;
        if written == 0 && rest.iter().any(|slice| !slice.is_empty()) {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Kind;
    use crate::server::Request;

    fn bytes() -> Vec<u8> {
        let request = Request::new(crate::Operation::Ping).payload(vec![7; 9000].into());
        let frame = request.into_frame(1, Kind::Request);
        [&frame.header.encode()[..], &frame.body, &frame.payload].concat()
    }

    /// Half an answer, and then silence, while the connection stands: whoever else waited for an answer on it, or
    /// asked something on it later, waited for his whole time, for ever.
    #[tokio::test(start_paused = true)]
    async fn half_a_frame_and_then_silence_is_the_end() {
        let bytes = bytes();
        for cut in [1, HEADER_BYTES, HEADER_BYTES + 100, bytes.len() - 1] {
            let (mut ours, mut theirs) = tokio::io::duplex(1 << 16);
            theirs.write_all(&bytes[..cut]).await.unwrap();
            let mut end = pin!(read(&mut ours));
            let early = tokio::time::timeout(FRAME_STALL_MAX / 2, end.as_mut()).await;
            assert!(early.is_err(), "after {cut} bytes: {early:?}");
            let end = tokio::time::timeout(FRAME_STALL_MAX, end).await;
            assert!(matches!(end, Ok(Err(Ended::Stalled))), "after {cut} bytes: {end:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_or_says_nothing_at_all_is_not_given_up() {
        let (mut ours, mut theirs) = tokio::io::duplex(1 << 16);
        let silence = tokio::time::timeout(Duration::from_secs(3600), read(&mut ours));
        assert!(silence.await.is_err(), "nothing has begun");
        let bytes = bytes();
        let says = async {
            for part in bytes.chunks(1000) {
                tokio::time::sleep(FRAME_STALL_MAX * 9 / 10).await;
                theirs.write_all(part).await.unwrap();
            }
        };
        let (frame, ()) = tokio::join!(read(&mut ours), says);
        assert_eq!(frame.unwrap().unwrap().payload.len(), 9000);
    }
}
