//! Which classes and which images a command means, and that it says so.

use std::fs;
use std::path::Path;

use image::RgbImage;
use serde_json::Value;

use crate::{done, err, failed, kiln, out, photos, text};

/// Trains a small network; returns what it said on standard error.
fn train(data: &Path, run: &Path, more: &[&str]) -> String {
    let args = ["train", "--model", "mlp", "--data", text(data), "--batch", "8", "--out", text(run)];
    let output = kiln(&[&args[..], more].concat());
    assert!(output.status.success(), "{}{}", out(&output), err(&output));
    err(&output)
}

fn measured(args: &[&str]) -> Value {
    serde_json::from_str(&done(&[args, &["--json"]].concat())).unwrap()
}

#[test]
fn classes_whose_names_are_numbers_are_matched_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let numbers: Vec<String> = (1..=12).map(|number| number.to_string()).collect();
    let names: Vec<&str> = numbers.iter().map(String::as_str).collect();
    photos(&at("photos"), &names, 4);
    let row = |class: &str, index: u32| {
        let part = if index < 2 { "train" } else { "test" };
        if index >= 2 {
            fs::create_dir_all(at("folders").join(class)).unwrap();
            fs::copy(
                at("photos").join(class).join(format!("{index}.png")),
                at("folders").join(class).join(format!("{index}.png")),
            )
            .unwrap();
        }
        format!("photos/{class}/{index}.png,{class},{part}\n")
    };
    let rows: String = names.iter().flat_map(|class| (0..4).map(move |index| row(class, index))).collect();
    fs::write(at("list.csv"), format!("path,label,split\n{rows}")).unwrap();
    train(&at("list.csv"), &at("run"), &["--epochs", "2"]);

    // The list is in the order of the numbers, the folders are not.
    let run = at("run");
    let by_list = measured(&["eval", "--weights", text(&run)]);
    let by_folders = measured(&["eval", "--weights", text(&run), "--data", text(&at("folders"))]);
    assert_eq!((&by_list["samples"], &by_list["classes"][9]["name"]), (&24.into(), &"10".into()));
    assert!(by_list["top1"].as_f64().unwrap() > 0.0, "{by_list}");
    for key in ["samples", "top1", "top5", "classes", "confusion"] {
        assert_eq!(by_list[key], by_folders[key], "{key}");
    }

    // The last layer stays for the same classes only.
    let pretrained = ["--pretrained", text(&run), "--epochs", "1"];
    let said = train(&at("folders"), &at("same"), &pretrained);
    assert!(said.contains("; 6 is kept: it is of the same classes\n"), "{said}");
    assert_eq!(measured(&["eval", "--weights", text(&at("same"))])["classes"][9]["name"], "10");
    let others: Vec<String> = (21..=32).map(|number| number.to_string()).collect();
    photos(&at("others"), &others.iter().map(String::as_str).collect::<Vec<_>>(), 2);
    let said = train(&at("others"), &at("new"), &pretrained);
    assert!(said.contains("; 6 is new, for the classes of the data\n"), "{said}");
}

