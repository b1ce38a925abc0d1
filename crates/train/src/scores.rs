//! What a row of logits says about its sample.

/// A sample's logits, compared with its label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scores {
    /// The class of the largest logit, the first of several.
    pub(crate) predicted: usize,
    /// How many classes come before the label's.
    pub(crate) rank: usize,
    pub(crate) probability: f64,
    pub(crate) label_probability: f64,
    pub(crate) loss: f64,
}

impl Scores {
    /// Of a row with a logit for each class, `label` among them.
    pub(crate) fn of(row: &[f32], label: usize) -> Scores {
        let predicted = argmax(row);
        let largest = f64::from(row[predicted]);
        let sum: f64 = row.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum();
        let loss = sum.ln() - (f64::from(row[label]) - largest);
        Scores { predicted, rank: rank(row, label), probability: sum.recip(), label_probability: (-loss).exp(), loss }
    }
}

/// The place of the largest number, the first of several. A NaN is none.
pub(crate) fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (class, &logit) in row.iter().enumerate() {
        if logit > row[best] || row[best].is_nan() {
            best = class;
        }
    }
    best
}

/// How many classes come before the label's, in the order of falling logits and, among equals, of rising numbers. A label whose
/// logit is NaN comes last.
pub(crate) fn rank(row: &[f32], label: usize) -> usize {
    let own = row[label];
    if own.is_nan() {
        return row.len();
    }
    row.iter().enumerate().filter(|&(class, &logit)| logit > own || logit == own && class < label).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_compared_with_their_label() {
        let scores = Scores::of(&[0.0, 3f32.ln(), 0.0], 2);
        assert_eq!((scores.predicted, scores.rank), (1, 2));
        assert!((scores.probability - 0.6).abs() < 1e-7 && (scores.label_probability - 0.2).abs() < 1e-7);
        assert!((scores.loss - 5f64.ln()).abs() < 1e-7);
        // Logits beyond the range of exp.
        let scores = Scores::of(&[1e30, -1e30], 0);
        assert_eq!((scores.loss, scores.probability), (0.0, 1.0));
    }

    #[test]
    fn equal_logits_are_in_the_order_of_classes_and_nan_is_last() {
        let row = [1.0, 2.0, 2.0, f32::NAN];
        assert_eq!((argmax(&row), rank(&row, 1), rank(&row, 2), rank(&row, 0), rank(&row, 3)), (1, 0, 1, 2, 4));
        assert_eq!(argmax(&[f32::NAN, -1.0]), 1);
    }
}
