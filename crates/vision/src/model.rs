//! The models by name.

use kiln_nn::{Init, Module, Result};
use kiln_tensor::Device;

/// A model that programs can ask for by name, with what they need to feed it.
///
/// ```
/// use kiln_vision::Model;
/// let model = Model::find("lenet5").unwrap();
/// assert_eq!(model.input, [1, 28, 28]);
/// assert!(Model::find("lenet").is_none());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// The name, in lower case.
    pub name: &'static str,
    /// A line about it.
    pub about: &'static str,
    /// The shape `[c, h, w]` of the images that it takes.
    pub input: [usize; 3],
    /// The mean of each channel that images are normalised with where nothing else is known, of pixels scaled to 0..1.
    pub mean: &'static [f32],
    /// The standard deviation of each channel.
    pub std: &'static [f32],
    /// The parameter whose first axis is the classes: tells how many a weights file was made for.
    pub head: &'static str,
    build: fn(&Device, Init, usize) -> Result<Box<dyn Module>>,
}

impl Model {
    /// All models, in alphabetical order.
    pub const ALL: &'static [Model] = &[Model {
        name: "lenet5",
        about: "LeNet-5 (LeCun et al. 1998) for grey images of 28x28 pixels, 61,706 parameters",
        input: [1, 28, 28],
        // Fashion-MNIST's.
        mean: &[0.2860],
        std: &[0.3530],
        head: "classifier.4.bias",
        build: |device, init, classes| Ok(Box::new(crate::lenet5(device, init, classes)?)),
    }];

    /// The model of this name.
    pub fn find(name: &str) -> Option<&'static Model> {
        Model::ALL.iter().find(|model| model.name == name)
    }

    /// Builds it for this number of classes.
    ///
    /// # Errors
    /// Those of its own function, as [`lenet5`](crate::lenet5).
    pub fn build(&self, device: &Device, init: Init, classes: usize) -> Result<Box<dyn Module>> {
        (self.build)(device, init, classes)
    }
}
