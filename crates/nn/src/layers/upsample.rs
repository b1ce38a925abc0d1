//! Upsampling.

use kiln_autograd::Var;
use kiln_tensor::ops::interpolate::{InterpolateMode, InterpolateSize};

use crate::error::Result;
use crate::layers::{Size2, parameterless};
use crate::module::{Module, Visitor};

/// The image in another size, by the nearest pixel unless told: `[n, c, h, w]` to `[n, c, h', w']`, larger or smaller. See
/// [`Tensor::interpolate`](kiln_tensor::Tensor::interpolate).
///
/// ```
/// # use kiln_tensor::{Device, DType, Tensor}; use kiln_autograd::Tape;
/// # use kiln_nn::{Module, Upsample};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default()?;
/// let x = Tape::eval().constant(Tensor::ones(&device, [2, 3, 5, 7], DType::F32)?);
/// assert_eq!(Upsample::scale_factor(2.0).forward(&x)?.dims::<4>()?, [2, 3, 10, 14]);
/// assert_eq!(Upsample::size([9, 4]).bilinear(false).forward(&x)?.dims::<4>()?, [2, 3, 9, 4]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Upsample {
    size: InterpolateSize,
    mode: InterpolateMode,
}

impl Upsample {
    /// To images of this size, which is at least 1: the first forward tells.
    pub fn size(size: impl Into<Size2>) -> Upsample {
        Upsample { size: InterpolateSize::Size(size.into().0), mode: InterpolateMode::Nearest }
    }

    /// To images of so many times the height and width, rounded down. The factor is above 0: the first forward tells.
    pub fn scale_factor(factor: f64) -> Upsample {
        Upsample { size: InterpolateSize::ScaleFactor([factor; 2]), mode: InterpolateMode::Nearest }
    }

    /// Of four pixels by their distances; `align_corners` puts the centres of the corner pixels of both images at one place.
    #[must_use]
    pub fn bilinear(mut self, align_corners: bool) -> Upsample {
        self.mode = InterpolateMode::Bilinear { align_corners };
        self
    }
}

impl Module for Upsample {
    fn forward(&self, x: &Var) -> Result<Var> {
        Ok(x.interpolate(self.size, self.mode)?)
    }

    fn visit(&self, _: &mut Visitor<'_>) {}
}

parameterless!(Upsample);
