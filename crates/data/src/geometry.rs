//! What moves the pixels of one sample, and whatever else lies on them: drawn once, applied to the image, its boxes and its mask alike.

use crate::error::Result;
use crate::image::{Image, Region};

/// How the pixels of one sample move: sizes, crops and a flip, as [`Transforms`](crate::Transforms) drew them. Everything that lies on
/// the pixels moves by the same numbers: see [`Target`](crate::Target).
///
/// Positions are in pixels from the top left corner of the image, `[y, x]`; the centre of the first pixel is `[0.5, 0.5]`.
///
/// ```
/// use kiln_data::{Geometry, Transforms};
///
/// // 20 x 40 pixels become 10 x 20, of which the 10 x 10 in the middle are kept, mirrored.
/// let transforms = Transforms::new().resize(10).center_crop(10).horizontal_flip(1.0);
/// let geometry: Geometry = transforms.draw([20, 40], 0)?;
/// assert_eq!(geometry.output(), [10, 10]);
/// assert_eq!(geometry.source([0, 0]), Some([1, 29]));
/// # Ok::<(), kiln_data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Geometry {
    input: [usize; 2],
    steps: Vec<Move>,
    flip: bool,
}

/// A step of a [`Geometry`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Move {
    /// A region becomes an image of this size, `[h, w]`, by a filter.
    Resize { region: Region, size: [usize; 2] },
    /// The window of this size whose first pixel is at `top` and `left`, which may lie outside of the image.
    Crop { top: isize, left: isize, size: [usize; 2] },
}

impl Move {
    fn size(&self) -> [usize; 2] {
        match *self {
            Move::Resize { size, .. } | Move::Crop { size, .. } => size,
        }
    }

    /// Along each axis, `[y, x]`: where the first pixel begins in the image before, and how many of its pixels one pixel covers.
    fn axes(&self) -> [(f64, f64); 2] {
        match *self {
            Move::Resize { region, size } => {
                [(region.top, region.height / size[0] as f64), (region.left, region.width / size[1] as f64)]
            }
            Move::Crop { top, left, .. } => [(top as f64, 1.0), (left as f64, 1.0)],
        }
    }
}

impl Geometry {
    /// Leaves an image of this height and width as it is.
    pub fn identity(input: [usize; 2]) -> Geometry {
        Geometry { input, steps: Vec::new(), flip: false }
    }

    pub(crate) fn push(&mut self, step: Move) {
        self.steps.push(step);
    }

    pub(crate) fn set_flip(&mut self, flip: bool) {
        self.flip = flip;
    }

    /// The height and width of the image that it is made for.
    pub fn input(&self) -> [usize; 2] {
        self.input
    }

    /// The height and width that the image has after it.
    pub fn output(&self) -> [usize; 2] {
        self.steps.last().map_or(self.input, Move::size)
    }

    /// Whether left becomes right, as the last step.
    pub fn flips(&self) -> bool {
        self.flip
    }

    /// The pixel of the image before it, `[row, column]`, that lies under the centre of a pixel of the image after it; `None` where
    /// that is beyond the image, or beyond a region that was cut out on the way.
    pub fn source(&self, [row, column]: [usize; 2]) -> Option<[usize; 2]> {
        Some([self.source_along(0, row)?, self.source_along(1, column)?])
    }

    /// As [`Geometry::source`], along one axis: all steps keep rows rows and columns columns.
    pub(crate) fn source_along(&self, axis: usize, at: usize) -> Option<usize> {
        let end = self.output()[axis];
        let at = if self.flip && axis == 1 { end.checked_sub(at + 1)? } else { at };
        let mut centre = at as f64 + 0.5;
        for (place, step) in self.steps.iter().enumerate().rev() {
            let (first, scale) = step.axes()[axis];
            centre = first + centre * scale;
            let before = if place == 0 { self.input } else { self.steps[place - 1].size() };
            if !(0.0..before[axis] as f64).contains(&centre) {
                return None;
            }
        }
        (centre < self.input[axis] as f64).then_some(centre as usize)
    }

    /// Where an interval along an axis (0: y, 1: x) lies after the geometry, and the part of it that is still within the image.
    pub(crate) fn interval(&self, axis: usize, [low, high]: [f64; 2]) -> ([f64; 2], [f64; 2]) {
        let (mut whole, mut seen) = ([low, high], [low, high].map(|edge| edge.clamp(0.0, self.input[axis] as f64)));
        for step in &self.steps {
            let (first, scale) = step.axes()[axis];
            whole = whole.map(|edge| (edge - first) / scale);
            seen = seen.map(|edge| ((edge - first) / scale).clamp(0.0, step.size()[axis] as f64));
        }
        if self.flip && axis == 1 {
            let end = self.output()[1] as f64;
            let turned = |[low, high]: [f64; 2]| [end - high, end - low];
            (whole, seen) = (turned(whole), turned(seen));
        }
        (whole, seen)
    }

    /// Moves an image by all steps but the flip, which whoever writes its planes does on the way. `what` names the image in errors.
    pub(crate) fn apply(&self, mut image: Image, what: &dyn Fn() -> String) -> Result<Image> {
        for step in &self.steps {
            image = match *step {
                Move::Resize { region, size: [height, width] } => image.resize(region, height, width, &what())?,
                Move::Crop { top, left, size: [height, width] } => image.cut(top, left, height, width, &what())?,
            };
        }
        Ok(image)
    }
}
