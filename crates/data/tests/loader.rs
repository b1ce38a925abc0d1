//! The loader: order, completeness, threads that end, errors in their place.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use kiln_data::{Batch, Dataset, Error, Image, Loader, Source, Unreadable};

/// Images of one pixel, the index; the label is the index, too.
fn numbered(n: usize) -> Dataset {
    let classes = (0..n).map(|i| i.to_string());
    Dataset::from_memory((0..n).map(|i| i as u8).collect(), [n, 1, 1, 1], (0..n as u32).collect(), classes).unwrap()
}

fn all(batches: impl Iterator<Item = Result<Batch, Error>>) -> Vec<Batch> {
    batches.collect::<Result<_, _>>().unwrap()
}

fn labels(batches: &[Batch]) -> Vec<u32> {
    batches.iter().flat_map(|batch| batch.labels.clone()).collect()
}

#[test]
fn without_a_seed_the_order_is_the_datasets() {
    let batches = all(numbered(10).loader(4).epochs(2));
    assert_eq!(labels(&batches), (0..10).chain(0..10).collect::<Vec<u32>>());
    let places: Vec<_> = batches.iter().map(|batch| (batch.epoch, batch.index, batch.shape)).collect();
    let epoch = |e| [(e, 0, [4, 1, 1, 1]), (e, 1, [4, 1, 1, 1]), (e, 2, [2, 1, 1, 1])];
    assert_eq!(places, [epoch(0), epoch(1)].concat());
    assert!(batches.iter().all(|batch| batch.images.iter().map(|&i| u32::from(i)).eq(batch.labels.iter().copied())));
}

#[test]
fn the_order_does_not_depend_on_workers_or_prefetching() {
    let loader = numbered(101).loader(8).shuffle(42);
    let expected = all(loader.clone().workers(0).epochs(3));
    for workers in [1, 2, 4] {
        for prefetch in [0, 1, 3, 100] {
            let batches = all(loader.clone().workers(workers).prefetch(prefetch).epochs(3));
            assert_eq!(batches, expected, "{workers} workers, {prefetch} ahead");
        }
    }
}

#[test]
fn every_sample_comes_once_per_epoch() {
    let batches = all(numbered(103).loader(10).shuffle(7).workers(3).epochs(4));
    let mut orders = BTreeSet::new();
    for epoch in 0..4 {
        let order = labels(&batches.iter().filter(|batch| batch.epoch == epoch).cloned().collect::<Vec<_>>());
        assert_eq!(order.iter().copied().collect::<BTreeSet<_>>(), (0..103).collect());
        assert_eq!(order.len(), 103);
        orders.insert(order);
    }
    assert_eq!(orders.len(), 4, "each epoch has an order of its own");
}

#[test]
fn the_order_of_a_seed_never_changes() {
    // Computed by another program from the definition: a new version must continue what an older one began.
    assert_eq!(labels(&all(numbered(12).loader(12).shuffle(42).epoch(0))), RECORDED[0]);
    assert_eq!(labels(&all(numbered(12).loader(12).shuffle(42).epoch(1))), RECORDED[1]);
    assert_eq!(labels(&all(numbered(12).loader(12).shuffle(43).epoch(0))), RECORDED[2]);
}

const RECORDED: [[u32; 12]; 3] = [
    [8, 2, 11, 7, 6, 9, 1, 3, 5, 0, 10, 4],
    [9, 3, 11, 0, 8, 10, 6, 4, 1, 7, 5, 2],
    [0, 6, 4, 9, 2, 8, 3, 10, 11, 1, 5, 7],
];

#[test]
fn an_epoch_alone_is_the_same_as_among_others() {
    let loader = numbered(50).loader(7).shuffle(1).workers(2);
    let together = all(loader.epochs(3));
    let alone: Vec<Batch> = (0..3).flat_map(|epoch| all(loader.epoch(epoch))).collect();
    assert_eq!(together, alone);
    assert_eq!(all(loader.epochs(0)), []);
    assert_eq!(all(loader.epoch(u64::MAX)).len(), 8);
}

