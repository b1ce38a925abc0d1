//! Datasets by name.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, bail};
use kiln_data::{FashionMnist, Splits, idx};
use kiln_vision::Model;

/// A dataset as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DataName {
    /// The embedded part of Fashion-MNIST.
    FashionMnist,
    /// A folder with IDX files.
    Idx(PathBuf),
}

impl FromStr for DataName {
    type Err = String;

    fn from_str(text: &str) -> Result<DataName, String> {
        match text.split_once(':') {
            None if text == "fashion-mnist" => Ok(DataName::FashionMnist),
            Some(("idx", folder)) if !folder.is_empty() => Ok(DataName::Idx(folder.into())),
            _ => Err("needs fashion-mnist, or idx:DIR with a folder of IDX files".to_string()),
        }
    }
}

impl DataName {
    /// Reads the set.
    pub(crate) fn load(&self) -> Result<Splits> {
        Ok(match self {
            DataName::FashionMnist => {
                let data = FashionMnist::embedded()?;
                Splits { train: data.train().clone(), test: data.test().clone() }
            }
            DataName::Idx(folder) => idx::read_folder(folder)?,
        })
    }
}

/// Fails where a model cannot take the images of a set.
pub(crate) fn check_images(model: &Model, data: &Splits) -> Result<()> {
    if data.train.shape() != model.input {
        bail!(
            "{} takes images of {:?} (channels, height, width), the data has {:?}; pass another set",
            model.name,
            model.input,
            data.train.shape()
        );
    }
    Ok(())
}
