//! What every row of the table is put through.

use std::sync::OnceLock;

use kiln_gpu::Device;

use crate::reference::Array;
use crate::row::{Case, Row, Wrongs, download, seed_of};
use crate::tolerance::{Class, Expected};

/// The least shapes that a row is tried on.
const CASES: usize = 8;
/// The least wrong calls of an op that can fail.
const WRONGS: usize = 2;

pub fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| Device::open_default().unwrap_or_else(|e| panic!("{e}")))
}

/// Runs every check of every row and reports all that miss.
pub fn run(rows: &[Row]) {
    let mut misses = Vec::new();
    for row in rows {
        if row.cases.len() < CASES {
            misses.push(format!("{}: {} cases; a row needs at least {CASES}", row.name, row.cases.len()));
        }
        for case in &row.cases {
            if let Err(miss) = check_case(row, case) {
                misses.push(format!("{} {}: {miss}", row.name, case.label));
            }
        }
        check_wrongs(row, &mut misses);
    }
    assert!(misses.is_empty(), "{} misses:\n{}", misses.len(), misses.join("\n"));
}

fn check_case(row: &Row, case: &Case) -> Result<(), String> {
    let error = |e: kiln_tensor::Error| e.to_string();
    let seed = |i: usize| seed_of(&format!("{} {} {i}", row.name, case.label));
    let values: Vec<Array> = case.inputs.iter().enumerate().map(|(i, input)| input.values(seed(i))).collect();
    let inputs = case
        .inputs
        .iter()
        .zip(&values)
        .map(|(input, values)| input.upload(device(), values))
        .collect::<Result<Vec<_>, _>>()
        .map_err(error)?;
    let expected = (case.reference)(&values);
    let output = (case.forward)(&inputs).map_err(error)?;
    if output.shape()[..] != expected.value.shape[..] {
        return Err(format!("shape {}, reference {:?}", output.shape(), expected.value.shape));
    }
    if output.dtype() != case.dtype {
        return Err(format!("dtype {}, should be {}", output.dtype(), case.dtype));
    }
    let got = download(&output).map_err(error)?;
    row.class.compare(&got, &expected)?;
    let again = download(&(case.forward)(&inputs).map_err(error)?).map_err(error)?;
    if got.iter().map(|v| v.to_bits()).ne(again.iter().map(|v| v.to_bits())) {
        return Err("other bits the second time".to_owned());
    }
    if let Some(torch) = &case.recorded {
        against_pytorch(row.class, &got, torch, &expected)?;
    }
    Ok(())
}

/// Both sides are f32 results, each with the class's error: so twice the tolerance.
fn against_pytorch(class: Class, got: &[f32], torch: &Array, expected: &Expected) -> Result<(), String> {
    let recorded = Expected { value: torch.clone(), ..expected.clone() };
    class.compare_loosely(2.0, got, &recorded).map_err(|miss| format!("against PyTorch: {miss}"))
}

fn check_wrongs(row: &Row, misses: &mut Vec<String>) {
    let Wrongs::Calls(wrongs) = &row.wrong else { return };
    if wrongs.len() < WRONGS {
        misses.push(format!("{}: {} wrong calls; an op that can fail needs {WRONGS}", row.name, wrongs.len()));
    }
    for wrong in wrongs {
        match (wrong.call)(device()) {
            Ok(output) => misses.push(format!("{}: gave {output:?} where it should say: {}", row.name, wrong.message)),
            Err(error) if error.to_string() == wrong.message => {}
            Err(error) => misses.push(format!("{}: said: {error}\n    should say: {}", row.name, wrong.message)),
        }
    }
}
