//! Optimizer steps in PyTorch's formulas.

use super::Array;

/// `torch.optim.SGD`: with `g = grad + weight_decay * p`, the buffer starts as `g` and then becomes
/// `momentum * buffer + (1 - dampening) * g`; the step is `p -= lr * d`, where `d` is `g` without momentum,
/// `g + momentum * buffer` with Nesterov, else the buffer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sgd {
    pub lr: f64,
    pub momentum: f64,
    pub dampening: f64,
    pub weight_decay: f64,
    pub nesterov: bool,
}

impl Sgd {
    /// One step on one parameter. `buffer` is `None` before the first.
    pub fn step(&self, p: &mut Array, grad: &Array, buffer: &mut Option<Array>) {
        let g = grad.zip(p, |grad, p| grad + self.weight_decay * p);
        let direction = if self.momentum == 0.0 {
            g
        } else {
            let next = match buffer.take() {
                None => g.clone(),
                Some(b) => b.zip(&g, |b, g| self.momentum * b + (1.0 - self.dampening) * g),
            };
            let direction = if self.nesterov { g.zip(&next, |g, b| g + self.momentum * b) } else { next.clone() };
            *buffer = Some(next);
            direction
        };
        *p = p.zip(&direction, |p, d| p - self.lr * d);
    }
}

/// `torch.optim.Adam` (Kingma and Ba, 2015): with `g = grad + weight_decay * p`,
/// `m = beta1 m + (1 - beta1) g`, `v = beta2 v + (1 - beta2) g^2`,
/// `p -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)`.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    pub lr: f64,
    pub betas: [f64; 2],
    pub eps: f64,
    pub weight_decay: f64,
    /// AdamW: `p -= lr weight_decay p` instead.
    pub decoupled: bool,
}

impl Default for Adam {
    fn default() -> Adam {
        Adam { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0, decoupled: false }
    }
}

/// What Adam keeps per parameter.
#[derive(Clone, Debug)]
pub struct AdamState {
    pub step: i32,
    pub m: Array,
    pub v: Array,
}

impl AdamState {
    pub fn new(shape: &[usize]) -> AdamState {
        AdamState { step: 0, m: Array::zeros(shape), v: Array::zeros(shape) }
    }
}

impl Adam {
    pub fn step(&self, p: &mut Array, grad: &Array, state: &mut AdamState) {
        let [beta1, beta2] = self.betas;
        state.step += 1;
        let l2 = if self.decoupled { 0.0 } else { self.weight_decay };
        if self.decoupled {
            *p = p.map(|p| p * (1.0 - self.lr * self.weight_decay));
        }
        let g = grad.zip(p, |grad, p| grad + l2 * p);
        state.m = state.m.zip(&g, |m, g| beta1 * m + (1.0 - beta1) * g);
        state.v = state.v.zip(&g, |v, g| beta2 * v + (1.0 - beta2) * g * g);
        let step_size = self.lr / (1.0 - beta1.powi(state.step));
        let root_correction = (1.0 - beta2.powi(state.step)).sqrt();
        let update = state.m.zip(&state.v, |m, v| step_size * m / (v.sqrt() / root_correction + self.eps));
        *p = p.zip(&update, |p, u| p - u);
    }
}

/// `torch.optim.RMSprop`: `s = alpha s + (1 - alpha) g^2`, `d = g / (sqrt(s) + eps)`, or centered
/// `d = g / (sqrt(s - a^2) + eps)` with `a = alpha a + (1 - alpha) g`; `b = momentum b + d`; `p -= lr b`.
#[derive(Clone, Copy, Debug)]
pub struct Rmsprop {
    pub lr: f64,
    pub alpha: f64,
    pub eps: f64,
    pub weight_decay: f64,
    pub momentum: f64,
    pub centered: bool,
}

impl Default for Rmsprop {
    fn default() -> Rmsprop {
        Rmsprop { lr: 1e-2, alpha: 0.99, eps: 1e-8, weight_decay: 0.0, momentum: 0.0, centered: false }
    }
}

/// What RMSprop keeps per parameter: s, a and b.
#[derive(Clone, Debug)]
pub struct RmspropState(pub [Array; 3]);

impl RmspropState {
    pub fn new(shape: &[usize]) -> RmspropState {
        RmspropState([0, 1, 2].map(|_| Array::zeros(shape)))
    }
}

impl Rmsprop {
    pub fn step(&self, p: &mut Array, grad: &Array, RmspropState([s, a, b]): &mut RmspropState) {
        let g = grad.zip(p, |grad, p| grad + self.weight_decay * p);
        *s = s.zip(&g, |s, g| self.alpha * s + (1.0 - self.alpha) * g * g);
        let mut spread = s.clone();
        if self.centered {
            *a = a.zip(&g, |a, g| self.alpha * a + (1.0 - self.alpha) * g);
            spread = s.zip(a, |s, a| s - a * a);
        }
        let d = g.zip(&spread, |g, s| g / (s.sqrt() + self.eps));
        *b = b.zip(&d, |b, d| self.momentum * b + d);
        *p = p.zip(b, |p, b| p - self.lr * b);
    }
}