#[test]
fn drop_last_leaves_out_the_smaller_batch_alone() {
    let loader = |n| numbered(n).loader(4).drop_last(true);
    assert_eq!(labels(&all(loader(10).epochs(1))), (0..8).collect::<Vec<u32>>());
    assert_eq!(labels(&all(loader(8).epochs(1))), (0..8).collect::<Vec<u32>>());
    assert_eq!(all(loader(3).epochs(5)), []);
    assert_eq!((loader(10).batches_per_epoch(), loader(3).batches_per_epoch()), (2, 0));
    assert_eq!(numbered(10).loader(4).batches_per_epoch(), 3);
}

#[test]
fn an_empty_dataset_gives_no_batches() {
    for workers in [0, 1, 4] {
        let mut batches = numbered(0).loader(4).shuffle(1).workers(workers).epochs(3);
        assert_eq!(batches.size_hint(), (0, Some(0)));
        assert!(batches.next().is_none());
    }
}

#[test]
fn a_batch_larger_than_the_dataset_holds_all_of_it() {
    let batches = all(numbered(5).loader(usize::MAX).epochs(2));
    assert_eq!(batches.iter().map(|batch| batch.shape).collect::<Vec<_>>(), [[5, 1, 1, 1]; 2]);
}

#[test]
fn a_batch_size_of_zero_is_an_error_in_the_first_place() {
    for workers in [0, 2] {
        let mut batches = numbered(5).loader(0).workers(workers).epochs(1);
        assert_eq!(batches.size_hint(), (0, Some(1)));
        assert_eq!(batches.next().unwrap().unwrap_err().to_string(), "loader: the batch size is 0; pass at least 1");
        assert!(batches.next().is_none());
    }
    assert_eq!(numbered(5).loader(0).batches_per_epoch(), 0);
}

#[test]
fn size_hint_counts_what_is_left() {
    let mut batches = numbered(10).loader(4).epochs(2);
    assert_eq!(batches.size_hint(), (0, Some(6)));
    batches.next().unwrap().unwrap();
    assert_eq!(batches.size_hint(), (0, Some(5)));
    assert_eq!(batches.by_ref().count(), 5);
    assert_eq!(batches.size_hint(), (0, Some(0)));
}

/// What a source does at one of its samples.
#[derive(Clone, Copy)]
enum Trouble {
    None,
    Error(usize),
    /// From the first to before the second.
    Torn(usize, usize),
    Panic(usize),
}

/// Counts what is read, and can be told to fail.
struct Watched {
    len: usize,
    reads: Arc<AtomicUsize>,
    trouble: Trouble,
}

impl Source for Watched {
    fn len(&self) -> usize {
        self.len
    }

    fn label(&self, _: usize) -> u32 {
        0
    }

    fn read(&self, index: usize) -> Result<Image, Error> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        match self.trouble {
            Trouble::Error(at) if at == index => Err(Error::source(format!("sample {index}"), "torn")),
            Trouble::Torn(from, to) if (from..to).contains(&index) => {
                Err(Error::source(format!("sample {index}"), "torn"))
            }
            Trouble::Panic(at) if at == index => panic!("no sample {index}"),
            _ => Image::planar([1, 1, 1], &[index as u8]),
        }
    }
}

fn watched(len: usize, trouble: Trouble) -> (Dataset, Arc<AtomicUsize>) {
    let reads = Arc::new(AtomicUsize::new(0));
    let source = Watched { len, reads: reads.clone(), trouble };
    (Dataset::new(source, [1, 1, 1], ["any"]).unwrap(), reads)
}

/// The messages of all items; `ok` for a batch.
fn outcomes(loader: &Loader) -> Vec<String> {
    loader.epochs(2).map(|batch| batch.map_or_else(|error| error.to_string(), |_| "ok".into())).collect()
}

#[test]
fn an_error_comes_in_its_batchs_place_and_ends_the_iteration() {
    for workers in [0, 1, 2, 4] {
        let (data, _) = watched(20, Trouble::Error(9));
        assert_eq!(outcomes(&data.loader(4).workers(workers)), ["ok", "ok", "sample 9: torn"], "{workers} workers");
    }
}

#[test]
fn a_source_that_panics_is_an_error_and_not_a_hang() {
    for workers in [0, 1, 3] {
        let (data, _) = watched(20, Trouble::Panic(5));
        assert_eq!(
            outcomes(&data.loader(4).workers(workers)),
            [
                "ok",
                "loader: the dataset's source panicked at sample 5: no sample 5; let its `read` return an error instead"
            ],
            "{workers} workers"
        );
    }
}

