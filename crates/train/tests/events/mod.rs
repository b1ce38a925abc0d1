//! A reader of event files: frames with their checksums, and Protocol Buffers' fields.
// Each test uses its own part.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};

/// A field's value, as far as the bytes tell.
#[derive(Debug, Clone)]
pub(crate) enum Field {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(Vec<u8>),
}

impl Field {
    pub(crate) fn int(&self) -> i64 {
        let Field::Varint(value) = self else { panic!("{self:?} is no integer") };
        *value as i64
    }

    pub(crate) fn float(&self) -> f32 {
        let Field::Fixed32(bytes) = self else { panic!("{self:?} is no float") };
        f32::from_le_bytes(*bytes)
    }

    pub(crate) fn double(&self) -> f64 {
        let Field::Fixed64(bytes) = self else { panic!("{self:?} is no double") };
        f64::from_le_bytes(*bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        let Field::Bytes(bytes) = self else { panic!("{self:?} are no bytes") };
        bytes
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }

    pub(crate) fn doubles(&self) -> Vec<f64> {
        self.bytes().chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect()
    }
}

/// CRC32C bit by bit: the reflected polynomial of Castagnoli.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The records of a file, or what is wrong with it.
pub(crate) fn decode(mut file: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut records = Vec::new();
    while !file.is_empty() {
        let (length, rest) = file.split_at_checked(8).ok_or("a cut length")?;
        let (check, rest) = rest.split_at_checked(4).ok_or("a cut checksum")?;
        if check != mask(crc32c(length)).to_le_bytes() {
            return Err("the length's checksum".to_string());
        }
        let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
        let (data, rest) = rest.split_at_checked(length).ok_or("a cut record")?;
        let (check, rest) = rest.split_at_checked(4).ok_or("a cut checksum")?;
        if check != mask(crc32c(data)).to_le_bytes() {
            return Err("the record's checksum".to_string());
        }
        records.push(data.to_vec());
        file = rest;
    }
    Ok(records)
}

pub(crate) fn read_all(file: &[u8]) -> Vec<Vec<u8>> {
    decode(file).unwrap()
}

/// A message's fields with their numbers, in order.
pub(crate) fn fields(mut message: &[u8]) -> Vec<(u32, Field)> {
    fn varint(message: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (byte, rest) = message.split_first().unwrap();
            *message = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }
    fn take<'a>(message: &mut &'a [u8], count: usize) -> &'a [u8] {
        let (taken, rest) = message.split_at(count);
        *message = rest;
        taken
    }
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let field = match key & 7 {
            0 => Field::Varint(varint(&mut message)),
            1 => Field::Fixed64(take(&mut message, 8).try_into().unwrap()),
            2 => {
                let length = varint(&mut message) as usize;
                Field::Bytes(take(&mut message, length).to_vec())
            }
            5 => Field::Fixed32(take(&mut message, 4).try_into().unwrap()),
            wire => panic!("wire type {wire}"),
        };
        found.push(((key >> 3) as u32, field));
    }
    found
}

/// The first field of this number.
pub(crate) fn first(fields: &[(u32, Field)], number: u32) -> &Field {
    &fields.iter().find(|(found, _)| *found == number).unwrap_or_else(|| panic!("no field {number} in {fields:?}")).1
}

/// The step and the values of a summary's event.
pub(crate) fn summary(event: &[u8]) -> (i64, Vec<Vec<(u32, Field)>>) {
    let event = fields(event);
    let values = fields(first(&event, 5).bytes());
    (first(&event, 2).int(), values.iter().map(|(_, value)| fields(value.bytes())).collect())
}

/// The newest event file of a folder.
pub(crate) fn last_file(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.to_str().unwrap().contains(".tfevents.")).max().expect("an event file")
}
