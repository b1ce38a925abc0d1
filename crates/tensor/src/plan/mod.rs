//! Which algorithm computes a convolution or product.
//!
//! Every op of that kind asks one function, with its [`Problem`] as data. The answer is, in this order, the algorithm that is
//! [pinned](pin()), the one that a [`Tuning`] file of this adapter names, or the one that a fixed rule by sizes and adapter class
//! gives; each only where it applies. Nothing is measured meanwhile, so the same input gives the same bits. [`watch`]
//! tells what was chosen.

mod problem;
mod tuning;

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use kiln_gpu::{AdapterClass, Device};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

pub use crate::contract::cooperative::{MatrixUnits, matrix_units};
pub use kiln_shaders::contract::TileSize;
pub use problem::{Direction, Problem};
pub use tuning::{Tuning, TuningError};

/// A way to compute a convolution or a matrix product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Algorithm {
    /// The tiled product that takes any problem on any adapter, with the tile that suits both.
    Tiles,
    /// The tiled product of GPUs with this tile. It runs on any adapter, and can so be tried anywhere.
    Tile(TileSize),
    /// The tiled product by matrix units: operands are rounded to `f16` on most adapters. Only on a device that was
    /// [opened with them](kiln_gpu::Options::cooperative_matrices), where [`matrix_units`] passed its test.
    Cooperative,
    /// The dense product that reads both operands by four (processors).
    Quads,
    /// Convolution whose neighbouring results share what is loaded (processors).
    Direct,
    /// Convolution of a single input channel by each group.
    Depthwise,
    /// Winograd's F(2x2, 3x3).
    Winograd2,
    /// Winograd's F(4x4, 3x3).
    Winograd4,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Algorithm; 12] = [
        Algorithm::Tiles,
        Algorithm::Tile(TileSize::T128x128),
        Algorithm::Tile(TileSize::T64x128),
        Algorithm::Tile(TileSize::T64x64),
        Algorithm::Tile(TileSize::T32x128),
        Algorithm::Tile(TileSize::T32x32),
        Algorithm::Cooperative,
        Algorithm::Quads,
        Algorithm::Direct,
        Algorithm::Depthwise,
        Algorithm::Winograd2,
        Algorithm::Winograd4,
    ];

    /// Its name, as `KILN_PLAN` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Tiles => "tiles",
            Algorithm::Tile(TileSize::T128x128) => "tiles128x128",
            Algorithm::Tile(TileSize::T64x128) => "tiles64x128",
            Algorithm::Tile(TileSize::T64x64) => "tiles64x64",
            Algorithm::Tile(TileSize::T32x128) => "tiles32x128",
            Algorithm::Tile(TileSize::T32x32) => "tiles32x32",
            Algorithm::Cooperative => "cooperative",
            Algorithm::Quads => "quads",
            Algorithm::Direct => "direct",
            Algorithm::Depthwise => "depthwise",
            Algorithm::Winograd2 => "winograd2",
            Algorithm::Winograd4 => "winograd4",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The algorithm of this name, which `place` gave.
fn parse(place: &'static str, name: &str) -> Result<Algorithm> {
    Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name).ok_or_else(|| {
        let known = Algorithm::ALL.map(Algorithm::name).join(", ");
        Error::argument(place, format!("{name:?} is no algorithm; needs one of {known}"))
    })
}

impl FromStr for Algorithm {
    type Err = Error;

    fn from_str(text: &str) -> Result<Algorithm> {
        parse("plan", text)
    }
}

impl TryFrom<String> for Algorithm {
    type Error = Error;

    fn try_from(name: String) -> Result<Algorithm> {
        name.parse()
    }
}

impl From<Algorithm> for &'static str {
    fn from(algorithm: Algorithm) -> &'static str {
        algorithm.name()
    }
}

impl Algorithm {
    /// Whether measuring it on this device makes sense. Tiles of GPUs run on processors for tests, and take seconds to compile.
    fn worth_measuring(self, device: &Device) -> bool {
        !matches!(self, Algorithm::Tile(_)) || device.info().class == AdapterClass::Gpu
    }
}

