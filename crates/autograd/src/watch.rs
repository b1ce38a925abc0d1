//! What a tape can tell of its ops besides recording them: the first that is not finite, and what each did.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kiln_tensor::{DType, Tensor};

use crate::error::{Error, Form, Result};
use crate::tape::Tape;
use crate::var::Var;

/// An op as a traced tape saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpTrace {
    /// Its place among the traced ops of its tape, from 0. [`Tape::take_trace`] does not start it anew.
    pub index: usize,
    /// The operation.
    pub op: &'static str,
    /// The full name of the layer that it ran in, as its modules named it; empty outside of any.
    pub layer: String,
    /// Types and shapes of its inputs.
    pub inputs: Vec<Form>,
    /// For each input the [`index`](OpTrace::index) of the op that computed it; `None` for a constant, a leaf or a parameter.
    pub sources: Vec<Option<usize>>,
    /// Type and shape of its output.
    pub output: Form,
}

/// What went into a layer and what came out of it: see [`Tape::capture`].
#[derive(Debug, Clone)]
pub struct Captured {
    /// The first input of the layer's first op.
    pub input: Tensor,
    /// The output of its last op.
    pub output: Tensor,
}

/// A layer whose tensors are kept.
struct Capture {
    layer: String,
    captured: Option<Captured>,
}

/// The state of a tape that is watched. One that is not pays a flag's reading for it.
#[derive(Default)]
pub(crate) struct Watch {
    anomaly: AtomicBool,
    traced: AtomicBool,
    layers: Mutex<Vec<String>>,
    trace: Mutex<Vec<OpTrace>>,
    captures: AtomicBool,
    capture: Mutex<Option<Capture>>,
    /// How many ops were traced.
    ops: AtomicUsize,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    pub(crate) fn detects(&self) -> bool {
        self.anomaly.load(Ordering::Relaxed)
    }

    fn is_on(&self) -> bool {
        self.detects() || self.traced.load(Ordering::Relaxed) || self.captures.load(Ordering::Relaxed)
    }

    /// The layer that runs now, of a tape that is watched.
    pub(crate) fn layer(&self) -> Option<String> {
        let on = self.is_on();
        let layers = if on { locked(&self.layers) } else { return None };
        (!layers.is_empty()).then(|| layers.join("."))
    }

    /// Looks at what an op gave. On a traced tape, the index of the op.
    pub(crate) fn see(&self, op: &'static str, inputs: &[&Var], output: &Tensor) -> Result<Option<usize>> {
        let index = self.traced.load(Ordering::Relaxed).then(|| self.ops.fetch_add(1, Ordering::Relaxed));
        if let Some(index) = index {
            let sources = inputs.iter().map(|input| input.traced()).collect();
            let inputs = inputs.iter().map(|input| Form::of(input.tensor())).collect();
            let layer = self.layer().unwrap_or_default();
            locked(&self.trace).push(OpTrace { index, op, layer, inputs, sources, output: Form::of(output) });
        }
        if self.captures.load(Ordering::Relaxed) {
            self.keep(inputs, output);
        }
        if !self.detects() {
            return Ok(index);
        }
        let Some(found) = not_finite(output)? else { return Ok(index) };
        // An input that no op made has been seen by nobody.
        let mut already = Vec::new();
        for (index, input) in inputs.iter().enumerate() {
            if let Some(found) = not_finite(input.tensor())? {
                already.push(format!("input {index} has {found} already"));
            }
        }
        Err(Error::NotFinite {
            op,
            layer: Layer(self.layer()),
            what: format!("the result {}", Form::of(output)),
            found,
            inputs: described(inputs.iter().map(|input| Form::of(input.tensor())), &already),
        })
    }
}

impl Watch {
    /// Keeps the tensors of an op of the layer that is captured.
    fn keep(&self, inputs: &[&Var], output: &Tensor) {
        let layer = self.layer().unwrap_or_default();
        let mut capture = locked(&self.capture);
        let Some(capture) = capture.as_mut() else { return };
        let within = layer.strip_prefix(&capture.layer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        if !within {
            return;
        }
        match (&mut capture.captured, inputs.first()) {
            (Some(captured), _) => captured.output = output.clone(),
            (captured, Some(input)) => {
                *captured = Some(Captured { input: input.tensor().clone(), output: output.clone() });
            }
            (_, None) => {}
        }
    }
}

/// Looks at the gradient of an input that a rule gave.
pub(crate) fn see_gradient(
    op: &'static str,
    layer: Option<&str>,
    input: usize,
    gradient: &Tensor,
    inputs: impl Iterator<Item = Form>,
) -> Result<()> {
    let Some(found) = not_finite(gradient)? else { return Ok(()) };
    Err(Error::NotFinite {
        op,
        layer: Layer(layer.map(str::to_string)),
        what: format!("the gradient of input {input}, {},", Form::of(gradient)),
        found,
        inputs: described(inputs, &[]),
    })
}

/// The inputs of an op in words.
fn described(forms: impl Iterator<Item = Form>, notes: &[String]) -> String {
    let mut words = forms.map(|form| form.to_string()).collect::<Vec<_>>().join(", ");
    for note in notes {
        words.push_str("; ");
        words.push_str(note);
    }
    words
}

/// A layer's name in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer(pub Option<String>);

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(layer) => write!(f, " in layer {layer}"),
            None => Ok(()),
        }
    }
}