#[test]
fn the_images_that_are_measured_are_told_and_classes_without_images_are_no_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    photos(&at("own"), &["dark", "light"], 15);
    train(&at("own"), &at("run"), &["--epochs", "6"]);
    let run = at("run");
    let table =
        |data: &Path, more: &[&str]| done(&[&["eval", "--weights", text(&run), "--data", text(data)], more].concat());
    let of = |table: &str| table.lines().next().unwrap().split_once(", on ").unwrap().1.to_string();

    // The run's own set, however it is written.
    let own = at("own");
    let again = at("run").join("..").join("own");
    let held_back = |data: &Path| format!("6 images: those of {} that training holds back", data.display());
    assert_eq!(of(&done(&["eval", "--weights", text(&run)])), held_back(&own));
    assert_eq!(of(&table(&again, &[])), held_back(&again));
    assert_eq!(of(&table(&own, &["--part", "train"])), format!("24 images: the train part of {}", own.display()));

    // Another set: all of it, with a note of what is left out, also where a class is missing.
    photos(&at("other"), &["a dark one", "light"], 15);
    fs::remove_dir_all(at("other").join("a dark one")).unwrap();
    fs::write(at("other").join("light").join("notes.txt"), "by Ann").unwrap();
    let output = kiln(&["eval", "--weights", text(&run), "--data", text(&at("other"))]);
    let said = out(&output);
    assert_eq!(of(&said), format!("15 images: all of {}", at("other").display()));
    let notes = at("other").join("light").join("notes.txt");
    assert!(
        err(&output).contains(&format!("left out, since they are no images: {}\n", notes.display())),
        "{}",
        err(&output)
    );
    let row = |name: &str| {
        let line = said.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(row("dark "), ["dark", "-", "-", "-", "0"]);
    assert_eq!(row("light ")[1..], ["100.00", "%", "100.00", "%", "100.00", "%", "15"]);
    assert_eq!(row("mean of the classes")[4..], ["100.00", "%", "100.00", "%", "100.00", "%", "15"]);
    let json = measured(&["eval", "--weights", text(&run), "--data", text(&at("other"))]);
    assert_eq!(json["classes"][0], serde_json::json!({ "name": "dark", "support": 0 }));

    // Vectors of all images too.
    photos(&at("more"), &["cat", "dog"], 3);
    let vectors = at("vectors.npy");
    let said = done(&["features", "--weights", text(&run), "--data", text(&at("more")), text(&vectors)]);
    assert!(said.contains(": 6 rows of "), "{said}");
}

#[test]
fn training_is_judged_by_val_and_measured_by_test() {
    let folder = tempfile::tempdir().unwrap();
    let (data, run) = (folder.path().join("photos"), folder.path().join("run"));
    for (part, count) in [("Training", 8), ("valid", 2), ("Testing", 3)] {
        photos(&data.join(part), &["dark", "light"], count);
    }
    let args = ["train", "--model", "mlp", "--batch", "8", "--epochs", "2", "--data", text(&data), "--out", text(&run)];

    // What is no image is found before anything is begun, also in a part that training does not use.
    let note = data.join("Testing").join("light").join("9.png");
    fs::write(&note, "no picture").unwrap();
    let needed = "which is no known image format; pass a PNG, JPEG, GIF, BMP, WebP, PNM or TIFF file";
    let hint = "or leave such files out by --unreadable skip";
    assert_eq!(failed(&args), format!("error: {}: starts with \"no picture\", {needed}; {hint}", note.display()));
    assert!(!run.exists());
    fs::remove_file(&note).unwrap();

    // One that is cut off is found by the evaluation: the steps before it are kept.
    let cut = data.join("valid").join("light").join("cut.jpg");
    RgbImage::new(64, 64).save(&cut).unwrap();
    let whole = fs::read(&cut).unwrap();
    fs::write(&cut, &whole[..whole.len() - 30]).unwrap();
    let resume = format!("go on from the last checkpoint by: kiln train --resume {}", run.display());
    assert_eq!(
        failed(&args),
        format!(
            "error: {}: the JPEG file has no end marker, it is cut off; fetch it again; {hint}; {resume}",
            cut.display()
        )
    );
    let output = kiln(&["train", "--resume", text(&run), "--unreadable", "skip"]);
    let (said, told) = (out(&output), err(&output));
    assert!(output.status.success(), "{said}{told}");
    assert!(told.contains(" on 16 training images, 5 val images and 6 test images of 2 classes"), "{told}");
    assert!(told.contains("\nresumed after step 2 of 4\n"), "{told}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("epoch 1/2: train loss ") && lines[0].contains("; val loss "), "{said}");
    assert!(lines[1].starts_with("epoch 2/2: ") && said.contains(" % of the val images\n"), "{said}");
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 2, "{metrics}");

    let table = done(&["eval", "--weights", text(&run)]);
    assert!(
        table.lines().next().unwrap().ends_with(&format!(", on 6 images: the test part of {}", data.display())),
        "{table}"
    );
    let json = measured(&["eval", "--weights", text(&run), "--part", "val"]);
    assert_eq!((&json["samples"], &json["skipped"].as_array().unwrap().len()), (&4.into(), &1));
}