/// What was chosen for a problem. Shown as `winograd4`, `quads /2` or `tiles 64x64 /4`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The problem.
    pub problem: Problem,
    /// What computes it.
    pub algorithm: Algorithm,
    /// The algorithms that apply to it and are worth measuring here, [`Algorithm::Tiles`] first.
    pub candidates: Vec<Algorithm>,
    /// Rows and columns of a tile, of a tiled product whose name does not tell them.
    pub tile: Option<[usize; 2]>,
    /// Parts that k is cut into, of the products: 1 is the whole.
    pub splits: u32,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.algorithm)?;
        if let Some([rows, columns]) = self.tile {
            write!(f, " {rows}x{columns}")?;
        }
        if self.splits > 1 {
            write!(f, " /{}", self.splits)?;
        }
        Ok(())
    }
}

type Loaded = std::result::Result<Option<Arc<Tuning>>, TuningError>;

/// What decides on a device.
struct Plans {
    pinned: Mutex<Result<Option<Algorithm>>>,
    rows: AtomicU32,
    tuning: OnceLock<Loaded>,
    watched: Mutex<Option<Watched>>,
}

/// The choices since [`watch`] began, and the place of the latest.
#[derive(Default)]
struct Watched {
    choices: Vec<Choice>,
    latest: usize,
}

impl Default for Plans {
    /// Pins what `KILN_PLAN` names, if it names one.
    fn default() -> Plans {
        Plans {
            pinned: Mutex::new(named(std::env::var("KILN_PLAN").ok().as_deref())),
            rows: AtomicU32::new(usual_rows()),
            tuning: OnceLock::new(),
            watched: Mutex::default(),
        }
    }
}

/// The rows of a tile that this processor computes soonest. 32 halve the work for each load, and double the machine code of the inner
/// loop. With AVX-512 (a server core at 3.6 GHz) 16 rows have 0.88 of the rate of 32; without (Zen 3) the two are alike, and 16 need
/// fewer registers in memory.
fn usual_rows() -> u32 {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    let wide = std::arch::is_x86_feature_detected!("avx512f");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
    let wide = false;
    if wide { 32 } else { 16 }
}

