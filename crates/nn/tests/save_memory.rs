//! Writing a weights file: one tensor at a time is in memory.
//!
//! One test, alone in its process: peak memory is counted for the whole process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use kiln_nn::{StateFile, TensorSource, save_tensors};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

#[test]
fn saving_holds_one_tensor_at_a_time() {
    const TENSORS: usize = 24;
    let folder = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
    let names: Vec<String> = (0..TENSORS).map(|i| format!("layer.{i}.weight")).collect();
    let values: Vec<f32> = (0..1 << 18).map(|i| i as f32).collect();
    let bytes = size_of_val(&values[..]);

    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let tensors = names.iter().map(|name| (name.as_str(), TensorSource::from_slice(&[512, 512], &values).unwrap()));
    save_tensors(tensors, &from, &BTreeMap::new()).unwrap();
    let given = MEMORY.peak_usage() - before;
    // The elements are the caller's; what comes on top is the writer's buffer and the header.
    assert!(given < 2 * bytes, "{given} bytes to write {TENSORS} tensors of {bytes} from memory");

    MEMORY.reset_peak_usage();
    let mut file = StateFile::open(&from).unwrap();
    file.save(&to).unwrap();
    let read = MEMORY.peak_usage() - before;
    assert!(read < 3 * bytes, "{read} bytes to copy {TENSORS} tensors of {bytes} from a file");
    file.verify().unwrap();
    assert_eq!(std::fs::read(&from).unwrap(), std::fs::read(&to).unwrap());
}