/// Waits for the device.
fn not_finite(tensor: &Tensor) -> Result<Option<&'static str>> {
    if tensor.numel() == 0 || !tensor.dtype().is_float() {
        return Ok(None);
    }
    // The largest is NaN where one is.
    let largest = tensor.abs()?.max(..)?.to_dtype(DType::F32)?;
    if tensor.device().is_shapes_only() {
        return Ok(None);
    }
    let largest = largest.item::<f32>()?;
    Ok(match largest {
        _ if largest.is_nan() => Some("NaN"),
        _ if largest.is_infinite() => Some("an infinity"),
        _ => None,
    })
}

/// Ends the scope of a layer when it is dropped: see [`Tape::layer`].
#[derive(Debug)]
#[must_use = "the layer ends when this is dropped"]
pub struct LayerScope(Option<Tape>);

impl Drop for LayerScope {
    fn drop(&mut self) {
        if let Some(tape) = &self.0 {
            locked(&tape.watch().layers).pop();
        }
    }
}

impl Tape {
    /// Looks at the result of every op, and in backward at every gradient: the first that holds a NaN or an infinity is
    /// [`Error::NotFinite`], with the op, its layer and its shapes. For the search of a mistake: each op then waits for the
    /// device.
    ///
    /// ```
    /// # use kiln_autograd::Tape; use kiln_tensor::{Device, Tensor};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let device = Device::open_default()?;
    /// let tape = Tape::train().detect_anomaly();
    /// let x = tape.leaf(Tensor::from_slice(&device, [2], &[-1.0f32, 4.0])?);
    /// let told = x.sqrt().err().map(|error| error.to_string());
    /// assert_eq!(told.as_deref(), Some("sqrt: the result f32 [2] has NaN; the inputs are f32 [2]"));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn detect_anomaly(self) -> Tape {
        self.watch().anomaly.store(true, Ordering::Relaxed);
        self
    }

    /// Notes every op with its layer, its shapes and where its inputs come from, for [`Tape::take_trace`].
    ///
    /// ```
    /// # use kiln_autograd::Tape; use kiln_tensor::{Device, Tensor};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let device = Device::open_default()?;
    /// let tape = Tape::eval().traced();
    /// let x = tape.constant(Tensor::from_slice(&device, [2], &[1.0f32, 2.0])?);
    /// let y = x.square()?;
    /// y.exp()?.add(&x)?.mul(&y)?;
    /// let sources: Vec<_> = tape.take_trace().into_iter().map(|op| (op.op, op.sources)).collect();
    /// let known = [("square", vec![None]), ("exp", vec![Some(0)]), ("add", vec![Some(1), None]), ("mul", vec![Some(2), Some(0)])];
    /// assert_eq!(sources, known);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn traced(self) -> Tape {
        self.watch().traced.store(true, Ordering::Relaxed);
        self
    }

    /// What the ops since the last call did, in their order. Empty unless the tape is [`Tape::traced`].
    pub fn take_trace(&self) -> Vec<OpTrace> {
        std::mem::take(&mut *locked(&self.watch().trace))
    }

    /// Keeps what goes into the layer of this full name and what comes out of it, for [`Tape::take_captured`]. Of a ReLU that is
    /// computed together with a layer, that layer's output is the ReLU's.
    ///
    /// ```
    /// # use kiln_autograd::Tape; use kiln_tensor::{Device, Tensor};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let device = Device::open_default()?;
    /// let tape = Tape::eval().capture("middle");
    /// let x = tape.constant(Tensor::from_slice(&device, [2], &[1.0f32, 2.0])?).mul_scalar(3.0)?;
    /// let layer = tape.layer("middle");
    /// let y = x.square()?.neg()?;
    /// drop(layer);
    /// y.exp()?;
    /// let kept = tape.take_captured().ok_or("no such layer")?;
    /// assert_eq!((kept.input.to_vec::<f32>()?, kept.output.to_vec::<f32>()?), (vec![3.0, 6.0], vec![-9.0, -36.0]));
    /// assert!(tape.take_captured().is_none());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn capture(self, layer: &str) -> Tape {
        *locked(&self.watch().capture) = Some(Capture { layer: layer.to_string(), captured: None });
        self.watch().captures.store(true, Ordering::Relaxed);
        self
    }

    /// The tensors of the layer of [`Tape::capture`] since the last call; `None` where no op ran in it.
    pub fn take_captured(&self) -> Option<Captured> {
        locked(&self.watch().capture).as_mut().and_then(|capture| capture.captured.take())
    }

    /// Names the layer whose ops follow, until the scope is dropped; names of nested layers grow to a path. Modules call it
    /// for their parts.
    pub fn layer(&self, name: &str) -> LayerScope {
        if !self.watch().is_on() {
            return LayerScope(None);
        }
        locked(&self.watch().layers).push(name.to_string());
        LayerScope(Some(self.clone()))
    }
}
