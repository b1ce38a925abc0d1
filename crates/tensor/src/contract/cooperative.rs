//! Matrix units, and whether they can be trusted.
//!
//! The interface is young, and drivers have been seen to return wrong products. So before a device's matrix units are used for the
//! first time, they compute a product and a convolution, which have to be those of the plain kernel, bit by bit.

use std::fmt;
use std::sync::{Arc, OnceLock};

use kiln_gpu::Device;
use kiln_shaders::contract::{MatrixUnit, Mode, Params, TileSize};

use super::tiles::{Problem, Way, contract_as};
use crate::error::Result;
use crate::tensor::Tensor;

/// What is known of a device's matrix units. Shown as `16x16 f16, self-test passed`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MatrixUnits {
    /// The adapter has none that fit, or the device was opened without them.
    Absent,
    /// They are used: what they multiply passed the test.
    Passed {
        /// Rows and columns of a matrix, and the type of its elements.
        unit: String,
    },
    /// They are not used.
    Failed {
        /// Rows and columns of a matrix, and the type of its elements.
        unit: String,
        /// What was wrong.
        reason: String,
    },
}

impl fmt::Display for MatrixUnits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MatrixUnits::Absent => f.write_str("none"),
            MatrixUnits::Passed { unit } => write!(f, "{unit}, self-test passed"),
            MatrixUnits::Failed { unit, reason } => write!(f, "{unit}, not used, the self-test failed: {reason}"),
        }
    }
}

/// A device's matrix units, tested at the first call. A [device for shapes only](kiln_gpu::Device::shapes_only) takes them to work.
///
/// ```
/// # use kiln_gpu::{Device, Options}; use kiln_tensor::plan::{self, MatrixUnits};
/// # fn main() -> Result<(), kiln_tensor::Error> {
/// let device = Device::open(Options::new().minimal())?;
/// assert_eq!(plan::matrix_units(&device), MatrixUnits::Absent);
/// # Ok(()) }
/// ```
pub fn matrix_units(device: &Device) -> MatrixUnits {
    let Some((unit, outcome)) = &*tested(device) else { return MatrixUnits::Absent };
    let name = format!("{0}x{0} {1}", unit.side(), if unit.f16() { "f16" } else { "f32" });
    match outcome {
        Ok(()) => MatrixUnits::Passed { unit: name },
        Err(reason) => MatrixUnits::Failed { unit: name, reason: reason.clone() },
    }
}

/// The unit that a device's kernels may use.
pub(crate) fn unit(device: &Device) -> Option<MatrixUnit> {
    (*tested(device)).as_ref().and_then(|(unit, outcome)| outcome.is_ok().then_some(*unit))
}

/// Whether a product of these sizes fills a matrix, and so gains by the unit.
pub(crate) fn worth(sizes: [usize; 3]) -> bool {
    sizes.iter().all(|&size| size >= 16)
}

/// A unit, and what is wrong with it.
type Tested = Option<(MatrixUnit, std::result::Result<(), String>)>;

fn tested(device: &Device) -> Arc<Tested> {
    let cell = device.extension::<OnceLock<Arc<Tested>>>();
    let outcome = |unit| match device.is_shapes_only() {
        // The plans of an adapter whose units work.
        true => Ok(()),
        false => trial(device, |problem| by(problem, Way::Cooperative(unit))),
    };
    cell.get_or_init(|| Arc::new(best(device).map(|unit| (unit, outcome(unit))))).clone()
}

/// The best unit that the device was opened with.
fn best(device: &Device) -> Option<MatrixUnit> {
    let info = device.info();
    let there = |unit: &MatrixUnit| {
        let has = kiln_gpu::MatrixUnit { side: unit.side(), f16: unit.f16() };
        info.matrix_units.contains(&has) && (info.features.f16 || !unit.f16())
    };
    // The kernel asks for the number of its subgroup, and stages its results in workgroup memory.
    let runs = info.features.subgroups && info.limits.workgroup_bytes >= 32 << 10;
    MatrixUnit::ALL.into_iter().filter(|_| runs).find(there)
}

fn by(problem: &Problem<'_>, way: Way) -> Result<Tensor> {
    let problem = Problem { way, ..*problem };
    contract_as(&problem, problem.plan(problem.a.device(), false))
}

