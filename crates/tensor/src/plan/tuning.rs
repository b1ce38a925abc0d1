//! What was measured on an adapter, in a file.

use std::path::{Path, PathBuf};

use kiln_gpu::{AdapterInfo, Backend, cache};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::{Algorithm, Problem};

/// The most bytes of a file that is read: tens of thousands of problems.
const MOST_BYTES: u64 = 16 << 20;

/// The fastest algorithm for problems that were measured on an adapter, as `kiln tune` finds them.
///
/// Kept as JSON in a cache folder, and valid for one adapter, driver and version of Kiln.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuning {
    measured_on: Identity,
    plans: FxHashMap<Problem, Algorithm>,
}

/// What has to be the same for a measurement to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    kiln: String,
    adapter: String,
    backend: Backend,
    driver: String,
}

impl Identity {
    fn of(info: &AdapterInfo) -> Identity {
        Identity {
            kiln: env!("CARGO_PKG_VERSION").to_string(),
            adapter: info.name.clone(),
            backend: info.backend,
            driver: info.driver.clone(),
        }
    }

    fn words(&self) -> String {
        format!("Kiln {} on {} ({}, {})", self.kiln, self.adapter, self.backend, self.driver)
    }
}

/// The file: who measured, and then the problems in the order of their names, so that the same measurement gives the same file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    measured_on: Identity,
    plans: Vec<Plan>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    problem: Problem,
    algorithm: Algorithm,
}

/// Why a tuning file is not used.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TuningError {
    /// It could not be read or written.
    #[error("{}: cannot {action} this tuning file: {message}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// `read` or `write`.
        action: &'static str,
        /// The system's words.
        message: String,
    },
    /// It holds something else.
    #[error(
        "{}: this tuning file is damaged and is not used: {message}; run `kiln tune` to write a new one, or delete it",
        .file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// It was measured with another driver or version.
    #[error(
        "{}: this tuning file is of {found} and is not used; this is {needed}: run `kiln tune` again, or delete it",
        .file.display()
    )]
    Stale {
        /// The file.
        file: PathBuf,
        /// With what it was measured.
        found: String,
        /// What there is now.
        needed: String,
    },
}

impl Tuning {
    /// A tuning of this adapter without any measurement.
    pub fn new(info: &AdapterInfo) -> Tuning {
        Tuning { measured_on: Identity::of(info), plans: FxHashMap::default() }
    }

    /// Where an adapter's tuning is kept in a cache folder.
    pub fn path(folder: &Path, info: &AdapterInfo) -> PathBuf {
        folder.join(format!("tuning-{}.json", cache::file_stem(info)))
    }

    /// Reads an adapter's tuning from a cache folder; `None` where there is none.
    ///
    /// # Errors
    /// [`TuningError`] where there is a file that cannot be read, is damaged or belongs to another driver or version.
    pub fn read(folder: &Path, info: &AdapterInfo) -> Result<Option<Tuning>, TuningError> {
        let file = Tuning::path(folder, info);
        let bytes = cache::read(&file, MOST_BYTES).map_err(|error| TuningError::Io {
            file: file.clone(),
            action: "read",
            message: error.to_string(),
        })?;
        let Some(bytes) = bytes else { return Ok(None) };
        // Who measured comes first: another version may have written the rest in another form.
        let damaged =
            |error: serde_json::Error| TuningError::Damaged { file: file.clone(), message: error.to_string() };
        #[derive(Deserialize)]
        struct Head {
            measured_on: Identity,
        }
        let Head { measured_on } = serde_json::from_slice(&bytes).map_err(damaged)?;
        let needed = Identity::of(info);
        if measured_on != needed {
            let (found, needed) = (measured_on.words(), needed.words());
            return Err(TuningError::Stale { file, found, needed });
        }
        let File { measured_on, plans } = serde_json::from_slice(&bytes).map_err(damaged)?;
        let plans = plans.into_iter().map(|Plan { problem, algorithm }| (problem, algorithm)).collect();
        Ok(Some(Tuning { measured_on, plans }))
    }

    /// Writes it into a cache folder, whole or not at all, and returns the file.
    ///
    /// # Errors
    /// [`TuningError::Io`].
    pub fn write(&self, folder: &Path, info: &AdapterInfo) -> Result<PathBuf, TuningError> {
        let file = Tuning::path(folder, info);
        let failed = |message: String| TuningError::Io { file: file.clone(), action: "write", message };
        let plans = self.iter().map(|(problem, algorithm)| Plan { problem, algorithm }).collect();
        let contents = File { measured_on: self.measured_on.clone(), plans };
        let mut text = serde_json::to_vec(&contents).map_err(|error| failed(error.to_string()))?;
        text.push(b'\n');
        cache::write(&file, &text).map_err(|error| failed(error.to_string()))?;
        Ok(file)
    }

    /// The fastest algorithm for a problem, if it was measured.
    pub fn get(&self, problem: &Problem) -> Option<Algorithm> {
        self.plans.get(problem).copied()
    }

    /// Notes the fastest algorithm for a problem, in place of what was known.
    pub fn insert(&mut self, problem: Problem, algorithm: Algorithm) {
        self.plans.insert(problem, algorithm);
    }

    /// Every problem with its algorithm, by the problem's name.
    pub fn iter(&self) -> impl Iterator<Item = (Problem, Algorithm)> + use<> {
        let mut plans: Vec<_> = self.plans.iter().map(|(&problem, &algorithm)| (problem, algorithm)).collect();
        plans.sort_by_cached_key(|(problem, _)| problem.to_string());
        plans.into_iter()
    }

    /// How many problems there are.
    pub fn len(&self) -> usize {
        self.plans.len()
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.plans.is_empty()
    }
}
