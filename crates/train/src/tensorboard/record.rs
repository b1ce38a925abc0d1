//! TFRecord framing: each record is its length and its bytes, each with a masked CRC32C.
//!
//! Source: tensorflow/core/lib/io/record_writer.h.

use crc::{CRC_32_ISCSI, Crc, Table};

/// CRC32C (Castagnoli), under the name of its catalogue.
const CASTAGNOLI: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// A checksum of data that itself contains checksums is weak, so it is turned and shifted.
fn masked(bytes: &[u8]) -> u32 {
    CASTAGNOLI.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// A record with its frame: length (u64), its checksum (u32), the bytes, their checksum (u32), all little-endian.
pub(crate) fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(bytes.len() + 16);
    record.extend(length);
    record.extend(masked(&length).to_le_bytes());
    record.extend(bytes);
    record.extend(masked(bytes).to_le_bytes());
    record
}

#[cfg(test)]
mod tests {
    use super::CASTAGNOLI;

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, section B.4: 32 bytes of zeros, of ones, and ascending.
        assert_eq!(CASTAGNOLI.checksum(&[0; 32]), 0x8a91_36aa);
        assert_eq!(CASTAGNOLI.checksum(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(CASTAGNOLI.checksum(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
    }
}