#[test]
fn batches_beyond_memory_are_an_error() {
    struct Huge;
    impl Source for Huge {
        fn len(&self) -> usize {
            8
        }
        fn label(&self, _: usize) -> u32 {
            0
        }
        fn read(&self, _: usize) -> Result<Image, Error> {
            unreachable!()
        }
    }
    let side = 1 << (usize::BITS - 3);
    let message = |samples| {
        format!(
            "loader: a batch of {samples} images of [1, 1, {side}] does not fit in memory; pass a smaller batch size or fewer batches to prefetch"
        )
    };
    let data = Dataset::new(Huge, [1, 1, side], ["any"]).unwrap();
    assert_eq!(outcomes(&data.loader(8)), [message(8)]);
    assert_eq!(outcomes(&data.loader(3).workers(0)), [message(3)]);
}

#[test]
fn dropping_the_iterator_ends_its_threads() {
    for taken in [0, 1, 3] {
        let (data, reads) = watched(10_000, Trouble::None);
        let mut batches = data.loader(2).shuffle(1).workers(4).prefetch(8).epochs(1_000);
        for _ in 0..taken {
            batches.next().unwrap().unwrap();
        }
        drop(data);
        drop(batches);
        // The source lives as long as a thread does, and shares the counter with this test.
        assert_eq!(Arc::strong_count(&reads), 1, "a thread survived");
    }
}

#[test]
fn threads_end_after_the_last_batch_and_after_an_error() {
    for trouble in [Trouble::None, Trouble::Error(30)] {
        let (data, reads) = watched(40, trouble);
        let mut batches = data.loader(4).workers(3).epochs(1);
        while let Some(Ok(_)) = batches.next() {}
        assert!(batches.next().is_none());
        drop(data);
        drop(batches);
        assert_eq!(Arc::strong_count(&reads), 1);
    }
}

/// Lets samples be read up to a number, and keeps readers waiting beyond it.
struct Gate {
    state: Mutex<(usize, usize)>,
    changed: Condvar,
}

impl Gate {
    /// Waits until `n` reads have begun.
    fn wait_for(&self, n: usize) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |(begun, _)| *begun < n).unwrap());
    }

    fn begun(&self) -> usize {
        self.state.lock().unwrap().0
    }

    fn open(&self) {
        self.state.lock().unwrap().1 = usize::MAX;
        self.changed.notify_all();
    }
}

struct Gated(Arc<Gate>);

impl Source for Gated {
    fn len(&self) -> usize {
        100
    }

    fn label(&self, _: usize) -> u32 {
        0
    }

    fn read(&self, index: usize) -> Result<Image, Error> {
        let mut state = self.0.state.lock().unwrap();
        state.0 += 1;
        self.0.changed.notify_all();
        drop(self.0.changed.wait_while(state, |(_, allowed)| index >= *allowed).unwrap());
        Image::planar([1, 1, 1], &[index as u8])
    }
}

#[test]
fn no_more_batches_are_made_ahead_than_asked_for() {
    let gate = Arc::new(Gate { state: Mutex::new((0, usize::MAX)), changed: Condvar::new() });
    let data = Dataset::new(Gated(gate.clone()), [1, 1, 1], ["any"]).unwrap();
    let mut batches = data.loader(1).workers(4).prefetch(3).epochs(1);
    gate.wait_for(3);
    thread::sleep(Duration::from_millis(20));
    assert_eq!(gate.begun(), 3);
    batches.next().unwrap().unwrap();
    gate.wait_for(4);
    thread::sleep(Duration::from_millis(20));
    assert_eq!(gate.begun(), 4);
    assert_eq!(batches.count(), 99);
}

#[test]
fn workers_read_at_the_same_time() {
    // Each read waits for the gate, which opens once four reads have begun: one thread alone would wait for ever.
    let gate = Arc::new(Gate { state: Mutex::new((0, 0)), changed: Condvar::new() });
    let data = Dataset::new(Gated(gate.clone()), [1, 1, 1], ["any"]).unwrap();
    let batches = data.loader(1).workers(4).epochs(1);
    gate.wait_for(4);
    gate.open();
    let images: Vec<u8> = all(batches).into_iter().flat_map(|batch| batch.images).collect();
    assert_eq!(images, (0..100).collect::<Vec<u8>>());
}

