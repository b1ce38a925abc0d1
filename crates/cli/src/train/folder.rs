//! The folder of a run's results.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use kiln_train::{
    BEST_FILE, CHECKPOINT_FILE, CURVES_FILE, FolderLock, LOCK_FILE, METRICS_FILE, REPORT_FILE, WEIGHTS_FILE,
};

use super::config::CONFIG_FILE;

/// All that a run may leave, but TensorBoard's files.
const FILES: [&str; 8] =
    [CONFIG_FILE, METRICS_FILE, WEIGHTS_FILE, BEST_FILE, CHECKPOINT_FILE, REPORT_FILE, CURVES_FILE, super::TRACE_FILE];

/// What the names of TensorBoard's files begin with.
const EVENTS: &str = "events.out.tfevents.";

/// Fails for a folder that was asked for and cannot be had: before the work that it takes to prepare a run.
pub(crate) fn check(out: &Path, overwrite: bool) -> Result<()> {
    if out.join(LOCK_FILE).exists() {
        drop(FolderLock::take(out)?);
    }
    refuse_a_run(out, overwrite)
}

fn refuse_a_run(out: &Path, overwrite: bool) -> Result<()> {
    if holds_a_run(out) && !overwrite {
        bail!(
            "{0}: holds a run; go on with it by --resume {0}, replace it by --overwrite, or choose another --out",
            out.display()
        );
    }
    Ok(())
}

/// Locks the folder of a new run, made if need be: the one that was asked for, or the first of `runs/MODEL`, `runs/MODEL-2`, ... that
/// is free. Removes what an earlier run left in it; other files stay.
pub(crate) fn claim(out: Option<&Path>, model: &str, overwrite: bool) -> Result<FolderLock> {
    let runs = Path::new("runs");
    let lock = match out {
        Some(out) => FolderLock::take(out)?,
        None if overwrite => FolderLock::take(runs.join(model))?,
        None => {
            let numbered = (2..).map(|number| runs.join(format!("{model}-{number}")));
            let mut free = [runs.join(model)].into_iter().chain(numbered).filter_map(|path| take_if_free(&path));
            free.next().context("no folder is free in runs")??
        }
    };
    // Another run may have come and gone since the first look.
    if let Some(out) = out {
        refuse_a_run(out, overwrite)?;
    }
    clear(lock.folder())?;
    Ok(lock)
}

/// The lock of a folder without a run; `None` for one with a run, in progress or over.
fn take_if_free(path: &Path) -> Option<kiln_train::Result<FolderLock>> {
    if holds_a_run(path) {
        return None;
    }
    match FolderLock::take(path) {
        Err(kiln_train::Error::Locked { .. }) => None,
        // Another run may have come and gone since the first look.
        Ok(lock) if holds_a_run(lock.folder()) => None,
        taken => Some(taken),
    }
}

fn holds_a_run(folder: &Path) -> bool {
    FILES.iter().any(|file| folder.join(file).exists())
}

fn clear(folder: &Path) -> Result<()> {
    let shown = folder.display();
    for entry in fs::read_dir(folder).with_context(|| format!("{shown}: cannot be listed"))? {
        let path = entry.with_context(|| format!("{shown}: cannot be listed"))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if FILES.contains(&name.as_str()) || name.starts_with(EVENTS) {
            fs::remove_file(&path).with_context(|| format!("{}: cannot be removed", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_not_replaced_unasked_and_leaves_other_files() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path();
        fs::write(out.join("notes.txt"), "").unwrap();
        check(out, false).unwrap();
        for name in ["metrics.jsonl", "events.out.tfevents.1.host"] {
            fs::write(out.join(name), "").unwrap();
        }
        let told = format!(
            "{0}: holds a run; go on with it by --resume {0}, replace it by --overwrite, or choose another --out",
            out.display()
        );
        assert_eq!(check(out, false).unwrap_err().to_string(), told);
        // A run that came and went while another was prepared.
        assert_eq!(claim(Some(out), "mlp", false).unwrap_err().to_string(), told);
        check(out, true).unwrap();
        let lock = claim(Some(out), "mlp", true).unwrap();
        let mut left: Vec<_> = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [LOCK_FILE, "notes.txt"]);

        // A run in progress is not even replaced if that is asked for.
        let told = |result: Result<()>| result.unwrap_err().to_string();
        let other = claim(Some(out), "mlp", true).map(drop);
        for message in [told(check(out, true)), told(other)] {
            assert!(message.starts_with(&format!("{}: another run", out.display())), "{message}");
        }
        drop(lock);
        claim(Some(out), "mlp", false).unwrap();
    }

    #[test]
    fn only_a_folder_without_a_run_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("mlp");
        let lock = take_if_free(&out).unwrap().unwrap();
        assert!(take_if_free(&out).is_none());
        drop(lock);
        fs::write(out.join("config.toml"), "").unwrap();
        assert!(take_if_free(&out).is_none());
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(take_if_free(&folder.path().join("file")).unwrap().is_err());
    }
}
