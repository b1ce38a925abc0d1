//! Ctrl-C.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::{Error, Result};
use crate::hook::{Flow, Hook};

/// What a program returns that was stopped by Ctrl-C: 128 and the number of the signal.
const EXIT: i32 = 130;

/// Ends a run on Ctrl-C, or when the system asks the process to end (SIGTERM): the step is finished, a checkpoint saved, and the run
/// ends as [`Stopped::Interrupted`](crate::Stopped::Interrupted). A second Ctrl-C ends the process at once, with exit code 130;
/// files that are being written then are left as they were.
///
/// Once it is dropped, signals end the process as before.
///
/// ```no_run
/// # use kiln_train::{Feed, Length, Stopped, Trainer}; use kiln_nn::{Module, Optimizer}; use kiln_data::Splits;
/// # fn f(model: &dyn Module, optim: &mut dyn Optimizer, data: &Splits, feed: &Feed) -> kiln_train::Result<()> {
/// use kiln_train::{Interrupt, Progress};
/// let trainer = Trainer::new(Length::Epochs(90)).out("runs/long").resume(true);
/// let outcome = trainer.run(model, optim, data, feed, &mut (Progress::new(), Interrupt::new()?))?;
/// if outcome.stopped == Stopped::Interrupted {
///     println!("run this program again to go on");
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Interrupt(&'static Signals);

/// What the signal handlers know. They are the process's, and stay.
#[derive(Debug)]
struct Signals {
    /// Whether somebody has asked for the end.
    asked: Arc<AtomicBool>,
    /// Whether there is no [`Interrupt`].
    idle: Arc<AtomicBool>,
    alive: Mutex<usize>,
}

static SIGNALS: OnceLock<Signals> = OnceLock::new();

impl Signals {
    fn new() -> std::io::Result<Signals> {
        let (asked, idle) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true)));
        for signal in [SIGINT, SIGTERM] {
            // In this order: an earlier one decides whether there is a later one.
            flag::register_conditional_default(signal, idle.clone())?;
            flag::register_conditional_shutdown(signal, EXIT, asked.clone())?;
            flag::register(signal, asked.clone())?;
        }
        Ok(Signals { asked, idle, alive: Mutex::new(0) })
    }

    fn count(&self, change: impl FnOnce(usize) -> usize) {
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        *alive = change(*alive);
        if *alive == 0 {
            self.asked.store(false, Ordering::SeqCst);
        }
        self.idle.store(*alive == 0, Ordering::SeqCst);
    }
}

impl Interrupt {
    /// Catches signals from now on.
    ///
    /// # Errors
    /// [`Error::Hook`] where the system does not let it.
    pub fn new() -> Result<Interrupt> {
        let signals = match SIGNALS.get() {
            Some(signals) => signals,
            None => {
                let signals = Signals::new().map_err(|error| Error::hook("Interrupt", error))?;
                SIGNALS.get_or_init(|| signals)
            }
        };
        signals.count(|alive| alive + 1);
        Ok(Interrupt(signals))
    }

    /// Whether somebody has asked for the end.
    pub fn asked(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.0.count(|alive| alive.saturating_sub(1));
    }
}

impl Hook for Interrupt {
    fn before_step(&mut self, _step: u64) -> Result<Flow> {
        Ok(if self.asked() { Flow::Interrupt } else { Flow::Continue })
    }
}
