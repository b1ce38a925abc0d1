//! `kiln eval`.

use std::fs;

use serde_json::Value;

use crate::{done, failed, text, trained};

#[test]
fn trained_weights_are_evaluated() {
    let best = trained().join("best.safetensors");
    let metrics: Value = serde_json::from_str(&done(&["eval", "--weights", text(&best), "--json"])).unwrap();
    assert_eq!(metrics["samples"], 2000);
    let accuracy = metrics["top1"].as_f64().unwrap();
    assert!(accuracy > 0.5 && metrics["top5"].as_f64().unwrap() > accuracy, "{metrics}");
    // What training found at its end, in other batches.
    let line = fs::read_to_string(trained().join("metrics.jsonl")).unwrap();
    let trained_to: Value = serde_json::from_str(line.lines().last().unwrap()).unwrap();
    assert_eq!(trained_to["test_acc"].as_f64().unwrap(), accuracy);
    assert!((trained_to["test_loss"].as_f64().unwrap() - metrics["loss"].as_f64().unwrap()).abs() < 1e-5);
    // The matrix and the classes agree.
    let row = |label: usize| metrics["confusion"][label].as_array().unwrap().iter().map(|n| n.as_u64().unwrap());
    for label in 0..10 {
        let class = &metrics["classes"][label];
        assert_eq!((row(label).sum::<u64>(), &class["support"]), (200, &200.into()));
        let recall = row(label).nth(label).unwrap() as f64 / 200.0;
        assert!((class["recall"].as_f64().unwrap() - recall).abs() < 1e-12, "{class}");
    }
    assert_eq!(metrics["skipped"], serde_json::json!([]));

    // The folder of the run, by the same data.
    let table = done(&["eval", "--weights", text(trained())]);
    let loss = metrics["loss"].as_f64().unwrap();
    let top5 = 100.0 * metrics["top5"].as_f64().unwrap();
    assert!(
        table.starts_with(&format!(
            "accuracy {:.2} %, top-5 {top5:.2} %, loss {loss:.4}, on 2000 images: the test part of fashion-mnist\n\nclass ",
            100.0 * accuracy
        )),
        "{table}"
    );
    let lines: Vec<&str> = table.lines().collect();
    // Heading, ten classes, their mean; a matrix with a heading, and a row for each class.
    assert_eq!(lines.len(), 2 + 12 + 1 + 12, "{table}");
    assert!(lines[12].starts_with("Ankle boot ") && lines[13].starts_with("mean of the classes "), "{table}");
    let first: Vec<&str> = lines[17].split_whitespace().collect();
    assert_eq!(first[0], "T-shirt/top");
    assert_eq!(first[1..].iter().map(|n| n.parse::<u64>().unwrap()).collect::<Vec<_>>(), row(0).collect::<Vec<_>>());
}

#[test]
fn data_of_other_classes_is_refused() {
    let data = crate::train::idx_folder();
    let name = format!("idx:{}", data.path().display());
    assert_eq!(
        failed(&["eval", "--weights", text(trained()), "--data", &name]),
        "error: no class is named 0, 1; the known classes are T-shirt/top, Trouser, Pullover, Dress, Coat, ... (10); rename the \
         others, or leave them out"
    );
}
