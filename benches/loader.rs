//! The loader: JPEG files of 500x375 pixels to batches of 224x224, as ImageNet is trained on, and evaluated. One thread does the work;
//! its CPU time counts, so that a busy machine shows little. `benches/peers/loader.py` measures torchvision on the same files.
//!
//! The files are in the folder that the first argument names, which is a folder of class folders; without one they are made.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::time::Instant;

use image::{ImageFormat, Rgb, RgbImage};
use kiln_data::{ReadOptions, Transforms, read_folder};

const FILES: u32 = 64;

/// Seconds of CPU that this thread has used; the wall clock's where the system does not tell.
fn seconds(start: Instant) -> f64 {
    let used = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = used.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| start.elapsed().as_secs_f64(), |nanoseconds| nanoseconds * 1e-9)
}

/// Smooth shapes with some grain, which compress as photographs do: about 60 KB a file.
fn make(folder: &Path) {
    for i in 0..FILES {
        let class = folder.join(["a", "b"][i as usize % 2]);
        std::fs::create_dir_all(&class).unwrap();
        let image = RgbImage::from_fn(500, 375, |x, y| {
            let wave = |fx: f32, fy: f32| ((x as f32 * fx + i as f32).sin() * (y as f32 * fy).cos() * 60.0) as i32;
            let grain = ((x * 7919 + y * 104_729 + i) ^ (x * y)) as i32 % 23;
            let at = |value: i32| (128 + value + grain).clamp(0, 255) as u8;
            Rgb([at(wave(0.02, 0.03)), at(wave(0.05, 0.01)), at(wave(0.11, 0.07))])
        });
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
        std::fs::write(class.join(format!("{i}.jpg")), bytes.into_inner()).unwrap();
    }
}

fn main() {
    let temporary = tempfile::tempdir().unwrap();
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).map(PathBuf::from);
    let folder = given.unwrap_or_else(|| {
        make(temporary.path());
        temporary.path().to_owned()
    });
    let data = read_folder(&folder, &ReadOptions::new(224).test_fraction(0.0)).unwrap().train;
    for (name, transforms) in [
        ("train: random resized crop, flip", Transforms::imagenet_train(224)),
        ("eval: resize 256, center crop", Transforms::imagenet_eval(224)),
    ] {
        let data = data.transforms(transforms).unwrap();
        let best = (0..7)
            .map(|epoch| {
                let start = Instant::now();
                let before = seconds(start);
                // No workers: each batch is made on this thread.
                for batch in data.loader(32).shuffle(1).workers(0).epoch(epoch) {
                    batch.unwrap();
                }
                data.len() as f64 / (seconds(start) - before)
            })
            .fold(0.0, f64::max);
        println!("{name}: {best:.0} images/s a core, {:.2} ms an image", 1e3 / best);
    }
}
