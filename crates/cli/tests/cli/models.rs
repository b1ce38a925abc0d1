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
fn the_memory_of_a_step_is_split_without_a_gpu() {
    let step = |optim: &str, batch: &str| -> Value {
        let args = ["summary", "--model", "vgg16", "--batch", batch, "--train", "--optim", optim, "--json"];
        serde_json::from_str::<Value>(&done(&args)).unwrap()["training"].clone()
    };
    let bytes = |step: &Value, part: &str| step[part].as_u64().unwrap();
    let (adam, sgd) = (step("adamw", "64"), step("sgd", "64"));
    let parts = ["parameters", "optimizer", "inputs", "activations", "gradients", "workspace"];
    for step in [&adam, &sgd] {
        assert_eq!(parts.map(|part| bytes(step, part)).iter().sum::<u64>(), bytes(step, "peak"), "{step}");
        assert!(bytes(step, "activations") <= bytes(step, "all_activations"), "{step}");
        assert!(bytes(step, "gradients") <= bytes(step, "all_gradients"), "{step}");
    }
    // 138,357,544 parameters of four bytes, rounded up by at most an eighth.
    let known = 4 * 138_357_544;
    for part in ["parameters", "all_gradients"] {
        assert!((known..known / 8 * 9).contains(&bytes(&adam, part)), "{part}: {adam}");
    }
    // Two running means, and one.
    assert!((2 * known..2 * known / 8 * 9).contains(&bytes(&adam, "optimizer")), "{adam}");
    assert!((known..known / 8 * 9).contains(&bytes(&sgd, "optimizer")), "{sgd}");
    assert_eq!(bytes(&adam, "activations"), bytes(&sgd, "activations"));
    let fewer = step("adamw", "8");
    assert_eq!(bytes(&fewer, "optimizer"), bytes(&adam, "optimizer"));
    assert!(bytes(&fewer, "all_activations") < bytes(&adam, "all_activations") / 4, "{fewer}");

    let text = done(&["summary", "--model", "lenet5", "--train"]);
    assert!(text.contains("\ntraining step with adamw, at its peak, on "), "{text}");
    assert!(text.lines().last().unwrap().starts_with("peak "), "{text}");
    assert_eq!(kiln(&["summary", "--model", "lenet5", "--optim", "sgd"]).status.code(), Some(2));
}

/// Small networks on the adapter of the machine. One process, so that they share what is compiled.
#[test]
fn the_memory_of_a_step_is_what_it_takes() {
    let nets = ["lenet5", "mlp", "alexnet-32", "vgg11-32", "vgg11_bn-32"];
    let mut args = vec!["bench", "memory", "--batch", "2", "--json"];
    nets.iter().for_each(|net| args.extend(["--net", net]));
    let told = done(&args);
    let lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut measured: Vec<&str> = lines.iter().map(|line| line["net"].as_str().unwrap()).collect();
    measured.sort_by_key(|name| nets.iter().position(|net| net == name));
    assert_eq!(measured, nets);
    for line in &lines {
        let [estimated, measured] = ["estimated_bytes", "measured_bytes"].map(|key| line[key].as_f64().unwrap());
        assert!((estimated / measured - 1.0).abs() < 0.05, "{line}");
    }
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
    assert!(err(&refused).contains("error: lenet5: images of 5x5 pixels do not fit"), "{}", err(&refused));
    let refused = kiln(&["summary", "--model", "lenet5", "--input", "28x28"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(err(&refused).contains("needs channels, height and width of at least 1, such as 3x224x224"));
}
