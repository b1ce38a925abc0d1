//! Files that are passed as weights and are something else, by how they start.

use std::fs::File;
use std::path::Path;

use super::format::part;
use crate::error::Error;

/// How many bytes are looked at.
pub(super) const START: u64 = 1024;

/// The longest safetensors header that may be one, by the length before it; longer ones are refused by their reader.
const LONGEST_HEADER: u64 = 1 << 32;

const PASS: &str = "pass weights of PyTorch (.pth), or a safetensors file";

/// First bytes, what has them, and what to do.
const KNOWN: [(&[u8], &str, &str); 8] = [
    (b"\x89HDF\r\n\x1a\n", "it is an HDF5 file, as Keras writes it", PASS),
    (b"\x1f\x8b", "it is compressed by gzip", "unpack it first"),
    (b"BZh", "it is compressed by bzip2", "unpack it first"),
    (b"\xfd7zXZ\0", "it is compressed by xz", "unpack it first"),
    (b"\x93NUMPY", "it is an array of NumPy (.npy)", PASS),
    (b"GGUF", "it is a GGUF file, as llama.cpp reads it", PASS),
    (b"\x89PNG", "it is a PNG image", PASS),
    (b"\xff\xd8\xff", "it is a JPEG image", PASS),
];

/// Why a file that is no archive or stream of PyTorch is not read; `None` where it may be a safetensors file.
pub(super) fn error(file: &File, start: &[u8], bytes: u64, path: &Path) -> Option<Error> {
    let name = || path.display().to_string();
    let other = |message: String, advice: &str| Error::NotWeights { file: name(), message, advice: advice.to_owned() };
    let damaged = |message: &str| Error::Damaged { file: name(), message: message.to_owned() };
    if start.is_empty() {
        return Some(damaged("it is empty"));
    }
    if let Some((_, what, advice)) = KNOWN.iter().find(|(first, ..)| start.starts_with(first)) {
        return Some(other((*what).to_owned(), advice));
    }
    if start.get(4..8) == Some(b"TFL3") {
        return Some(other("it is a model of TensorFlow Lite".to_owned(), PASS));
    }
    if is_onnx(start) {
        return Some(other(
            "it is a model in ONNX".to_owned(),
            "take its weights where it came from, by torch.save(model.state_dict(), path)",
        ));
    }
    if let Some(text) = text(start) {
        let (message, advice) = of_text(text);
        return Some(other(message, advice));
    }
    // The length of a header, and its first byte.
    let length = start.first_chunk().map(|&length| u64::from_le_bytes(length));
    if length.is_some_and(|length| length <= LONGEST_HEADER) && start.get(8) == Some(&b'{') {
        return None;
    }
    if start.iter().all(|&byte| byte == 0) {
        return Some(damaged("it starts with zeros, so it was not written to its end"));
    }
    // The end record of an archive, without a comment or with a short one.
    let tail = part(file, bytes.saturating_sub(64), 64.min(bytes)).unwrap_or_default();
    if tail.windows(4).any(|record| record == b"PK\x05\x06") {
        return Some(damaged("it ends as a zip archive of torch.save does, and does not start as one"));
    }
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        return None;
    }
    let shown = start[..start.len().min(8)].escape_ascii();
    Some(match start {
        [0x80, 2..=5, ..] => other(
            "it is a pickle that torch.save did not write, or its first bytes are damaged".to_owned(),
            "load it in Python and save a state dict by torch.save(model.state_dict(), path)",
        ),
        _ => other(
            format!("it starts with \"{shown}\", as neither a file of torch.save nor a safetensors file does"),
            "if it is one of these, it is damaged: copy or download it again",
        ),
    })
}

/// A text, if it is one: at least the eight bytes that a safetensors file has before its header.
fn text(start: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // A character may lie across the end.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&start[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let control = |character: char| character.is_control() && !matches!(character, '\t' | '\n' | '\r' | '\x0c');
    (start.len() >= 8 && !text.contains(control)).then_some(text.trim_start_matches('\u{feff}').trim_start())
}

fn of_text(text: &str) -> (String, &'static str) {
    let lower = text.to_ascii_lowercase();
    if lower.starts_with('<') && (lower.contains("<html") || lower.starts_with("<!doctype html")) {
        return (
            "it is an HTML page: a web site answered with a page in the place of the file".to_owned(),
            "download the file itself",
        );
    }
    if lower.starts_with("<?xml") {
        return (
            "it is an XML document, as servers send it to say why there is no file".to_owned(),
            "download the file itself",
        );
    }
    if lower.starts_with("version https://git-lfs") {
        let size = text.lines().find_map(|line| line.strip_prefix("size ")?.trim().parse::<u64>().ok());
        let size = size.map_or_else(String::new, |size| format!(" to a file of {size} bytes"));
        return (format!("it is a pointer of Git LFS{size}, not the file"), "fetch that by git lfs pull");
    }
    if lower.starts_with('{') && lower.contains("\"weight_map\"") {
        let message = "it is the index of weights that lie in several files, which Kiln does not read";
        return (message.to_owned(), "save the model as one file");
    }
    let shown: String = text.chars().take(32).collect();
    (format!("it is text that starts with {shown:?}"), PASS)
}

/// Whether this starts as ONNX's protocol buffer does: field 1, a small version; then field 2, the producer's name, or another of the
/// fields up to 8 that are bytes.
fn is_onnx(start: &[u8]) -> bool {
    match *start {
        [0x08, 1..=32, 0x12, length, ref rest @ ..] => {
            rest.get(..length.into()).is_some_and(|name| name.iter().all(u8::is_ascii_graphic))
        }
        [0x08, 1..=32, 0x3a | 0x42, ..] => true,
        _ => false,
    }
}
