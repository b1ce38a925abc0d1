//! The measures of a confusion matrix, by hand from scikit-learn's definitions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kiln_train::{ClassMetrics, ConfusionMatrix};

fn matrix(rows: &[&[u64]]) -> ConfusionMatrix {
    let mut matrix = ConfusionMatrix::new(rows.len());
    for (label, row) in rows.iter().enumerate() {
        for (predicted, &count) in row.iter().enumerate() {
            (0..count).for_each(|_| matrix.add(label, predicted).unwrap());
        }
    }
    matrix
}

fn assert_near(given: ClassMetrics, precision: f64, recall: f64, f1: f64, support: u64) {
    let pairs = [(given.precision, precision), (given.recall, recall), (given.f1, f1)];
    assert!(pairs.iter().all(|(given, expected)| (given - expected).abs() < 1e-12), "{given:?}");
    assert_eq!(given.support, support);
}

#[test]
fn three_classes() {
    // What `classification_report` is defined to give for these counts: precision by columns, recall by rows.
    let matrix = matrix(&[&[5, 1, 0], &[2, 6, 2], &[0, 3, 1]]);
    let classes = matrix.per_class();
    assert_near(classes[0], 5.0 / 7.0, 5.0 / 6.0, 10.0 / 13.0, 6);
    assert_near(classes[1], 6.0 / 10.0, 6.0 / 10.0, 0.6, 10);
    assert_near(classes[2], 1.0 / 3.0, 1.0 / 4.0, 2.0 / 7.0, 4);
    assert_eq!((matrix.samples(), matrix.accuracy()), (20, 12.0 / 20.0));
    let (precision, recall) = ((5.0 / 7.0 + 0.6 + 1.0 / 3.0) / 3.0, (5.0 / 6.0 + 0.6 + 0.25) / 3.0);
    assert_near(matrix.macro_average(), precision, recall, (10.0 / 13.0 + 0.6 + 2.0 / 7.0) / 3.0, 20);
    let weighted = |a: f64, b: f64, c: f64| (6.0 * a + 10.0 * b + 4.0 * c) / 20.0;
    assert_near(
        matrix.weighted_average(),
        weighted(5.0 / 7.0, 0.6, 1.0 / 3.0),
        weighted(5.0 / 6.0, 0.6, 0.25),
        weighted(10.0 / 13.0, 0.6, 2.0 / 7.0),
        20,
    );
    assert_eq!((matrix.count(1, 2), matrix.count(2, 1), matrix.count(3, 0)), (2, 3, 0));
}

#[test]
fn a_class_without_samples_or_predictions_has_zeros() {
    let matrix = matrix(&[&[4, 0, 1], &[3, 0, 0], &[0, 0, 0]]);
    let classes = matrix.per_class();
    assert_near(classes[0], 4.0 / 7.0, 0.8, 2.0 / 3.0, 5);
    // Never predicted, and without samples.
    assert_near(classes[1], 0.0, 0.0, 0.0, 3);
    assert_near(classes[2], 0.0, 0.0, 0.0, 0);
    // The mean of the two that have samples.
    assert_near(matrix.macro_average(), 2.0 / 7.0, 0.4, 1.0 / 3.0, 8);
    let none = ConfusionMatrix::new(2);
    assert_eq!((none.accuracy(), none.samples()), (0.0, 0));
    assert_near(none.weighted_average(), 0.0, 0.0, 0.0, 0);
}

#[test]
fn classes_that_are_not_there_are_told() {
    assert_eq!(
        ConfusionMatrix::new(2).add(0, 2).unwrap_err().to_string(),
        "ConfusionMatrix: label 0, predicted 2 with 2 classes; pass numbers below that"
    );
}