#[test]
fn parts_of_a_dataset_are_loaded() {
    let (first, second) = numbered(20).split(0.25, 3).unwrap();
    let seen: BTreeSet<u32> = labels(&all(first.loader(2).shuffle(0).epochs(1))).into_iter().collect();
    assert_eq!(seen, first.labels().collect());
    assert!(second.labels().all(|label| !seen.contains(&label)));
}

#[test]
fn a_run_goes_on_from_any_batch() {
    let loader = numbered(23).loader(4).shuffle(9).mixup(0.4);
    let all_batches = all(loader.epochs(3));
    for (epoch, batch) in [(0, 0), (0, 5), (1, 0), (1, 3), (2, 5)] {
        for workers in [0, 1, 2, 4] {
            let rest = all(loader.clone().workers(workers).epochs_from(epoch, batch, 3));
            assert_eq!(rest, all_batches[epoch as usize * 6 + batch..], "{epoch} {batch} {workers}");
        }
    }
    // The end of an epoch is the start of the next; beyond the last there is nothing.
    assert_eq!(all(loader.epochs_from(1, 6, 3)), all_batches[12..]);
    assert_eq!(all(loader.epochs_from(2, 6, 3)), []);
    assert_eq!(all(loader.epochs_from(7, 0, 3)), []);
}

#[test]
fn what_cannot_be_read_is_left_out_and_named() {
    for workers in [0, 1, 3] {
        // Samples 6 to 9: half of the second batch and of the third, and later, in batches of two, two whole ones.
        let (data, _) = watched(20, Trouble::Torn(6, 10));
        let mut batches = data.loader(4).workers(workers).unreadable(Unreadable::Skip).epochs(2);
        let sizes: Vec<_> =
            all(batches.by_ref()).iter().map(|batch| (batch.epoch, batch.index, batch.shape[0])).collect();
        let epoch = |e| [(e, 0, 4), (e, 1, 2), (e, 2, 2), (e, 3, 4), (e, 4, 4)];
        assert_eq!(sizes, [epoch(0), epoch(1)].concat());
        let skipped: Vec<_> = batches.skipped().map(|skipped| (skipped.sample, skipped.reason.clone())).collect();
        assert_eq!(skipped, (6..10).map(|i| (i, format!("sample {i}: torn"))).collect::<Vec<_>>());

        let mut batches = data.loader(2).workers(workers).unreadable(Unreadable::Skip).epochs(1);
        let kept = all(batches.by_ref());
        assert_eq!(kept.iter().map(|batch| batch.index).collect::<Vec<_>>(), [0, 1, 2, 5, 6, 7, 8, 9]);
        assert_eq!(kept[3].images, [10, 11]);
        assert_eq!(batches.skipped().len(), 4);
    }
}

#[test]
fn an_epoch_of_which_nothing_can_be_read_is_an_error() {
    let (data, _) = watched(10, Trouble::Torn(0, 10));
    let mut batches = data.loader(4).unreadable(Unreadable::Skip).epochs(5);
    assert_eq!(
        batches.next().unwrap().unwrap_err().to_string(),
        "loader: none of 10 samples could be read, the last one because: sample 9: torn; check the dataset's files"
    );
    assert!(batches.next().is_none());
    // Each with its own reason, the last ones too.
    let samples: Vec<_> = batches.skipped().map(|skipped| skipped.sample).collect();
    assert_eq!(samples, (0..10).collect::<Vec<_>>());
}

#[test]
fn mixes_that_cannot_be_are_an_error_in_the_first_place() {
    for (loader, what) in [
        (numbered(5).loader(2).mixup(0.0), "mixup with alpha 0"),
        (numbered(5).loader(2).cutmix(f64::NAN), "cutmix with alpha NaN"),
    ] {
        let mut batches = loader.epochs(1);
        assert_eq!(batches.next().unwrap().unwrap_err().to_string(), format!("loader: {what}; pass a number above 0"));
        assert!(batches.next().is_none());
    }
}
