//! What a sample is besides its image: a class, boxes, a mask, another image, or nothing.

use std::fmt;

use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::image::Image;

/// What a network is to find in an image. Whatever lies on the pixels moves with them: [`Geometry`] is drawn once for a sample and moves
/// the image and its target alike.
///
/// ```
/// use kiln_data::{LabeledBox, Target, Transforms};
///
/// let mut boxes = vec![LabeledBox::new(0, [10.0, 4.0, 30.0, 12.0])];
/// let geometry = Transforms::new().resize_to(40, 40).horizontal_flip(1.0).draw([20, 80], 0)?;
/// boxes.moved(&geometry)?;
/// // Half as wide, twice as high, and mirrored.
/// assert_eq!(boxes[0].edges(), [25.0, 8.0, 35.0, 24.0]);
/// # Ok::<(), kiln_data::Error>(())
/// ```
pub trait Target: Clone + fmt::Debug + Send + Sync + 'static {
    /// Moves it as the pixels of its image move.
    ///
    /// # Errors
    /// [`Error::Target`] for a target that is made for an image of another size.
    fn moved(&mut self, by: &Geometry) -> Result<()>;
}

/// Targets that say something about the whole image, wherever its pixels are.
macro_rules! of_the_whole_image {
    ($($(#[$doc:meta])* $target:ty;)*) => {
        $($(#[$doc])* impl Target for $target {
            fn moved(&mut self, _: &Geometry) -> Result<()> {
                Ok(())
            }
        })*
    };
}

of_the_whole_image! {
    /// The number of a class.
    u32;
    /// Nothing is known of the image.
    ();
    /// A number to be predicted.
    f32;
    /// Numbers to be predicted.
    Vec<f32>;
}

/// A box around an object, in pixels from the top left corner of the image. Edges lie between pixels: a box around the first pixel
/// alone is from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabeledBox {
    /// The number of the object's class.
    pub class: u32,
    /// The left edge.
    pub left: f32,
    /// The top edge.
    pub top: f32,
    /// The right edge.
    pub right: f32,
    /// The bottom edge.
    pub bottom: f32,
    /// Whether it counts neither as found nor as missed: Pascal VOC's `difficult`, COCO's `iscrowd`.
    pub ignored: bool,
}

/// Of a box that a crop cuts, at least this fraction has to be left.
const VISIBLE: f64 = 0.1;

impl LabeledBox {
    /// A box of these edges: left, top, right, bottom.
    pub fn new(class: u32, [left, top, right, bottom]: [f32; 4]) -> LabeledBox {
        LabeledBox { class, left, top, right, bottom, ignored: false }
    }

    /// Left, top, right, bottom.
    pub fn edges(&self) -> [f32; 4] {
        [self.left, self.top, self.right, self.bottom]
    }

    /// The area in pixels; 0 where it has none.
    pub fn area(&self) -> f32 {
        (self.right - self.left).max(0.0) * (self.bottom - self.top).max(0.0)
    }

    /// The box after the geometry, cut at the image's edges; `None` where less than a tenth of it is left.
    fn moved(&self, by: &Geometry) -> Option<LabeledBox> {
        let (rows, seen_rows) = by.interval(0, [f64::from(self.top), f64::from(self.bottom)]);
        let (columns, seen_columns) = by.interval(1, [f64::from(self.left), f64::from(self.right)]);
        let area = |[top, bottom]: [f64; 2], [left, right]: [f64; 2]| (bottom - top) * (right - left);
        let seen = area(seen_rows, seen_columns);
        let edges = [seen_columns[0], seen_rows[0], seen_columns[1], seen_rows[1]].map(|edge| edge as f32);
        let moved = LabeledBox { ignored: self.ignored, ..LabeledBox::new(self.class, edges) };
        (seen > 0.0 && seen >= VISIBLE * area(rows, columns)).then_some(moved)
    }
}

/// The boxes around the objects of an image. A box of which a crop leaves less than a tenth is dropped, the others are cut at the
/// image's edges.
impl Target for Vec<LabeledBox> {
    fn moved(&mut self, by: &Geometry) -> Result<()> {
        *self = self.iter().filter_map(|labeled| labeled.moved(by)).collect();
        Ok(())
    }
}

/// A class for each pixel of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    size: [usize; 2],
    classes: Vec<u8>,
}

impl Mask {
    /// The class of pixels that are not looked at, in Pascal VOC and most sets after it; also of pixels that a crop adds.
    pub const IGNORED: u8 = 255;

    /// A mask of this height and width, row by row.
    ///
    /// # Errors
    /// [`Error::Target`] unless there is a class for each pixel, and at least one pixel.
    pub fn new(size: [usize; 2], classes: Vec<u8>) -> Result<Mask> {
        let [height, width] = size;
        if height.checked_mul(width) != Some(classes.len()) || classes.is_empty() {
            return Err(Error::Target {
                message: format!(
                    "a mask of {height}x{width} pixels with {} classes; pass one for each pixel, at least one",
                    classes.len()
                ),
            });
        }
        Ok(Mask { size, classes })
    }

    /// Height and width.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// The class of each pixel, row by row.
    pub fn classes(&self) -> &[u8] {
        &self.classes
    }
}

/// Each pixel takes the class of the pixel that lies under its centre, and [`Mask::IGNORED`] beyond the image.
impl Target for Mask {
    fn moved(&mut self, by: &Geometry) -> Result<()> {
        fits("mask", self.size, by)?;
        let [height, width] = by.output();
        let columns: Vec<Option<usize>> = (0..width).map(|column| by.source_along(1, column)).collect();
        let mut classes = vec![Mask::IGNORED; height * width];
        for (row, target) in classes.chunks_exact_mut(width.max(1)).enumerate() {
            let Some(row) = by.source_along(0, row) else { continue };
            let source = &self.classes[row * self.size[1]..(row + 1) * self.size[1]];
            for (pixel, column) in target.iter_mut().zip(&columns) {
                *pixel = column.map_or(Mask::IGNORED, |column| source[column]);
            }
        }
        *self = Mask { size: by.output(), classes };
        Ok(())
    }
}

/// Another image of the same size, such as the picture that a generator is to make of this one. It moves exactly as the image itself.
impl Target for Image {
    fn moved(&mut self, by: &Geometry) -> Result<()> {
        let [channels, height, width] = self.shape();
        fits("paired image", [height, width], by)?;
        let moved = by.apply(self.clone(), &|| "the paired image".to_owned())?;
        *self = if by.flips() {
            let [height, width] = by.output();
            let mut planes = vec![0; channels * height * width];
            moved.write_planes(true, &mut planes);
            Image::planar([channels, height, width], &planes)?
        } else {
            moved
        };
        Ok(())
    }
}

fn fits(what: &str, [height, width]: [usize; 2], geometry: &Geometry) -> Result<()> {
    let [needed_height, needed_width] = geometry.input();
    if [height, width] == geometry.input() {
        return Ok(());
    }
    Err(Error::Target {
        message: format!(
            "a {what} of {height}x{width} pixels for an image of {needed_height}x{needed_width}; it needs the image's size"
        ),
    })
}
