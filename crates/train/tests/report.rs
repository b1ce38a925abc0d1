//! The report of plain data, as after a loop of one's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kiln_data::{Dataset, Skipped};
use kiln_train::{ConfusionMatrix, EpochMetrics, Evaluation, HtmlReport, Picture, Prediction, curves_svg};

/// An evaluation of so many samples of each class, some of which are taken for others.
fn evaluation(classes: usize, each: usize, mistakes: &[(u32, u32, usize)]) -> Evaluation {
    let mut confusion = ConfusionMatrix::new(classes);
    let mut predictions = Vec::new();
    for label in 0..classes as u32 {
        let mut taken: Vec<u32> = vec![label; each];
        let wrong = mistakes.iter().filter(|mistake| mistake.0 == label);
        let wrong = wrong.flat_map(|&(_, predicted, count)| std::iter::repeat_n(predicted, count));
        wrong.zip(&mut taken).for_each(|(predicted, slot)| *slot = predicted);
        for predicted in taken {
            confusion.add(label as usize, predicted as usize).unwrap();
            let sample = predictions.len();
            // The later, the less sure.
            let probability = 0.999 - 0.001 * sample as f64;
            let label_probability = if predicted == label { probability } else { 1.0 - probability };
            let loss = -label_probability.ln();
            predictions.push(Prediction { sample, label, predicted, probability, label_probability, loss });
        }
    }
    Evaluation {
        loss: 0.5,
        top1: confusion.accuracy(),
        top5: (classes > 5).then_some(0.99),
        samples: predictions.len() as u64,
        confusion,
        predictions,
        skipped: Vec::new(),
    }
}

fn epoch(epoch: u64, train_loss: f64, test_loss: Option<f64>) -> EpochMetrics {
    EpochMetrics {
        epoch,
        step: 10 * epoch,
        lr: 0.1,
        train_loss,
        train_acc: 0.5,
        train_top5: None,
        test_loss,
        test_acc: test_loss.map(|_| 0.75),
        test_top5: None,
        seconds: 40.0,
        images_per_s: 1234.4,
        skipped: 3,
        memory: 5 << 20,
    }
}

/// The texts of all cells of the page's `nth` table.
fn cells(html: &str, nth: usize) -> Vec<String> {
    let table = html.split("<table").nth(nth + 1).unwrap().split("</table>").next().unwrap();
    let cell = |part: &str| -> String {
        let (mut text, mut inside) = (String::new(), true);
        for c in part.split("</td>").next().unwrap().chars() {
            match c {
                '<' => inside = true,
                '>' => inside = false,
                c if !inside => text.push(c),
                _ => {}
            }
        }
        text
    };
    table.split("<td").skip(1).map(cell).collect()
}

#[test]
fn few_classes_are_a_matrix() {
    let evaluation = evaluation(3, 10, &[(0, 2, 4)]);
    let html = HtmlReport { evaluation: Some(&evaluation), ..HtmlReport::default() }.html().unwrap();
    // The corner, then a row for each class.
    assert_eq!(cells(&html, 0), ["", "6", "·", "4", "·", "10", "·", "·", "·", "10"]);
    assert!(html.contains("title=\"4 of 10 class 0: taken for class 2 (40.0\u{a0}%)\""));
    // A mistake is never of the colour of what is right.
    assert!(html.contains("background:rgb(var(--wrong)/0.57)") && html.contains("background:rgb(var(--right)/0.54)"));
    let measures = cells(&html, 1);
    assert_eq!(measures[..5], ["class 0", "1.000", "0.600", "0.750", "10"]);
    assert_eq!(measures[10..15], ["class 2", "0.714", "1.000", "0.833", "10"]);
}

