//! From an op to the GPU: kernels compiled once per device, tensors bound as windows of their memory.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use bytemuck::Pod;
use kiln_gpu::{Binding, Device, Pipeline, PipelineDescriptor};
use kiln_shaders::{Kernel, ParamSpace, link};
use rustc_hash::FxHashMap;

use crate::error::Result;
use crate::tensor::Tensor;

/// The kernels that a device has compiled, or will when a batch with them is submitted.
#[derive(Default)]
struct Kernels(Mutex<FxHashMap<Kernel, Pipeline>>);

/// A tensor as a kernel sees it: a window that starts at an aligned byte, and the elements between there and the tensor's first.
#[derive(Clone, Copy)]
pub(crate) struct Window<'a> {
    pub(crate) binding: Binding<'a>,
    pub(crate) offset: u32,
}

impl Tensor {
    /// The window that holds all of its elements.
    pub(crate) fn window(&self) -> Window<'_> {
        self.window_of(self.extent())
    }

    fn window_of(&self, extent: usize) -> Window<'_> {
        let size = self.dtype().size() as u64;
        // 256 bytes are aligned for every adapter and hold a whole number of elements of any type and of vec4s.
        let first = self.offset() as u64 * size;
        let start = first / 256 * 256;
        let end = first + extent as u64 * size;
        Window {
            binding: Binding { allocation: self.allocation(), offset: start, size: end - start },
            offset: ((first - start) / size) as u32,
        }
    }

    /// A contiguous tensor as flat parts that a launch can bind, a single one where that is enough. Each but the last has a
    /// multiple of 1,024 elements. One of several parts binds all it may, so it has to start at 256 bytes in its memory.
    pub(crate) fn parts(&self) -> Result<Vec<Tensor>> {
        let flat = self.reshape([self.numel()])?;
        let most = (self.most_bound() / self.dtype().size() as u64 / 1024 * 1024).max(1024) as usize;
        if flat.numel() <= most {
            return Ok(vec![flat]);
        }
        let starts = (0..flat.numel()).step_by(most);
        starts.map(|start| flat.narrow(0, start, most.min(flat.numel() - start))).collect()
    }

    /// The bytes that a launch can bind of it.
    pub(crate) fn most_bound(&self) -> u64 {
        self.device().info().limits.binding_bytes.min(1 << 31)
    }

    /// Whether a launch can bind all of it at once. Where not, the op halves its work along an axis.
    pub(crate) fn fits(&self) -> bool {
        self.window().binding.size <= self.most_bound()
    }
}

/// Whether the tests of the shaders translate this kernel. Asked in debug builds only, once per kernel and device.
fn registered(kernel: &Kernel) -> bool {
    static VARIANTS: LazyLock<HashSet<Kernel>> = LazyLock::new(|| kiln_shaders::variants().into_iter().collect());
    VARIANTS.contains(kernel)
}

/// The pipeline of a kernel, the same one each time.
fn pipeline(device: &Device, kernel: &Kernel) -> Result<Pipeline> {
    let kernels = device.extension::<Kernels>();
    if let Some(pipeline) = kernels.0.lock().unwrap_or_else(PoisonError::into_inner).get(kernel) {
        return Ok(pipeline.clone());
    }
    debug_assert!(
        kernel.own_text().is_some() || registered(kernel),
        "{} is not in kiln_shaders::variants(), so no test translates it",
        kernel.label()
    );
    // Immediates where they are large enough: the size is the file's, so it is read from the linked text.
    let linked = link(kernel, ParamSpace::Uniform)?;
    let space = device.param_space(linked.params_bytes());
    let linked = match space {
        kiln_gpu::ParamSpace::Uniform => linked,
        kiln_gpu::ParamSpace::Immediate => link(kernel, ParamSpace::Immediate)?,
    };
    let label = kernel.label();
    let descriptor = PipelineDescriptor {
        label: &label,
        source: &linked.source,
        bindings: linked.bindings(),
        params_bytes: linked.params_bytes(),
        param_space: space,
    };
    // Whether these compile is for the caller to learn now: a program's own text may be wrong, and a driver may refuse what its
    // adapter has matrix units for. The others are compiled on threads, a batch at a time.
    let at_once = kernel.own_text().is_some() || linked.needs_cooperative_matrices();
    let places = linked.clone();
    let pipeline = device.deferred_pipeline(&descriptor, move |message| places.relocate(&message))?;
    if at_once {
        device.compile(std::slice::from_ref(&pipeline))?;
    }
    let mut kernels = kernels.0.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(kernels.entry(kernel.clone()).or_insert(pipeline).clone())
}

/// Queues `groups` workgroups of a kernel.
pub(crate) fn launch<P: Pod>(
    device: &Device,
    kernel: &Kernel,
    bindings: &[Binding<'_>],
    params: &P,
    groups: u64,
) -> Result<()> {
    let pipeline = pipeline(device, kernel)?;
    device.launch(&pipeline, bindings, bytemuck::bytes_of(params), groups)?;
    Ok(())
}

/// Queues a launch that a kernel family planned.
pub(crate) fn launch_planned(device: &Device, plan: &kiln_shaders::Launch, bindings: &[Binding<'_>]) -> Result<()> {
    if plan.groups == 0 {
        return Ok(());
    }
    let pipeline = pipeline(device, &plan.kernel)?;
    device.launch(&pipeline, bindings, plan.params.bytes(), plan.groups)?;
    Ok(())
}
