//! `kiln models` and `kiln summary`.

use serde_json::Value;

use crate::{done, err, kiln};

#[test]
fn models_are_listed_with_what_they_cost() {
    let list: Vec<Value> = serde_json::from_str(&done(&["models", "--json"])).unwrap();
    let lenet = list.iter().find(|model| model["name"] == "lenet5").unwrap();
    assert_eq!(lenet["input"], serde_json::json!([1, 28, 28]));
    assert_eq!((&lenet["parameters"], &lenet["classes"]), (&61_706.into(), &10.into()));
    let alexnet = list.iter().find(|model| model["name"] == "alexnet").unwrap();
    assert_eq!(alexnet["parameters"], 61_100_840);

    let table = done(&["models"]);
    let line = table.lines().find(|line| line.starts_with("lenet5 ")).unwrap();
    assert!(line.contains("  1x28x28      61.7 k  "), "{table}");
    assert!(table.starts_with("name ") && table.lines().count() == list.len() + 1, "{table}");
}

#[test]
fn layers_are_listed_with_what_they_cost() {
    let summary: Value =
        serde_json::from_str(&done(&["summary", "--model", "lenet5", "--classes", "10", "--batch", "2", "--json"]))
            .unwrap();
    let models: Vec<Value> = serde_json::from_str(&done(&["models", "--json"])).unwrap();
    let lenet = models.iter().find(|model| model["name"] == "lenet5").unwrap();
    // Counted in two ways; of two images.
    assert_eq!(summary["flops"].as_u64(), lenet["flops"].as_u64().map(|flops| 2 * flops));
    assert_eq!(summary["parameters"], 61_706);
    assert_eq!(summary["input"], serde_json::json!([2, 1, 28, 28]));
    let names: Vec<&str> = summary["layers"].as_array().unwrap().iter().map(|l| l["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"features.0") && names.contains(&"classifier.4"), "{names:?}");

    let table = done(&["summary", "--model", "mlp", "--classes", "3", "--input", "1x28x28"]);
    assert!(table.starts_with("mlp for 3 classes, input [1, 1, 28, 28]\nlayer "), "{table}");
    // Other images than the model can take.
    let refused = kiln(&["summary", "--model", "lenet5", "--input", "1x5x5"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).starts_with("error: lenet5: images of 5x5 pixels do not fit"), "{}", err(&refused));
    let refused = kiln(&["summary", "--model", "lenet5", "--input", "28x28"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(err(&refused).contains("needs channels, height and width of at least 1, such as 3x224x224"));
}