#[test]
fn of_many_classes_the_worst_come_first() {
    let evaluation = evaluation(30, 4, &[(7, 9, 2), (5, 4, 1), (11, 12, 3), (29, 0, 1)]);
    let html = HtmlReport { evaluation: Some(&evaluation), ..HtmlReport::default() }.html().unwrap();
    let pairs = cells(&html, 0);
    let part = |part: &str| format!("{part}\u{a0}%");
    assert_eq!(pairs[..4], ["class 11", "class 12", "3", &part("75.0")]);
    assert_eq!(pairs[4..8], ["class 7", "class 9", "2", &part("50.0")]);
    assert_eq!(pairs[8..12], ["class 5", "class 4", "1", &part("25.0")]);
    assert_eq!(pairs.len(), 16);
    // Twenty classes by F1, with both means; the other ten are folded away.
    let shown = cells(&html, 1);
    assert_eq!((shown[0].as_str(), shown[5].as_str()), ("class 11", "class 7"));
    assert_eq!((shown.len(), cells(&html, 2).len()), (20 * 5 + 2 * 4, 10 * 5));
    assert!(html.contains("<summary>The other 10</summary>"));

    // Classes without samples come last.
    let mut sparse = evaluation;
    sparse.confusion = ConfusionMatrix::new(30);
    sparse.confusion.add(24, 24).unwrap();
    let html = HtmlReport { evaluation: Some(&sparse), ..HtmlReport::default() }.html().unwrap();
    assert_eq!(cells(&html, 0)[..5], ["class 24", "1.000", "1.000", "1.000", "1"]);
}

#[test]
fn nothing_is_needed() {
    let empty = HtmlReport::default().html().unwrap();
    assert!(empty.starts_with("<!doctype html>") && empty.contains("How it was made"));
    assert!(!empty.contains("<h2>Curves") && !empty.contains("<h2>Confusion"));
    // Without a test set, and with a loss that is no number.
    let history = [epoch(1, 2.0, None), epoch(2, f64::NAN, None), epoch(3, f64::INFINITY, None)];
    let html = HtmlReport { history: &history, ..HtmlReport::default() }.html().unwrap();
    assert_eq!(html.matches("<svg").count(), 3);
    assert!(html.contains("<p>3 training samples that could not be read.</p>") && html.contains("2 min 0 s"));
    assert!(curves_svg(&[], &[]).unwrap().contains("no values"));
}

#[test]
fn curves_are_where_the_numbers_are() {
    let history: Vec<EpochMetrics> = (1..=5).map(|e| epoch(e, 1.0 / e as f64, Some(1.0))).collect();
    let svg = curves_svg(&history, &[]).unwrap();
    let dots = |color: &str| -> Vec<(f64, f64)> {
        let circles = svg.split("<circle").skip(1).map(|rest| rest.split('>').next().unwrap());
        let circles = circles.filter(|circle| circle.contains(&format!("fill=\"{color}\"")));
        let number = |circle: &str, name: &str| -> f64 {
            circle.split(&format!(" {name}=\"")).nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
        };
        circles.map(|circle| (number(circle, "cx"), number(circle, "cy"))).collect()
    };
    // Blue is training in every panel, vermilion test: five points in loss and five in accuracy.
    let (train, test) = (dots("#0072B2"), dots("#D55E00"));
    assert_eq!((train.len(), test.len()), (10, 10));
    assert!(test[..5].windows(2).all(|pair| pair[0].1 == pair[1].1), "a constant loss is level: {test:?}");
    assert_eq!(train[0].1, test[0].1, "both are 1 in the first epoch");
    // Half of the loss is half as high, within a pixel: heights are above the axis, at which 0 is.
    let fall: Vec<f64> = train[..5].iter().map(|dot| dot.1 - train[0].1).collect();
    let whole = fall[1] * 2.0;
    for (place, fall) in fall.iter().enumerate() {
        let expected = whole * (1.0 - 1.0 / (place + 1) as f64);
        assert!((fall - expected).abs() <= 2.0, "epoch {}: {fall}, {expected}", place + 1);
    }
    assert!(train[..5].windows(2).all(|pair| (pair[1].0 - pair[0].0 - (train[4].0 - train[0].0) / 4.0).abs() <= 1.0));
}

