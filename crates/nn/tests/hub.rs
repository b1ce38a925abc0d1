//! The Hugging Face Hub: the cache, and what is said without a network.
#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;

use kiln_nn::Hub;

#[test]
fn what_is_cached_needs_no_network() {
    let cache = tempfile::tempdir().unwrap();
    let repository = cache.path().join("models--someone--something");
    fs::create_dir_all(repository.join("refs")).unwrap();
    fs::write(repository.join("refs/main"), "0123abcd").unwrap();
    fs::create_dir_all(repository.join("snapshots/0123abcd")).unwrap();
    let file = repository.join("snapshots/0123abcd/model.safetensors");
    fs::write(&file, "weights").unwrap();
    let hub = Hub::new().cache(cache.path()).endpoint("http://127.0.0.1:9");
    assert_eq!(hub.fetch("someone/something", "model.safetensors").unwrap(), file);
}

#[test]
fn what_cannot_be_fetched_is_told() {
    let cache = tempfile::tempdir().unwrap();
    // A port that nobody listens on.
    let hub = Hub::new().cache(cache.path()).endpoint("http://127.0.0.1:9");
    let error = hub.fetch("someone/something", "model.safetensors").unwrap_err().to_string();
    let start =
        "model.safetensors of someone/something is not in the cache and cannot be fetched from the Hugging Face Hub: ";
    let end = "; connect to the network, check the names, or fetch the file elsewhere and pass its path";
    assert!(error.starts_with(start) && error.ends_with(end), "{error}");
}
