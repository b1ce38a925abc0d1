//! Predictions and filters as pictures.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kiln_data::Dataset;
use kiln_nn::Module;
use kiln_tensor::DType;

use super::html::Html;
use super::words::{counted, decimals, percent};
use crate::error::Result;
use crate::evaluation::{Evaluation, Prediction};
use crate::picture::Picture;

/// How many of the best and of the worst predictions are shown.
const SHOWN: usize = 12;

/// The longest side of a picture inside of the page.
const SIDE: usize = 160;

/// The most filters that are shown.
const FILTERS: usize = 128;

/// The weights of a first layer that can be looked at: a convolution of images of one or three channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Filters {
    name: String,
    shape: [usize; 4],
    values: Vec<f32>,
    epoch: Option<u64>,
}

impl Filters {
    /// Of a model's first parameter, read from the device. `None` where it is no convolution's weight, or one of another number of
    /// channels.
    ///
    /// # Errors
    /// Those of the device.
    pub fn of(model: &dyn Module) -> Result<Option<Filters>> {
        let parameters = model.parameters();
        let Some((name, parameter)) = parameters.iter().next() else { return Ok(None) };
        let Ok(shape @ [_, channels, height, width]) = <[usize; 4]>::try_from(parameter.shape().dims()) else {
            return Ok(None);
        };
        // A filter of one pixel shows nothing.
        if !matches!(channels, 1 | 3) || height * width < 2 {
            return Ok(None);
        }
        let values = parameter.value().to_dtype(DType::F32)?.to_vec::<f32>()?;
        Ok(Some(Filters { name: name.to_string(), shape, values, epoch: None }))
    }

    /// Says that the weights are those after this epoch, counted from 1.
    #[must_use]
    pub fn after_epoch(mut self, epoch: u64) -> Filters {
        self.epoch = Some(epoch);
        self
    }

    /// Each filter as a picture. Its own extremes are black and white.
    ///
    /// # Errors
    /// As [`Picture::from_planes`]; none for filters of [`Filters::of`].
    pub fn pictures(&self) -> Result<Vec<Picture>> {
        let [_, channels, height, width] = self.shape;
        let filters = self.values.chunks_exact((channels * height * width).max(1));
        filters
            .map(|filter| {
                let low = filter.iter().copied().fold(f32::INFINITY, f32::min);
                let high = filter.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let scale = if high > low { 255.0 / (high - low) } else { 0.0 };
                let bytes: Vec<u8> = filter.iter().map(|value| ((value - low) * scale).round() as u8).collect();
                Picture::from_planes([channels, height, width], &bytes)
            })
            .collect()
    }
}

fn image(html: &mut Html, picture: &Picture, alt: &str) -> Result<()> {
    let source = format!("data:image/png;base64,{}", STANDARD.encode(picture.png()?));
    html.open("img", &[("src", &source), ("alt", alt), ("loading", "lazy")]);
    Ok(())
}

/// The mistakes with the highest loss, and the right predictions with the highest probability.
pub(super) fn predictions(
    html: &mut Html,
    evaluation: &Evaluation,
    data: &Dataset,
    name: &dyn Fn(u32) -> String,
) -> Result<()> {
    let of = |right: bool| evaluation.predictions.iter().filter(move |one| (one.label == one.predicted) == right);
    let mut worst: Vec<&Prediction> = of(false).collect();
    let mut best: Vec<&Prediction> = of(true).collect();
    worst.sort_by(|a, b| b.loss.total_cmp(&a.loss).then(a.sample.cmp(&b.sample)));
    best.sort_by(|a, b| b.probability.total_cmp(&a.probability).then(a.sample.cmp(&b.sample)));
    html.leaf("h2", &[], "Predictions");
    html.leaf("h3", &[], "Most wrong");
    let words = match worst.as_slice() {
        [] => "No sample was taken for another class.",
        _ => {
            "The highest loss first, which is the lowest probability of the true class. Under each picture: the true \
             class, the predicted class with its probability, and the loss."
        }
    };
    html.leaf("p", &[("class", "faint")], words);
    gallery(html, data, worst.iter().take(SHOWN), &|html, one| {
        html.tag("b", &[], |html| html.name(&name(one.label)));
        html.markup("<br>taken for ");
        html.name(&name(one.predicted));
        html.text(&format!(", {}", percent(one.probability)));
        html.markup("<br>");
        html.text(&format!("loss {}", decimals(one.loss)));
    })?;
    html.leaf("h3", &[], "Right with the highest probability");
    if best.is_empty() {
        html.leaf("p", &[("class", "faint")], "No prediction is right.");
    }
    gallery(html, data, best.iter().take(SHOWN), &|html, one| {
        html.tag("b", &[], |html| html.name(&name(one.label)));
        html.markup("<br>");
        html.text(&percent(one.probability));
    })
}

fn gallery<'a>(
    html: &mut Html,
    data: &Dataset,
    predictions: impl Iterator<Item = &'a &'a Prediction>,
    caption: &dyn Fn(&mut Html, &Prediction),
) -> Result<()> {
    html.open("div", &[("class", "pictures")]);
    for one in predictions {
        html.open("figure", &[]);
        match data.get(one.sample) {
            Ok(sample) => {
                let picture = Picture::of(&sample, data.shape())?.within(SIDE);
                image(html, &picture, &format!("sample {}", one.sample))?;
            }
            // It was read for the evaluation, and may be gone by now. The page is worth more than the picture.
            Err(error) => html.leaf("p", &[("class", "faint")], &error.to_string()),
        }
        html.open("figcaption", &[("title", &format!("sample {}", one.sample))]);
        caption(html, one);
        html.markup("</figcaption></figure>");
    }
    html.markup("</div>");
    Ok(())
}

/// The filters of the first layer.
pub(super) fn filters(html: &mut Html, filters: Option<&Filters>) -> Result<()> {
    html.leaf("h2", &[], "Filters of the first layer");
    let Some(filters) = filters else {
        let words = "Not shown: the first layer is no convolution of images of one or three channels, or no epoch has ended \
                     since the run was resumed.";
        html.leaf("p", &[("class", "faint")], words);
        return Ok(());
    };
    let [count, channels, height, width] = filters.shape;
    let shown = if count > FILTERS { format!(", the first {FILTERS} shown") } else { String::new() };
    html.tag("p", &[("class", "faint")], |html| {
        html.leaf("code", &[], &filters.name);
        let what = if channels == 3 { "in colour" } else { "in grey" };
        let epoch = filters.epoch.map(|epoch| format!(" after epoch {epoch}")).unwrap_or_default();
        let filters = counted(count as u64, "filter");
        html.text(&format!(
            "{epoch}: {filters} of {height}\u{d7}{width} pixels{shown}, {what}. In each, the smallest weight is black and the \
             largest white."
        ));
    });
    html.open("div", &[("class", "filters")]);
    for (place, picture) in filters.pictures()?.iter().take(FILTERS).enumerate() {
        image(html, picture, &format!("filter {place}"))?;
    }
    html.markup("</div>");
    Ok(())
}
