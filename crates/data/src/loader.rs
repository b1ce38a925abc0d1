//! Batches in a seeded order, made ahead by worker threads.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::color::Adjust;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::mix::{Mix, Mixing};
use crate::random::SplitMix64;

/// How many samples a thread looks at before it asks for more.
const CHECKED_AT_ONCE: usize = 64;

/// Some samples side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The pixels of all images: image, channel, row, column.
    pub images: Vec<u8>,
    /// The shape [n, c, h, w] of `images`.
    pub shape: [usize; 4],
    /// The label of each image.
    pub labels: Vec<u32>,
    /// The place of each image in its dataset.
    pub samples: Vec<usize>,
    /// What a GPU is to do to each image; empty where the dataset's transforms leave nothing to it.
    pub adjust: Vec<Adjust>,
    /// How a GPU is to mix each image with another, if it is.
    pub mix: Option<Mix>,
    /// The epoch, from 0.
    pub epoch: u64,
    /// The place of the batch in its epoch, from 0.
    pub index: usize,
}

/// A sample that could not be read and was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The sample in the dataset.
    pub sample: usize,
    /// Why, with the name of its file.
    pub reason: String,
}

/// What a loader does about a sample that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unreadable {
    /// Ends the iteration with its error.
    #[default]
    Fail,
    /// Leaves it out, so that its batch is smaller, and notes it in [`Batches::skipped`].
    Skip,
}

/// How a dataset is cut into batches. Made by [`Dataset::loader`]. `for batch in &loader` goes through the dataset once, each time in
/// the order of the next epoch; [`epochs`](Loader::epochs) and [`epoch`](Loader::epoch) name the epochs.
///
/// The order of the samples depends on the seed and the epoch alone, and what is random in a sample's transforms on the seed, the
/// epoch and the sample, never on the number of workers; so the batches are always the same.
///
/// ```
/// use kiln_data::Dataset;
///
/// let data = Dataset::from_memory((0..10).collect(), [10, 1, 1, 1], vec![0; 10], ["any"])?;
/// let mut seen = Vec::new();
/// let loader = data.loader(4).shuffle(42).workers(2);
/// for _epoch in 0..2 {
///     for batch in &loader {
///         seen.extend(batch?.images);
///     }
/// }
/// let (first, second) = seen.split_at_mut(10);
/// assert_ne!(first, second);
/// first.sort();
/// assert_eq!(first, (0..10).collect::<Vec<u8>>());
/// # Ok::<(), kiln_data::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a loader does nothing until it is iterated"]
pub struct Loader {
    dataset: Dataset,
    batch_size: usize,
    seed: Option<u64>,
    drop_last: bool,
    workers: usize,
    prefetch: usize,
    unreadable: Unreadable,
    mixing: Mixing,
    passes: Passes,
}

/// The passes that were begun by iterating a loader itself. A clone of the loader counts on for itself.
#[derive(Debug, Default)]
struct Passes(AtomicU64);

impl Clone for Passes {
    fn clone(&self) -> Passes {
        Passes(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }
}

impl Loader {
    pub(crate) fn new(dataset: Dataset, batch_size: usize) -> Loader {
        Loader {
            dataset,
            batch_size,
            seed: None,
            drop_last: false,
            workers: 1,
            prefetch: 4,
            unreadable: Unreadable::Fail,
            mixing: Mixing::default(),
            passes: Passes::default(),
        }
    }

    /// Puts the samples into another order in each epoch, decided by `seed` and the number of the epoch. Without it they
    /// come in the dataset's order, and what is random in the transforms has the seed 0.
    pub fn shuffle(mut self, seed: u64) -> Loader {
        self.seed = Some(seed);
        self
    }

    /// Whether to leave out the last batch of an epoch if it is smaller than the others. False unless called.
    pub fn drop_last(mut self, drop_last: bool) -> Loader {
        self.drop_last = drop_last;
        self
    }

    /// The number of threads that make batches; 1 unless called, which is enough for images in memory. With 0 each batch is
    /// made on the calling thread when it is asked for.
    pub fn workers(mut self, workers: usize) -> Loader {
        self.workers = workers;
        self
    }