/// The algorithm that a value of `KILN_PLAN` names.
fn named(value: Option<&str>) -> Result<Option<Algorithm>> {
    let Some(name) = value.map(str::trim).filter(|name| !name.is_empty()) else { return Ok(None) };
    parse("KILN_PLAN", name).map(Some)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Plans {
    fn tuning(&self, device: &Device) -> &Loaded {
        self.tuning.get_or_init(|| match device.cache_dir() {
            Some(folder) => Ok(Tuning::read(folder, device.info())?.map(Arc::new)),
            None => Ok(None),
        })
    }
}

/// Pins an algorithm on a device: it is used wherever it applies, and the usual choice elsewhere. `None` lets the choice free
/// again. At first, the algorithm is pinned that the environment variable `KILN_PLAN` names.
pub fn pin(device: &Device, algorithm: Option<Algorithm>) {
    *lock(&device.extension::<Plans>().pinned) = Ok(algorithm);
}

/// The algorithm that is pinned on a device.
///
/// # Errors
/// [`Error::Argument`] where `KILN_PLAN` names none; convolutions and products return it too.
pub fn pinned(device: &Device) -> Result<Option<Algorithm>> {
    lock(&device.extension::<Plans>().pinned).clone()
}

/// Pins the rows of a workgroup's tile in the products and convolutions of processors, 16 or 32, in place of those that suit the
/// processor. At 16, products whose left side lies along its rows may take 24. Results can differ in their last bits, since short
/// tiles need fewer parts of a sum.
///
/// # Errors
/// [`Error::Argument`] for another number.
pub fn pin_rows(device: &Device, rows: u32) -> Result<()> {
    if rows != 16 && rows != 32 {
        return Err(Error::argument("pin_rows", format!("{rows} rows; pass 16 or 32")));
    }
    device.extension::<Plans>().rows.store(rows, Ordering::Relaxed);
    Ok(())
}

/// The rows of a workgroup's tile in the products and convolutions of processors.
pub fn tile_rows(device: &Device) -> u32 {
    device.extension::<Plans>().rows.load(Ordering::Relaxed)
}

/// The tuning that is in force on a device: that of [`Tuning::path`] in its [cache folder](Device::cache_dir), read once, at the
/// first call or the first op that asks.
///
/// # Errors
/// [`TuningError`] where there is a file that cannot be used. Ops go on without it; a program may want to tell.
pub fn tuning(device: &Device) -> std::result::Result<Option<Arc<Tuning>>, TuningError> {
    device.extension::<Plans>().tuning(device).clone()
}

/// Runs `work` and returns with its result what was chosen on the device meanwhile, each problem once for each algorithm.
///
/// ```
/// # use kiln_gpu::Device; use kiln_tensor::{DType, Tensor, plan::{self, Algorithm}};
/// # fn main() -> Result<(), kiln_tensor::Error> {
/// let device = Device::open_default()?;
/// let x = Tensor::ones(&device, [16, 16], DType::F32)?;
/// let (product, choices) = plan::watch(&device, || x.matmul(&x));
/// product?;
/// assert_eq!(choices.len(), 1);
/// assert!(choices[0].candidates.contains(&Algorithm::Tiles));
/// # Ok(()) }
/// ```
pub fn watch<T>(device: &Device, work: impl FnOnce() -> T) -> (T, Vec<Choice>) {
    let plans = device.extension::<Plans>();
    let outer = lock(&plans.watched).replace(Watched::default());
    let result = work();
    let watched = std::mem::replace(&mut *lock(&plans.watched), outer);
    (result, watched.map(|watched| watched.choices).unwrap_or_default())
}

/// The algorithm for a problem: what is pinned, else what was measured, else `usual`; the first that applies.
pub(crate) fn choose(
    device: &Device,
    problem: Problem,
    applies: impl Fn(Algorithm) -> bool,
    usual: impl FnOnce() -> Algorithm,
) -> Result<Algorithm> {
    let plans = device.extension::<Plans>();
    let pinned = lock(&plans.pinned).clone()?;
    let pinned = pinned.filter(|&algorithm| applies(algorithm));
    let tuned = || plans.tuning(device).as_ref().ok()?.as_ref()?.get(&problem).filter(|&algorithm| applies(algorithm));
    let algorithm = pinned.or_else(tuned).unwrap_or_else(usual);
    if lock(&plans.watched).is_none() {
        return Ok(algorithm);
    }
    let candidates = |&algorithm: &Algorithm| algorithm.worth_measuring(device) && applies(algorithm);
    let candidates: Vec<Algorithm> = Algorithm::ALL.into_iter().filter(candidates).collect();
    if let Some(watched) = lock(&plans.watched).as_mut() {
        let known = |choice: &Choice| choice.problem == problem && choice.algorithm == algorithm;
        watched.latest = watched.choices.iter().position(known).unwrap_or(watched.choices.len());
        if watched.latest == watched.choices.len() {
            watched.choices.push(Choice { problem, algorithm, candidates, tile: None, splits: 1 });
        }
    }
    Ok(algorithm)
}

/// Tells [`watch`] how the latest problem's product is run. A transform's inner products are not told.
pub(crate) fn note(device: &Device, algorithm: Algorithm, tile: Option<[usize; 2]>, splits: u32) {
    if let Some(watched) = lock(&device.extension::<Plans>().watched).as_mut()
        && let Some(choice) = watched.choices.get_mut(watched.latest)
        && choice.algorithm == algorithm
    {
        (choice.tile, choice.splits) = (tile, splits);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_is_told_with_those_that_are() {
        assert_eq!(named(Some(" winograd4 ")).unwrap(), Some(Algorithm::Winograd4));
        assert_eq!((named(None).unwrap(), named(Some("")).unwrap()), (None, None));
        assert_eq!(
            named(Some("winograd")).unwrap_err().to_string(),
            "KILN_PLAN: \"winograd\" is no algorithm; needs one of tiles, tiles128x128, tiles64x128, tiles64x64, \
             tiles32x128, tiles32x32, cooperative, quads, direct, depthwise, winograd2, winograd4"
        );
        assert!(
            Algorithm::ALL.into_iter().all(|algorithm| algorithm.name().parse::<Algorithm>().unwrap() == algorithm)
        );
    }
}
