//! Help, completions, and wrong usage.

use crate::{done, err, kiln};

#[test]
fn usage_is_taught() {
    let commands: [&[&str]; 16] = [
        &[],
        &["devices"],
        &["train"],
        &["eval"],
        &["predict"],
        &["features"],
        &["models"],
        &["summary"],
        &["convert"],
        &["completions"],
        &["bench"],
        &["bench", "gemm"],
        &["bench", "conv"],
        &["bench", "layers"],
        &["bench", "step"],
        &["tune"],
    ];
    for command in commands {
        let help = done(&[command, &["--help"]].concat());
        assert!(help.contains("xamples:\n  kiln "), "{help}");
    }
    let help = done(&["--help"]);
    assert!(help.contains("kiln train --model alexnet-32 --data photos --out runs/photos"), "{help}");
    assert_eq!(done(&["--version"]), format!("kiln {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn shells_get_their_completions() {
    for (shell, start) in [("bash", "_kiln()"), ("zsh", "#compdef kiln"), ("fish", "complete -c kiln")] {
        let script = done(&["completions", shell]);
        assert!(script.contains(start) && script.contains("weight-decay"), "{script}");
    }
    assert_eq!(kiln(&["completions", "cmd"]).status.code(), Some(2));
}

#[test]
fn wrong_usage_ends_with_2() {
    let train = ["train", "--model", "lenet5", "--data", "fashion-mnist"];
    let wrong: [(&[&str], &str); 15] = [
        (&[], "Usage: kiln <COMMAND>"),
        (&["train"], "error: no model is given; pass --model with one of `kiln models`, such as alexnet-32\n"),
        (
            &["train", "--model", "lenet5"],
            "error: no data; pass --data with a folder with a folder of images for each class",
        ),
        (&["train", "--model", "lenet", "--data", "fashion-mnist"], "invalid value 'lenet' for '--model <MODEL>'"),
        (&["train", "--model", "lenet5", "--data", "idx:"], "needs idx:DIR with a folder of IDX files"),
        (&[&train[..], &["--epochs", "1", "--steps", "1"]].concat(), "cannot be used with"),
        (&[&train[..], &["--lr", "-1"]].concat(), "error: --lr -1: needs a number above 0\n"),
        (&[&train[..], &["--lr", "fast"]].concat(), "invalid value 'fast' for '--lr <RATE>'"),
        (
            &[&train[..], &["--schedule", "multi-step", "--milestones", "5,3"]].concat(),
            "error: --milestones 5,3: needs rising epochs, such as 60,120,160\n",
        ),
        (&[&train[..], &["--batch", "0"]].concat(), "error: --batch 0: needs a whole number of at least 1\n"),
        (
            &[&train[..], &["--optim", "adam", "--momentum", "0.5"]].concat(),
            "error: --momentum is for --optim sgd or rmsprop; leave it out, or choose that\n",
        ),
        (
            &[&train[..], &["--schedule", "one-cycle", "--warmup", "5"]].concat(),
            "error: --warmup is for any --schedule but one-cycle, which has its own; leave it out, or choose that\n",
        ),
        (&[&train[..], &["--config", "a.toml", "--resume", "runs/a"]].concat(), "cannot be used with"),
        (&["features", "--weights", "x", "out.txt", "a.png"], "needs a file name that ends with .npy or .safetensors"),
        (&["features", "--weights", "x", "out.npy"], "required arguments were not provided"),
    ];
    for (args, message) in wrong {
        let output = kiln(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", err(&output));
        assert!(err(&output).contains(message), "{args:?}: {}", err(&output));
    }
}