    /// How many batches may be made ahead, those in the making included; 4 unless called, at least 1. More workers than this
    /// never work at the same time.
    pub fn prefetch(mut self, batches: usize) -> Loader {
        self.prefetch = batches.max(1);
        self
    }

    /// What to do about samples that cannot be read: [`Unreadable::Fail`] unless called.
    pub fn unreadable(mut self, unreadable: Unreadable) -> Loader {
        self.unreadable = unreadable;
        self
    }

    /// Mixes images in pairs, and their labels likewise: [`Mix::Blend`] with shares of the beta distribution of `alpha` and
    /// `alpha` (H. Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2017). With [`cutmix`](Loader::cutmix) as well, each
    /// batch has one of the two.
    pub fn mixup(mut self, alpha: f64) -> Loader {
        self.mixing.mixup = Some(alpha);
        self
    }

    /// Puts a rectangle of each image into another, and mixes their labels by area: [`Mix::Paste`] (S. Yun et al., "CutMix", 2019),
    /// with shares as in [`mixup`](Loader::mixup).
    pub fn cutmix(mut self, alpha: f64) -> Loader {
        self.mixing.cutmix = Some(alpha);
        self
    }

    /// Looks at every sample on the loader's threads, without decoding any: whether its file is there and starts as an image does. So
    /// most of what would end an epoch, or a run, shows before the first batch. What is damaged further on does not show.
    ///
    /// Returns the samples that would be left out: see [`Unreadable::Skip`].
    ///
    /// ```
    /// let data = kiln_data::FashionMnist::embedded()?;
    /// assert!(data.train().loader(64).check()?.is_empty());
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// With [`Unreadable::Fail`] the error of the sample that cannot be read, or [`Error::Unreadable`] for several; otherwise
    /// [`Error::NothingReadable`] if no sample is left.
    pub fn check(&self) -> Result<Vec<Skipped>> {
        let (data, samples) = (&self.dataset, self.dataset.len());
        let next = AtomicUsize::new(0);
        let look = || {
            let mut failed = Vec::new();
            loop {
                let start = next.fetch_add(CHECKED_AT_ONCE, Ordering::Relaxed);
                if start >= samples {
                    return failed;
                }
                let looked = (start..samples.min(start + CHECKED_AT_ONCE)).map(|sample| (sample, data.check(sample)));
                failed.extend(looked.filter_map(|(sample, looked)| Some((sample, looked.err()?))));
            }
        };
        let others = self.workers.min(samples.div_ceil(CHECKED_AT_ONCE)).saturating_sub(1);
        let mut failed = thread::scope(|scope| {
            // Where the system starts no more threads, those that there are do all.
            let spawn = |_| thread::Builder::new().spawn_scoped(scope, look).ok();
            let others: Vec<_> = (0..others).filter_map(spawn).collect();
            let mut failed = look();
            for other in others {
                match other.join() {
                    Ok(more) => failed.extend(more),
                    Err(panic) => panic::resume_unwind(panic),
                }
            }
            failed
        });
        failed.sort_by_key(|(sample, _)| *sample);
        if self.unreadable == Unreadable::Fail && failed.len() == 1 {
            return failed.pop().map_or(Ok(Vec::new()), |(_, error)| Err(error));
        }
        let count = failed.len();
        let mut skipped = failed.into_iter().map(|(sample, error)| Skipped { sample, reason: error.to_string() });
        match self.unreadable {
            Unreadable::Fail if count > 0 => {
                let first = skipped.next().map(|skipped| skipped.reason).unwrap_or_default();
                Err(Error::Unreadable { count, samples, first })
            }
            Unreadable::Skip if count > 0 && count == samples => {
                let last = skipped.last().map(|skipped| skipped.reason).unwrap_or_default();
                Err(Error::NothingReadable { samples, last })
            }
            _ => Ok(skipped.collect()),
        }
    }

