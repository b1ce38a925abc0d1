//! Which algorithm computes a convolution or product.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use kiln_gpu::Device;

use crate::error::{Error, Result};

/// A way to compute a convolution or a matrix product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// The tiled product that takes any problem on any adapter.
    Tiles,
    /// The dense product that reads both operands by four (processors).
    Quads,
    /// Convolution whose neighbouring results share what is loaded (processors).
    Direct,
    /// Winograd's F(2x2, 3x3).
    Winograd2,
    /// Winograd's F(4x4, 3x3).
    Winograd4,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Algorithm; 5] =
        [Algorithm::Tiles, Algorithm::Quads, Algorithm::Direct, Algorithm::Winograd2, Algorithm::Winograd4];

    /// Its name, as `KILN_PLAN` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Tiles => "tiles",
            Algorithm::Quads => "quads",
            Algorithm::Direct => "direct",
            Algorithm::Winograd2 => "winograd2",
            Algorithm::Winograd4 => "winograd4",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = Error;

    fn from_str(text: &str) -> Result<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == text).ok_or_else(|| {
            let known = Algorithm::ALL.map(Algorithm::name).join(", ");
            Error::argument("plan", format!("'{text}' is no algorithm; needs one of {known}"))
        })
    }
}

/// What is pinned on a device.
struct Pinned(Mutex<Option<Algorithm>>);

impl Default for Pinned {
    /// What `KILN_PLAN` names, if it names one.
    fn default() -> Pinned {
        Pinned(Mutex::new(std::env::var("KILN_PLAN").ok().and_then(|name| name.parse().ok())))
    }
}

/// Pins an algorithm on a device: it is used wherever it applies, and the usual choice elsewhere. `None` lets the choice free
/// again. At first, the algorithm is pinned that the environment variable `KILN_PLAN` names.
pub fn pin(device: &Device, algorithm: Option<Algorithm>) {
    *device.extension::<Pinned>().0.lock().unwrap_or_else(PoisonError::into_inner) = algorithm;
}

/// The algorithm that is pinned on a device.
pub fn pinned(device: &Device) -> Option<Algorithm> {
    *device.extension::<Pinned>().0.lock().unwrap_or_else(PoisonError::into_inner)
}
