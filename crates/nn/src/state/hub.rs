//! Weights by their name on the Hugging Face Hub.

use std::path::PathBuf;

use hf_hub::Cache;
use hf_hub::api::sync::ApiBuilder;

use crate::error::{Error, Result};

/// The Hugging Face Hub, as a place to get weights files from. Files are kept in the cache that Hugging Face's own programs use, and
/// fetched once.
///
/// ```no_run
/// use kiln_nn::{Hub, StateFile};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// let path = Hub::new().fetch("timm/vgg11_bn.tv_in1k", "model.safetensors")?;
/// let names: Vec<_> = StateFile::open(&path)?.names().map(String::from).collect();
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Hub {
    cache: Option<PathBuf>,
    endpoint: Option<String>,
}

impl Hub {
    /// The Hub at `HF_ENDPOINT`, or at huggingface.co; the cache in `HF_HOME`, or in `~/.cache/huggingface`.
    pub fn new() -> Hub {
        Hub::default()
    }

    /// Another folder for the cache.
    pub fn cache(mut self, folder: impl Into<PathBuf>) -> Hub {
        self.cache = Some(folder.into());
        self
    }

    /// Another address, such as that of a mirror.
    pub fn endpoint(mut self, url: impl Into<String>) -> Hub {
        self.endpoint = Some(url.into());
        self
    }

    /// The path of a file of a repository, in the cache. Where it is not there yet, it is fetched, with a progress bar.
    ///
    /// # Errors
    /// [`Error::Hub`] where it is not in the cache and cannot be fetched.
    pub fn fetch(&self, repository: &str, file: &str) -> Result<PathBuf> {
        let failed = |message: String| Error::Hub { repository: repository.to_owned(), file: file.to_owned(), message };
        let cache = match &self.cache {
            Some(folder) => Cache::new(folder.clone()),
            // The library would panic where there is no home to put the cache in.
            None if std::env::var_os("HF_HOME").is_none() && std::env::home_dir().is_none() => {
                return Err(failed("there is no home folder for the cache; set HF_HOME".to_owned()));
            }
            None => Cache::from_env(),
        };
        // Asked before the network: what is cached needs none.
        if let Some(path) = cache.model(repository.to_owned()).get(file) {
            return Ok(path);
        }
        let mut builder = ApiBuilder::from_cache(cache);
        if let Some(endpoint) = self.endpoint.clone().or_else(|| std::env::var("HF_ENDPOINT").ok()) {
            builder = builder.with_endpoint(endpoint);
        }
        let api = builder.build().map_err(|error| failed(error.to_string()))?;
        api.model(repository.to_owned()).get(file).map_err(|error| failed(error.to_string()))
    }
}
