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
}

impl Default for Adam {
    fn default() -> Adam {
        Adam { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0 }
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
        let g = grad.zip(p, |grad, p| grad + self.weight_decay * p);
        state.m = state.m.zip(&g, |m, g| beta1 * m + (1.0 - beta1) * g);
        state.v = state.v.zip(&g, |v, g| beta2 * v + (1.0 - beta2) * g * g);
        let step_size = self.lr / (1.0 - beta1.powi(state.step));
        let root_correction = (1.0 - beta2.powi(state.step)).sqrt();
        let update = state.m.zip(&state.v, |m, v| step_size * m / (v.sqrt() / root_correction + self.eps));
        *p = p.zip(&update, |p, u| p - u);
    }
}
