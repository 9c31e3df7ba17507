//! Frames on a byte stream.

use crate::error::Ended;
use crate::frame::{Frame, HEADER_BYTES, Header};
use bytes::{Bytes, BytesMut};
use std::io::{self, IoSlice};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use types::checksum::crc32c;

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
    let mut have = 0;
    while have < HEADER_BYTES {
        match stream.read(&mut bytes[have..]).await? {
            0 if have == 0 => return Ok(None),
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

async fn read_part(stream: &mut (impl AsyncRead + Unpin), length: u32) -> io::Result<Bytes> {
    let mut rest = length as usize;
    // Grown as bytes arrive, so that a length alone cannot make us allocate.
    let mut bytes = BytesMut::with_capacity(rest.min(GATHER_BYTES * 4));
    while rest > 0 {
        let read = (&mut *stream).take(rest as u64).read_buf(&mut bytes).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
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
