//! CRC-32C, the checksum of frames and records; and CRC-64, to compare copies.

use crate::limits::CHECKSUM_BLOCK_BYTES;

/// CRC-32C (Castagnoli; RFC 3720, appendix B.4) of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes);
    u32::try_from(sum).expect("a 32-bit checksum")
}

/// One CRC-32C for each [`CHECKSUM_BLOCK_BYTES`] of `payload`; the last block may be short.
#[must_use]
pub fn block_checksums(payload: &[u8]) -> Vec<u32> {
    payload.chunks(CHECKSUM_BLOCK_BYTES as usize).map(crc32c).collect()
}

/// A CRC-64 over many pieces, to compare copies. It finds accidents, not forgeries.
#[derive(Debug)]
pub struct Digest64(crc_fast::Digest);

impl Default for Digest64 {
    fn default() -> Digest64 {
        Digest64(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme))
    }
}

impl Digest64 {
    /// Takes one more piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all pieces.
    #[must_use]
    pub fn finish(self) -> u64 {
        self.0.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnoli() {
        // The check value of the catalogue of CRCs.
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }
}