    /// The number of batches in an epoch; 0 for an empty dataset.
    pub fn batches_per_epoch(&self) -> usize {
        let len = self.dataset.len();
        match (self.batch_size, self.drop_last) {
            (0, _) => 0,
            (size, true) => len / size,
            (size, false) => len.div_ceil(size),
        }
    }

    /// The batches of the epochs 0 to `count` - 1, one after the other; the workers need not pause in between.
    ///
    /// Each item is a [`Result`]: a batch size of 0, a thread that cannot be started or a sample that cannot be read is
    /// an `Err` in its place, after which the iterator ends.
    pub fn epochs(&self, count: u64) -> Batches {
        Batches::start(self, 0, count, 0)
    }

    /// What [`epochs`](Loader::epochs) gives from batch `batch` of epoch `epoch` on, as a run needs that was interrupted. A batch
    /// beyond the end of an epoch is that of the next.
    ///
    /// ```
    /// let loader = kiln_data::FashionMnist::embedded()?.test().loader(256).shuffle(42);
    /// let all = loader.epochs(2).collect::<Result<Vec<_>, _>>()?;
    /// let rest = loader.epochs_from(1, 3, 2).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(rest, all[loader.batches_per_epoch() + 3..]);
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    pub fn epochs_from(&self, epoch: u64, batch: usize, count: u64) -> Batches {
        Batches::start(self, epoch, count.saturating_sub(epoch), batch as u64)
    }

    /// The batches of epoch `epoch` alone: the same as those that [`epochs`](Loader::epochs) gives for it.
    ///
    /// ```
    /// let data = kiln_data::FashionMnist::embedded()?;
    /// let loader = data.test().loader(256);
    /// let batches = loader.epoch(0).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(batches.len(), loader.batches_per_epoch());
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    pub fn epoch(&self, epoch: u64) -> Batches {
        Batches::start(self, epoch, 1, 0)
    }
}

/// The batches of the next epoch: the first pass is epoch 0, the second epoch 1. Where a run has to go on in the middle,
/// [`Loader::epochs_from`] says from which epoch.
impl IntoIterator for &Loader {
    type Item = Result<Batch>;
    type IntoIter = Batches;