#[test]
fn pictures_are_of_the_right_samples() {
    // Every sample's pixels are its index.
    let images: Vec<u8> = (0..20u8).flat_map(|index| [index; 4]).collect();
    let labels = (0..20).map(|index| u32::from(index >= 10)).collect();
    let data = Dataset::from_memory(images, [20, 1, 2, 2], labels, ["zero", "one"]).unwrap();
    let evaluation = evaluation(2, 10, &[(0, 1, 2), (1, 0, 1)]);
    let html = HtmlReport { evaluation: Some(&evaluation), data: Some(&data), ..HtmlReport::default() }.html().unwrap();
    let alts: Vec<&str> = html.split(" alt=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    // The surest mistakes first, then the surest of what is right.
    assert_eq!(alts[..4], ["sample 0", "sample 1", "sample 10", "sample 2"]);
    // What they are in the order of can be read under them.
    let losses: Vec<f64> =
        html.split("<br>loss ").skip(1).map(|rest| rest.split('<').next().unwrap().parse().unwrap()).collect();
    assert!(losses.len() == 3 && losses.is_sorted_by(|a, b| a >= b) && losses[0] > losses[2], "{losses:?}");
    assert!(html.contains("The highest loss first"));
    assert_eq!(alts.len(), 3 + 12);
    let png = |index: usize| {
        use base64::Engine;
        let data = html.split("data:image/png;base64,").nth(index + 1).unwrap().split('"').next().unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
        image::load_from_memory(&bytes).unwrap().to_luma8().into_raw()
    };
    assert_eq!((png(2), png(3)), (vec![10; 4], vec![2; 4]));
    assert!(html.contains("<b><bdi>zero</bdi></b><br>taken for <bdi>one</bdi>, 99.9\u{a0}%<br>loss 6.9078"));
}

#[test]
fn the_best_epoch_is_shown_and_named() {
    let evaluation = evaluation(6, 1, &[]);
    let history: Vec<EpochMetrics> = (1..=3).map(|number| epoch(number, 1.0, Some(1.0))).collect();
    let page = |best: u64, evaluated: u64| {
        let (best, evaluated) = (Some(history[best as usize - 1]), Some(evaluated));
        HtmlReport { history: &history, best, evaluation: Some(&evaluation), evaluated, ..HtmlReport::default() }
            .html()
            .unwrap()
    };
    let shown = |of: &str| format!("The tables and pictures below show the evaluation of {of}: 6 test samples.");
    let html = page(2, 2);
    assert!(html.contains(&shown("epoch 2, the best")), "{html}");
    assert!(html.contains("<small>test set, epoch 2</small>") && html.contains("<small>test set, epoch 3</small>"));
    assert!(html.contains("<small>nats per sample, epoch 2</small>"));
    // The last epoch is not told twice where it is the best.
    assert!(!page(3, 3).contains("Last accuracy"));
    assert!(page(2, 3).contains(&shown("epoch 3, the last that was evaluated")));
    // One of a thing is not several.
    let (one, first) = (self::evaluation(1, 1, &[]), [EpochMetrics { step: 1, skipped: 1, ..epoch(1, 1.0, None) }]);
    let html = HtmlReport { history: &first, evaluation: Some(&one), ..HtmlReport::default() }.html().unwrap();
    for text in ["the evaluation: 1 test sample.", "<small>1 step</small>", "<p>1 training sample that could"] {
        assert!(html.contains(text), "{text}");
    }
}

#[test]
fn what_could_not_be_read_is_named() {
    let skipped: Vec<Skipped> =
        (0..60).map(|sample| Skipped { sample, reason: format!("cat/<{sample}>.jpg: not an image") }).collect();
    let html = HtmlReport { skipped: &skipped, ..HtmlReport::default() }.html().unwrap();
    assert!(html.contains("60 training samples that could not be read"));
    assert!(html.contains("<li>cat/&lt;49&gt;.jpg: not an image</li>") && !html.contains("&lt;50&gt;"));
    assert!(html.contains("and 10 more"));
}

#[test]
fn large_pictures_become_small() {
    // Two rows of black and two of white, then an odd column.
    let planes: Vec<u8> = (0..4).flat_map(|row| [if row < 2 { 0 } else { 200 }; 5]).collect();
    let picture = Picture::from_planes([1, 4, 5], &planes).unwrap().within(3);
    assert_eq!((picture.height(), picture.width()), (2, 3));
    let decoded = image::load_from_memory(&picture.png().unwrap()).unwrap().to_luma8();
    assert_eq!(decoded.into_raw(), [0, 0, 0, 200, 200, 200]);
    let untouched = Picture::from_planes([1, 4, 5], &planes).unwrap();
    assert_eq!(untouched.clone().within(5), untouched);
    assert_eq!(
        Picture::from_planes([3, 1, 2], &[0; 5]).unwrap_err().to_string(),
        "Picture::from_planes: 5 bytes for 3x1x2; needs as many as the shape says, and at least one"
    );
}
