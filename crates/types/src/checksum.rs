//! CRC-32C, the checksum of frames and records.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnoli() {
        // The check value of the catalogue of CRCs.
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }
}