    fn into_iter(self) -> Batches {
        self.epoch(self.passes.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// As of `&Loader`.
impl IntoIterator for Loader {
    type Item = Result<Batch>;
    type IntoIter = Batches;

    fn into_iter(self) -> Batches {
        (&self).into_iter()
    }
}

/// The batches of some epochs, in order. Dropping it ends its threads and waits for them.
#[derive(Debug)]
pub struct Batches {
    maker: Arc<Maker>,
    /// The next batch to hand over, and the one after the last.
    next: u64,
    end: u64,
    /// Why nothing could be started; handed over as the first item.
    failed: Option<Error>,
    pool: Option<Pool>,
    skipped: BTreeMap<usize, Skipped>,
    /// Samples that were skipped since the last batch that had any.
    skipped_since: usize,
}

impl Batches {
    fn start(loader: &Loader, first_epoch: u64, epochs: u64, first: u64) -> Batches {
        let per_epoch = loader.batches_per_epoch() as u64;
        let maker = Arc::new(Maker { loader: loader.clone(), first_epoch, per_epoch, orders: Mutex::default() });
        let end = per_epoch.saturating_mul(epochs);
        let next = first.min(end);
        let mut batches =
            Batches { maker, next, end, failed: None, pool: None, skipped: BTreeMap::new(), skipped_since: 0 };
        if loader.batch_size == 0 {
            batches.failed = Some(Error::BatchSize);
        } else if let Err(error) = loader.mixing.check() {
            batches.failed = Some(error);
        } else if loader.workers > 0 && next < end {
            match Pool::start(&batches.maker, next, end) {
                Ok(pool) => batches.pool = Some(pool),
                Err(error) => batches.failed = Some(error),
            }
        }
        batches
    }

    /// The samples that were left out so far, each once, in the dataset's order; see [`Unreadable::Skip`].
    ///
    /// ```
    /// # let data = kiln_data::FashionMnist::embedded()?;
    /// use kiln_data::Unreadable;
    /// let mut batches = data.test().loader(64).unreadable(Unreadable::Skip).epochs(1);
    /// for batch in batches.by_ref() {
    ///     batch?;
    /// }
    /// for skipped in batches.skipped() {
    ///     eprintln!("left out: {}", skipped.reason);
    /// }
    /// # assert_eq!(batches.skipped().count(), 0);
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    pub fn skipped(&self) -> impl ExactSizeIterator<Item = &Skipped> {
        self.skipped.values()
    }

    /// Keeps what was skipped. Fails where a whole epoch had nothing to read, which would otherwise pass for a short one.
    fn note(&mut self, Made { batch, skipped }: Made) -> Result<Batch> {
        if !batch.labels.is_empty() {
            self.skipped_since = 0;
        }
        self.skipped_since += skipped.len();
        let last = skipped.last().map(|skipped| skipped.reason.clone()).unwrap_or_default();
        self.skipped.extend(skipped.into_iter().map(|skipped| (skipped.sample, skipped)));
        if batch.labels.is_empty() && self.skipped_since >= self.maker.loader.dataset.len() {
            return Err(Error::NothingReadable { samples: self.skipped_since, last });
        }
        Ok(batch)
    }

    /// Ends the iteration: no further batch, no thread.
    fn finish(&mut self) {
        self.next = self.end;
        self.pool = None;
    }
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        if let Some(error) = self.failed.take() {
            self.finish();
            return Some(Err(error));
        }
        while self.next < self.end {
            let made = match &self.pool {
                Some(pool) => pool.take(self.next),
                None => self.maker.make(self.next),
            };
            self.next += 1;
            match made.and_then(|made| self.note(made)) {
                // Nothing of it could be read.
                Ok(batch) if batch.labels.is_empty() => {}
                batch => {
                    if batch.is_err() {
                        self.finish();
                    }
                    return Some(batch);
                }
            }
        }
        None
    }

    /// At most the batches that are left: an error ends the iteration early.
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.end - self.next).ok();
        (0, left.map(|left| left.max(usize::from(self.failed.is_some()))))
    }
}

impl std::iter::FusedIterator for Batches {}

/// The samples of a dataset in the order of an epoch.
type Order = Arc<[usize]>;

/// Makes the batch of a given number: all that workers share and never change.
#[derive(Debug)]
struct Maker {
    loader: Loader,
    first_epoch: u64,
    per_epoch: u64,
    /// The orders of the latest epochs; two, since workers may be on either side of an epoch's end.
    orders: Mutex<[Option<(u64, Order)>; 2]>,
}

impl Maker {
    fn make(&self, number: u64) -> Result<Made> {
        let Loader { dataset, batch_size, unreadable, mixing, .. } = &self.loader;
        let epoch = self.first_epoch.saturating_add(number / self.per_epoch);
        let index = (number % self.per_epoch) as usize;
        let start = index * batch_size;
        let samples = (dataset.len() - start).min(*batch_size);
        let order = self.loader.seed.map(|seed| self.order(seed, epoch));
        let seed = self.loader.seed.unwrap_or(0);

        let shape = dataset.shape();
        let no_memory = || Error::BatchMemory { samples, shape };
        let mut images = Vec::new();
        let bytes = samples.checked_mul(dataset.image_bytes()).ok_or_else(no_memory)?;
        images.try_reserve_exact(bytes).map_err(|_| no_memory())?;
        images.resize(bytes, 0);
        let mut batch = Batch {
            images: Vec::new(),
            shape: [samples, shape[0], shape[1], shape[2]],
            labels: Vec::with_capacity(samples),
            samples: Vec::with_capacity(samples),
            adjust: Vec::new(),
            mix: None,
            epoch,
            index,
        };
        let mut skipped = Vec::new();
        for place in 0..samples {
            let sample = order.as_ref().map_or(start + place, |order| order[start + place]);
            let at = batch.labels.len() * dataset.image_bytes();
            let image = &mut images[at..at + dataset.image_bytes()];
            // A panic must not pass for a batch that is never finished: the consumer would wait for it.
            let read = panic::catch_unwind(AssertUnwindSafe(|| dataset.read(sample, (seed, epoch), image)))
                .unwrap_or_else(|panic| {
                    let message = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
                        (Some(message), _) => (*message).to_owned(),
                        (_, Some(message)) => message.clone(),
                        _ => "a value that is no text".to_owned(),
                    };
                    Err(Error::SourcePanicked { index: dataset.in_source(sample), message })
                });
            match (read, unreadable) {
                (Ok((label, adjust)), _) => {
                    batch.labels.push(label);
                    batch.samples.push(sample);
                    if dataset.adjusts() {
                        batch.adjust.push(adjust);
                    }
                }
                (Err(error), Unreadable::Fail) => return Err(error),
                (Err(error), Unreadable::Skip) => skipped.push(Skipped { sample, reason: error.to_string() }),
            }
        }
        batch.shape[0] = batch.labels.len();
        images.truncate(batch.shape[0] * dataset.image_bytes());
        batch.images = images;
        batch.mix = mixing.draw(seed, (epoch, index), [shape[1], shape[2]]);
        Ok(Made { batch, skipped })
    }

