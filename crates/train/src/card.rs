//! What a weights file says about its model.

use std::collections::BTreeMap;

use kiln_data::Classes;

use crate::error::{Error, Result};

/// What has to be known beside the weights to use a classifier. Kept as text in the weights file, under the keys `model`,
/// `classes`, `input`, `mean` and `std`; all but the first are JSON lists. Of classes without names `classes` has the number.
///
/// ```
/// use kiln_train::ModelCard;
/// let card = ModelCard {
///     model: "lenet5".to_string(),
///     classes: ["cat", "dog"].into(),
///     input: [1, 28, 28],
///     mean: vec![0.5],
///     std: vec![0.25],
/// };
/// assert_eq!(card.to_metadata()["classes"], r#"["cat","dog"]"#);
/// assert_eq!(ModelCard::from_metadata(&card.to_metadata())?, Some(card));
/// # Ok::<(), kiln_train::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ModelCard {
    /// The name of the model.
    pub model: String,
    /// The classes, of label 0 first.
    pub classes: Classes,
    /// The shape `[c, h, w]` of the images that it was trained with.
    pub input: [usize; 3],
    /// The mean of each channel that images are normalised with, of pixels scaled to 0..1.
    pub mean: Vec<f32>,
    /// The standard deviation of each channel.
    pub std: Vec<f32>,
}

/// The most classes without names.
const MOST_CLASSES: usize = 1 << 24;

impl ModelCard {
    /// As text for a weights file.
    pub fn to_metadata(&self) -> BTreeMap<String, String> {
        let list = |values: &[f32]| format!("[{}]", values.iter().map(f32::to_string).collect::<Vec<_>>().join(","));
        let classes = match self.classes.are_named() {
            true => self.classes.to_vec().into(),
            false => serde_json::Value::from(self.classes.len()),
        };
        BTreeMap::from([
            ("model".to_string(), self.model.clone()),
            ("classes".to_string(), classes.to_string()),
            ("input".to_string(), format!("{:?}", self.input)),
            ("mean".to_string(), list(&self.mean)),
            ("std".to_string(), list(&self.std)),
        ])
    }

    /// From a weights file's text. `None` where it has no such text: the file was not written by Kiln.
    ///
    /// # Errors
    /// [`Error::Card`] for text that is not understood.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Option<ModelCard>> {
        let Some(model) = metadata.get("model") else { return Ok(None) };
        let text = |key: &str| metadata.get(key).cloned().unwrap_or_default();
        let numbers = |what: &'static str| {
            let given = text(what);
            serde_json::from_str::<Vec<f32>>(&given).map_err(|_| Error::Card {
                what,
                given,
                needed: "a JSON list of numbers",
            })
        };
        let given = text("classes");
        // More than any network has, and few enough to be named by numbers.
        let count = given.parse().ok().filter(|count| *count <= MOST_CLASSES);
        let classes = match count.map(Classes::numbered) {
            Some(classes) => classes,
            None => serde_json::from_str::<Vec<String>>(&given)
                .map_err(|_| Error::Card { what: "classes", given, needed: "a JSON list of names, or a number" })?
                .into(),
        };
        let given = text("input");
        let input = serde_json::from_str(&given).map_err(|_| Error::Card {
            what: "input",
            given,
            needed: "a JSON list of channels, height and width",
        })?;
        Ok(Some(ModelCard { model: model.clone(), classes, input, mean: numbers("mean")?, std: numbers("std")? }))
    }
}
