//! The folder of a run's results.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kiln_train::{BEST_FILE, CHECKPOINT_FILE, CURVES_FILE, METRICS_FILE, REPORT_FILE, WEIGHTS_FILE};

use super::config::CONFIG_FILE;

/// All that a run may leave, but TensorBoard's files.
const FILES: [&str; 8] =
    [CONFIG_FILE, METRICS_FILE, WEIGHTS_FILE, BEST_FILE, CHECKPOINT_FILE, REPORT_FILE, CURVES_FILE, super::TRACE_FILE];

/// What the names of TensorBoard's files begin with.
const EVENTS: &str = "events.out.tfevents.";

/// The folder that was asked for, or the first of `runs/MODEL`, `runs/MODEL-2`, ... that is free. One that holds a run is refused
/// unless it shall be overwritten.
pub(crate) fn choose(out: Option<&Path>, model: &str, overwrite: bool) -> Result<PathBuf> {
    let Some(out) = out else {
        let runs = Path::new("runs");
        let numbered = (2..).map(|number| runs.join(format!("{model}-{number}")));
        let mut free = [runs.join(model)].into_iter().chain(numbered).filter(|path| overwrite || !holds_a_run(path));
        return free.next().context("no folder is free in runs");
    };
    if holds_a_run(out) && !overwrite {
        bail!(
            "{0}: holds a run; go on with it by --resume {0}, replace it by --overwrite, or choose another --out",
            out.display()
        );
    }
    Ok(out.to_path_buf())
}

fn holds_a_run(folder: &Path) -> bool {
    FILES.iter().any(|file| folder.join(file).exists())
}

/// Makes the folder, and removes what an earlier run left in it; other files stay.
pub(crate) fn make(folder: &Path) -> Result<()> {
    let shown = folder.display();
    fs::create_dir_all(folder).with_context(|| format!("{shown}: cannot make this folder"))?;
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
        assert_eq!(choose(Some(out), "mlp", false).unwrap(), out);
        for name in ["metrics.jsonl", "events.out.tfevents.1.host"] {
            fs::write(out.join(name), "").unwrap();
        }
        assert_eq!(
            choose(Some(out), "mlp", false).unwrap_err().to_string(),
            format!(
                "{0}: holds a run; go on with it by --resume {0}, replace it by --overwrite, or choose another --out",
                out.display()
            )
        );
        assert_eq!(choose(Some(out), "mlp", true).unwrap(), out);
        make(out).unwrap();
        let left: Vec<_> = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["notes.txt"]);
    }
}
