//! Ctrl-C, and the other ways in which a process is asked to end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::{Error, Result};
use crate::hook::{Flow, Hook};

/// What a program returns that was stopped by Ctrl-C: 128 and the number of the signal.
const EXIT: i32 = 130;

/// Ends a run on Ctrl-C, or when the system asks the process to end (SIGTERM), or when its terminal is closed (SIGHUP): the step is
/// finished, a checkpoint saved, and the run ends as [`Stopped::Interrupted`](crate::Stopped::Interrupted). A second Ctrl-C or
/// SIGTERM ends the process at once, with exit code 130; files that are being written then are left as they were. A process that
/// was started to outlive its terminal (`nohup`) goes on when that is closed.
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
        #[cfg(unix)]
        if hangup::ends_this_process() {
            use signal_hook::consts::SIGHUP;

            // A shell and the system both send it when a terminal is closed: the second one must not cut the first one's saving short.
            flag::register_conditional_default(SIGHUP, idle.clone())?;
            flag::register(SIGHUP, asked.clone())?;
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

/// SIGHUP.
#[cfg(unix)]
mod hangup {
    use std::io::{self, IsTerminal};

    /// Whether the signal ends the process, and was not turned off when it was started, as `nohup` does.
    pub(super) fn ends_this_process() -> bool {
        let status = std::fs::read_to_string("/proc/self/status").ok();
        // Only Linux tells. Elsewhere: `nohup` leaves no stream at the terminal.
        status.and_then(|status| ignored(&status)).map_or_else(at_a_terminal, |ignored| !ignored)
    }

    fn at_a_terminal() -> bool {
        io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal()
    }

    /// What Linux says of a process: a bit for each signal that is ignored, the first one's first.
    fn ignored(status: &str) -> Option<bool> {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
        Some(u64::from_str_radix(mask.trim(), 16).ok()? & 1 == 1)
    }

    #[cfg(test)]
    mod tests {
        use super::ignored;

        #[test]
        fn linux_tells_whether_a_hangup_is_ignored() {
            assert_eq!(ignored("Name:\tkiln\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n"), Some(true));
            assert_eq!(ignored("Name:\tkiln\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000000001\n"), Some(false));
            assert_eq!(ignored("Name:\tkiln\n"), None);
        }
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