/// Whether `kernel` computes a product and a convolution as the plain kernel does; if not, what is wrong.
fn trial(device: &Device, kernel: impl Fn(&Problem<'_>) -> Result<Tensor>) -> std::result::Result<(), String> {
    let compare = |name: &str, problem: &Problem<'_>| -> Result<std::result::Result<(), String>> {
        let plain = by(problem, Way::Tile(TileSize::T64x64))?.to_vec::<f32>()?;
        let units = kernel(problem)?.to_vec::<f32>()?;
        let wrong = units.iter().zip(&plain).filter(|(unit, plain)| unit.to_bits() != plain.to_bits()).count();
        Ok(match wrong {
            0 => Ok(()),
            _ => Err(format!("{wrong} of {} results of {name} are wrong", plain.len())),
        })
    };
    // More than a tile in each direction, and read and written by four.
    let product = || -> Result<std::result::Result<(), String>> {
        let (m, n, k) = (133, 152, 44);
        let (a, b) = (whole(device, [2, m, k])?, whole(device, [2, k, n])?);
        let params = Params { m: m as u32, n: n as u32, k: k as u32, batches: 2, ..Params::default() };
        let params = Params { a_batch: params.m * params.k, a_row: params.k, a_k: 1, ..params };
        let params = Params { b_batch: params.k * params.n, b_k: params.n, b_column: 1, ..params };
        compare("a product", &Problem::plain("matrix_units", Mode::Dense, [&a, &b], [true, false], params))
    };
    // An image read through windows.
    let convolution = || -> Result<std::result::Result<(), String>> {
        let (a, b) = (whole(device, [20, 4 * 9])?, whole(device, [2, 4, 8, 8])?);
        let params = Params { m: 20, n: 2 * 64, k: 4 * 9, batches: 1, a_row: 4 * 9, a_k: 9, ..Params::default() };
        let params = Params { b_k: 64, b_column: 4 * 64, k_rows: 3, k_columns: 3, ..params };
        let params = Params { column_rows: 8, column_columns: 8, height: 8, width: 8, ..params };
        let params = Params { k_step_y: 1, k_step_x: 1, column_step_y: 1, column_step_x: 1, ..params };
        let params = Params { pad_y: 1, pad_x: 1, ..params };
        compare("a convolution", &Problem::plain("matrix_units", Mode::Patches, [&a, &b], [true, false], params))
    };
    product()
        .and_then(|outcome| if outcome.is_ok() { convolution() } else { Ok(outcome) })
        .unwrap_or_else(|error| Err(error.to_string()))
}

/// Small whole numbers without a pattern: sums of their products are exact in every type.
fn whole(device: &Device, shape: impl Into<crate::shape::Shape>) -> Result<Tensor> {
    let shape = shape.into();
    let values: Vec<f32> =
        (0..shape.numel() as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 28) as f32 - 7.0).collect();
    Tensor::from_slice(device, shape, &values)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use kiln_gpu::Options;

    fn open() -> Device {
        Device::open(Options::new().no_cache()).unwrap()
    }

    /// Another kernel that is right stands in for the units.
    fn right(problem: &Problem<'_>) -> Result<Tensor> {
        by(problem, Way::Tile(TileSize::T32x32))
    }

    #[test]
    fn a_kernel_that_is_right_passes() {
        assert_eq!(trial(&open(), right), Ok(()));
    }

    #[test]
    fn one_wrong_result_is_found() {
        let device = open();
        let off = |mode: Mode, at: usize| {
            trial(&device, |problem| {
                let right = right(problem)?;
                let mut values = right.to_vec::<f32>()?;
                if problem.mode == mode {
                    values[at] += 1.0;
                }
                Tensor::from_slice(problem.a.device(), *right.shape(), &values)
            })
        };
        assert_eq!(off(Mode::Dense, 2 * 133 * 152 - 1).unwrap_err(), "1 of 40432 results of a product are wrong");
        assert_eq!(off(Mode::Patches, 0).unwrap_err(), "1 of 2560 results of a convolution are wrong");
    }

    #[test]
    fn units_that_swap_rows_and_columns_or_return_zeros_are_found() {
        let device = open();
        let zeros = trial(&device, |problem| right(problem)?.mul_scalar(0.0));
        assert!(zeros.unwrap_err().ends_with("of 40432 results of a product are wrong"));
        let swapped = trial(&device, |problem| {
            let right = right(problem)?;
            right.transpose(1, 2)?.contiguous()?.reshape(*right.shape())
        });
        assert!(swapped.unwrap_err().ends_with("of 40432 results of a product are wrong"));
    }

    #[test]
    fn a_device_without_units_has_none() {
        let device = open();
        assert_eq!((matrix_units(&device), unit(&device)), (MatrixUnits::Absent, None));
        assert_eq!(MatrixUnits::Absent.to_string(), "none");
        let [unit, reason] = ["16x16 f16", "3 of 4 results of a product are wrong"].map(str::to_string);
        assert_eq!(
            MatrixUnits::Failed { unit, reason }.to_string(),
            "16x16 f16, not used, the self-test failed: 3 of 4 results of a product are wrong"
        );
    }
}