    /// The order of an epoch, computed by whoever needs it first.
    fn order(&self, seed: u64, epoch: u64) -> Order {
        let mut orders = lock(&self.orders);
        let slot = &mut orders[(epoch % 2) as usize];
        if let Some((known, order)) = slot
            && *known == epoch
        {
            return order.clone();
        }
        let mut order: Vec<usize> = (0..self.loader.dataset.len()).collect();
        SplitMix64::stream(seed, epoch).shuffle(&mut order);
        let order: Order = order.into();
        *slot = Some((epoch, order.clone()));
        order
    }
}

/// A batch, and what is missing in it.
#[derive(Debug)]
struct Made {
    batch: Batch,
    skipped: Vec<Skipped>,
}

/// The worker threads and what they share with the consumer.
#[derive(Debug)]
struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// A batch was finished.
    finished: Condvar,
    /// A batch was taken, so that another may be begun; or it is time to stop.
    room: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The next batch to begin.
    begin: u64,
    /// Batches that the consumer took.
    taken: u64,
    done: BTreeMap<u64, Result<Made>>,
    stop: bool,
}

impl Pool {
    fn start(maker: &Arc<Maker>, first: u64, end: u64) -> Result<Pool> {
        let state = Mutex::new(State { begin: first, taken: first, ..State::default() });
        let shared = Arc::new(Shared { state, finished: Condvar::new(), room: Condvar::new() });
        let ahead = maker.loader.prefetch as u64;
        let workers = (maker.loader.workers as u64).min(ahead).min(end - first);
        // Dropped on an error, it ends the threads that were started.
        let mut pool = Pool { shared, threads: Vec::new() };
        for worker in 0..workers as usize {
            let (shared, maker) = (pool.shared.clone(), maker.clone());
            let thread = thread::Builder::new()
                .name(format!("kiln-loader-{worker}"))
                .spawn(move || shared.work(&maker, end, ahead))
                .map_err(|source| Error::Thread { worker, source })?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Waits for batch `number`.
    fn take(&self, number: u64) -> Result<Made> {
        let mut state = lock(&self.shared.state);
        loop {
            if let Some(batch) = state.done.remove(&number) {
                state.taken = number + 1;
                drop(state);
                self.shared.room.notify_all();
                return batch;
            }
            state = self.shared.finished.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.shared.state).stop = true;
        self.shared.room.notify_all();
        for thread in self.threads.drain(..) {
            // A worker catches the panics of its source, so there is nothing to learn from the result.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// The life of a worker: begin the next batch as soon as there is room, until the end.
    fn work(&self, maker: &Maker, end: u64, ahead: u64) {
        let mut state = lock(&self.state);
        while !state.stop && state.begin < end {
            if state.begin - state.taken >= ahead {
                state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let number = state.begin;
            state.begin += 1;
            drop(state);
            let batch = maker.make(number);
            state = lock(&self.state);
            state.done.insert(number, batch);
            self.finished.notify_one();
        }
    }
}

/// The state behind a lock is whole between any two statements, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
