//! The same seed gives the same bits: in one process, in two, and whatever the number of reading threads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

use kiln::data::{FashionMnist, Splits};
use kiln::gpu::Device;
use kiln::nn::{Adam, Init, Module, Schedule};
use kiln::train::{Feed, Length, Trainer};
use kiln::vision::lenet5;

/// The bits of every parameter after 50 steps, each with its name.
fn train(seed: u64, workers: usize) -> Vec<(String, Vec<u32>)> {
    let device = Device::open_default().unwrap();
    let data = FashionMnist::embedded().unwrap();
    // Evaluation does not touch the parameters; a small part of the test set saves its time.
    let (test, _) = data.test().split(0.05, 0).unwrap();
    let data = Splits::new(data.train().clone(), test);
    let model = lenet5(&device, Init::seed(seed), 10).unwrap();
    let mut optim = Adam::new(model.parameters(), 1e-3);
    let feed = Feed::new(&device).batch(32).workers(workers);
    let trainer = Trainer::new(Length::Steps(50)).seed(seed).schedule(Schedule::cosine(5));
    trainer.run(&model, &mut optim, &data, &feed, &mut ()).unwrap();
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
    let parameters = model.parameters();
    parameters.iter().map(|(name, parameter)| (name.to_string(), bits(parameter.value().to_vec().unwrap()))).collect()
}

/// A hash of all bits, to compare across processes.
fn digest(parameters: &[(String, Vec<u32>)]) -> String {
    let mix = |hash: u64, word: u32| (hash ^ u64::from(word)).wrapping_mul(0x0000_0100_0000_01b3);
    let words = parameters.iter().flat_map(|(_, bits)| bits.iter().copied());
    format!("digest {:016x}", words.fold(0xcbf2_9ce4_8422_2325, mix))
}

#[test]
fn the_same_seed_gives_the_same_bits_with_1_2_and_4_threads() {
    let one = train(7, 1);
    assert_eq!(one.len(), 10);
    for workers in [2, 4] {
        for ((name, bits), (_, expected)) in train(7, workers).iter().zip(&one) {
            assert!(bits == expected, "{name} differs with {workers} reading threads");
        }
    }
}

#[test]
fn another_seed_gives_other_bits() {
    for ((name, bits), (_, other)) in train(7, 1).iter().zip(&train(8, 1)) {
        assert!(bits != other, "{name} does not depend on the seed");
    }
}

/// What the other process runs: this test alone, asked for by its name.
#[test]
#[ignore = "run by two_processes_give_the_same_bits"]
fn print_the_digest() {
    println!("{}", digest(&train(7, 2)));
}

#[test]
fn two_processes_give_the_same_bits() {
    let here = digest(&train(7, 1));
    let there = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "print_the_digest", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&there.stdout);
    assert!(there.status.success(), "{said}{}", String::from_utf8_lossy(&there.stderr));
    assert!(said.contains(&here), "{here} here, there: {said}");
}
