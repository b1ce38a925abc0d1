//! The lines of JSON that the programs print, and what several rounds of them come to.

use serde::Deserialize;

/// One measurement of one program: of a network's training step, or of a product.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
pub(crate) struct Line {
    /// The network, or nothing.
    #[serde(default)]
    pub(crate) net: String,
    /// The product, and which of its passes.
    #[serde(default)]
    pub(crate) problem: String,
    #[serde(default)]
    pub(crate) pass: String,
    #[serde(default)]
    pub(crate) batch: u64,
    #[serde(default = "kiln")]
    pub(crate) program: String,
    #[serde(default)]
    pub(crate) version: String,
    pub(crate) adapter: String,
    #[serde(default)]
    pub(crate) driver: String,
    pub(crate) median_ms: f64,
    pub(crate) best_ms: f64,
    #[serde(default)]
    pub(crate) gflops: f64,
    pub(crate) first_step_ms: Option<f64>,
    pub(crate) launches_per_step: Option<u64>,
    pub(crate) device_bytes_peak: Option<u64>,
    pub(crate) resident_bytes_peak: Option<u64>,
    #[serde(default)]
    pub(crate) losses: Vec<f64>,
}

/// The lines of `kiln bench gemm` and `conv` name no program.
fn kiln() -> String {
    "kiln".to_owned()
}

impl Line {
    fn is_like(&self, other: &Line) -> bool {
        let key = |line: &Line| (line.net.clone(), line.problem.clone(), line.pass.clone(), line.program.clone());
        key(self) == key(other) && self.batch == other.batch
    }
}

/// One line for each program and benchmark, in the order of their first: the best of all rounds, the median of their
/// medians, the largest memory.
pub(crate) fn merge(lines: Vec<Line>) -> Vec<Line> {
    let mut groups: Vec<Vec<Line>> = Vec::new();
    for line in lines {
        match groups.iter_mut().find(|group| group[0].is_like(&line)) {
            Some(group) => group.push(line),
            None => groups.push(vec![line]),
        }
    }
    groups.into_iter().map(merge_rounds).collect()
}

fn merge_rounds(rounds: Vec<Line>) -> Line {
    let least = |of: fn(&Line) -> f64| rounds.iter().map(of).fold(f64::INFINITY, f64::min);
    let mut medians: Vec<f64> = rounds.iter().map(|line| line.median_ms).collect();
    medians.sort_by(f64::total_cmp);
    let n = medians.len();
    Line {
        median_ms: (medians[(n - 1) / 2] + medians[n / 2]) / 2.0,
        best_ms: least(|line| line.best_ms),
        gflops: rounds.iter().map(|line| line.gflops).fold(0.0, f64::max),
        device_bytes_peak: rounds.iter().filter_map(|line| line.device_bytes_peak).max(),
        resident_bytes_peak: rounds.iter().filter_map(|line| line.resident_bytes_peak).max(),
        first_step_ms: rounds.iter().filter_map(|line| line.first_step_ms).min_by(f64::total_cmp),
        ..rounds[0].clone()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    pub(crate) const STEP: &str = r#"{"net":"lenet5","batch":64,"program":"kiln","version":"0.1.0","adapter":"llvmpipe",
        "driver":"Mesa 25","first_step_ms":900.5,"median_ms":8.0,"best_ms":6.0,"images_per_s":8000.0,
        "launches_per_step":30,"device_bytes_peak":1000,"resident_bytes_peak":300000000,"losses":[2.3,2.2,2.1]}"#;

    #[test]
    fn lines_of_both_forms_are_read() {
        let step: Line = serde_json::from_str(STEP).unwrap();
        assert_eq!((step.net.as_str(), step.launches_per_step, step.losses.len()), ("lenet5", Some(30), 3));
        let product: Line = serde_json::from_str(
            r#"{"problem":"512x512x512","pass":"forward","median_ms":4.1,"best_ms":4.0,"gflops":67.0,"share":0.6,
                "ceiling_gflops":110.0,"copy_gb_per_s":9.0,"adapter":"llvmpipe","driver":"Mesa 25"}"#,
        )
        .unwrap();
        assert_eq!((product.program.as_str(), product.first_step_ms, product.gflops), ("kiln", None, 67.0));
        assert!(serde_json::from_str::<Line>(r#"{"net":"mlp","adapter":"x"}"#).is_err());
    }

    #[test]
    fn rounds_give_the_best_and_the_median() {
        let line = |program: &str, median_ms, best_ms| Line {
            net: "mlp".to_owned(),
            program: program.to_owned(),
            median_ms,
            best_ms,
            resident_bytes_peak: Some(best_ms as u64),
            ..Line::default()
        };
        let merged =
            merge(vec![line("kiln", 3.0, 2.0), line("burn", 9.0, 8.0), line("kiln", 7.0, 1.0), line("kiln", 4.0, 3.0)]);
        assert_eq!(merged.len(), 2);
        assert_eq!((merged[0].median_ms, merged[0].best_ms, merged[0].resident_bytes_peak), (4.0, 1.0, Some(3)));
        assert_eq!((merged[1].program.as_str(), merged[1].median_ms), ("burn", 9.0));
    }
}
