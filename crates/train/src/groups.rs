//! Batches as steps take them.

use kiln_data::{Batch, Batches, Skipped};

use crate::error::Result;

/// The batches of one step.
#[derive(Debug)]
pub(crate) struct Group {
    /// The epoch, from 0.
    pub(crate) epoch: u64,
    /// The place of the step in its epoch, from 0.
    pub(crate) index: u64,
    /// At least one.
    pub(crate) batches: Vec<Batch>,
    /// Whether no batch of the epoch follows.
    pub(crate) last: bool,
}

/// Cuts batches into groups of `size`; the last group of an epoch may be smaller. Looks one batch ahead, since the last batches of an
/// epoch are missing where none of their samples can be read.
#[derive(Debug)]
pub(crate) struct Groups {
    batches: Batches,
    size: u64,
    per_epoch: u64,
    next: Option<kiln_data::Result<Batch>>,
}

impl Groups {
    /// Of batches of which an epoch has `per_epoch`.
    pub(crate) fn new(mut batches: Batches, size: u64, per_epoch: u64) -> Groups {
        let next = batches.next();
        Groups { batches, size: size.max(1), per_epoch, next }
    }

    /// The samples that were left out so far.
    pub(crate) fn skipped(&self) -> impl Iterator<Item = &Skipped> {
        self.batches.skipped()
    }

    fn place(&self, batch: &Batch) -> (u64, u64) {
        (batch.epoch, batch.index as u64 / self.size)
    }
}

impl Iterator for Groups {
    type Item = Result<Group>;

    fn next(&mut self) -> Option<Result<Group>> {
        let first = match self.next.take()? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error.into())),
        };
        let (epoch, index) = self.place(&first);
        let mut batches = vec![first];
        self.next = self.batches.next();
        while let Some(Ok(batch)) = &self.next {
            if self.place(batch) != (epoch, index) {
                break;
            }
            if let Some(Ok(batch)) = std::mem::replace(&mut self.next, self.batches.next()) {
                batches.push(batch);
            }
        }
        let last = match &self.next {
            Some(Ok(batch)) => batch.epoch != epoch,
            Some(Err(_)) => batches.last().is_some_and(|batch| batch.index as u64 + 1 == self.per_epoch),
            None => true,
        };
        Some(Ok(Group { epoch, index, batches, last }))
    }
}
