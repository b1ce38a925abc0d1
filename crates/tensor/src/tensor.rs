//! The tensor: a view of memory on the GPU.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_gpu::{Allocation, Device};

use crate::axis::Axis;
use crate::dtype::{DType, Element};
use crate::error::{Error, Result};
use crate::shape::{Shape, Strides};

/// An n-dimensional array on a GPU.
///
/// Clones and views ([`Tensor::reshape`], [`Tensor::permute`], [`Tensor::slice`], ...) share its memory and cost nothing.
/// Operations make new tensors; only the optimizers' updates in [`ops::optim`](crate::ops::optim) write in place.
#[derive(Clone)]
pub struct Tensor {
    storage: Arc<Storage>,
    shape: Shape,
    strides: Strides,
    offset: usize,
    dtype: DType,
}

struct Storage {
    device: Device,
    allocation: Allocation,
    version: AtomicU64,
}

/// How many elements a tensor's memory spans from its first to its last: 0 when it is empty.
fn extent(shape: &Shape, strides: &Strides) -> usize {
    if shape.contains(&0) {
        return 0;
    }
    1 + shape.iter().zip(&strides.0).map(|(dim, stride)| (dim - 1) * stride).sum::<usize>()
}

impl Tensor {
    /// A new tensor whose contents are undefined: the output of a kernel.
    pub(crate) fn empty(device: &Device, shape: impl Into<Shape>, dtype: DType, op: &'static str) -> Result<Tensor> {
        let shape = shape.into();
        let numel = shape.checked_numel(op)?;
        if dtype == DType::F16 && !device.info().features.f16 {
            return Err(Error::dtype(
                op,
                format!("f16 on adapter {:?}, which has no 16-bit floats; use f32", device.info().name),
            ));
        }
        let bytes = (numel * dtype.size()).max(4) as u64;
        let allocation = device.allocate(bytes.next_multiple_of(16), op)?;
        Ok(Tensor {
            storage: Arc::new(Storage { device: device.clone(), allocation, version: AtomicU64::new(0) }),
            shape,
            strides: shape.contiguous_strides(),
            offset: 0,
            dtype,
        })
    }

    /// A tensor of these elements, in row-major order.
    ///
    /// ```
    /// # use kiln_gpu::Device; use kiln_tensor::Tensor;
    /// # fn main() -> Result<(), kiln_tensor::Error> {
    /// let x = Tensor::from_slice(&Device::open_default()?, [2, 2], &[1i32, 2, 3, 4])?;
    /// assert_eq!(x.transpose(0, 1)?.to_vec::<i32>()?, [1, 3, 2, 4]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] where the shape has another number of elements, [`Error::DType`] for `f16` on an adapter without it,
    /// [`Error::Gpu`].
    pub fn from_slice<T: Element>(device: &Device, shape: impl Into<Shape>, data: &[T]) -> Result<Tensor> {
        let shape = shape.into();
        let numel = shape.checked_numel("from_slice")?;
        if numel != data.len() {
            return Err(Error::shape(
                "from_slice",
                format!(
                    "{} elements for shape {shape}, which needs {numel}; pass as many or another shape",
                    data.len()
                ),
            ));
        }
        let tensor = Tensor::empty(device, shape, T::DTYPE, "from_slice")?;
        device.write(tensor.allocation(), 0, data)?;
        Ok(tensor)
    }

    /// The device that holds it.
    pub fn device(&self) -> &Device {
        &self.storage.device
    }

    /// The sizes of its axes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The number of its axes.
    pub fn rank(&self) -> usize {
        self.shape.rank()
    }

    /// The number of its elements.
    pub fn numel(&self) -> usize {
        self.shape.numel()
    }

    /// The type of its elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The sizes as an array, where the rank is known.
    ///
    /// ```
    /// # use kiln_gpu::Device; use kiln_tensor::{DType, Tensor};
    /// # fn main() -> Result<(), kiln_tensor::Error> {
    /// let x = Tensor::zeros(&Device::open_default()?, [8, 3, 32, 32], DType::F32)?;
    /// let [n, c, h, w] = x.dims()?;
    /// assert_eq!((n, c, h, w), (8, 3, 32, 32));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] where the rank is another.
    pub fn dims<const N: usize>(&self) -> Result<[usize; N]> {
        <[usize; N]>::try_from(self.shape.dims()).map_err(|_| {
            Error::shape("dims", format!("a tensor of shape {} has rank {}; {N} was expected", self.shape, self.rank()))
        })
    }

    /// The size of one axis.
    ///
    /// # Errors
    /// [`Error::Argument`] where there is no such axis.
    pub fn dim(&self, axis: impl Into<Axis>) -> Result<usize> {
        self.axis("dim", axis).map(|axis| self.shape[axis])
    }

    /// Whether its elements lie in row-major order without gaps.
    pub fn is_contiguous(&self) -> bool {
        let mut step = 1;
        for (&dim, &stride) in self.shape.iter().zip(&self.strides.0).rev() {
            if dim != 1 && stride != step {
                return self.numel() == 0;
            }
            step *= dim;
        }
        true
    }

    /// The elements in row-major order, once the GPU is done.
    ///
    /// # Errors
    /// [`Error::DType`] where `T` is another type; [`Error::Gpu`] with the device's first fault.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        let (source, start, count) = self.read_range::<T>("to_vec")?;
        let bytes = source.device().read_blocking::<u8>(source.allocation(), start.0, count)?;
        Ok(bytemuck::pod_collect_to_vec(&bytes[start.1..start.1 + self.numel() * T::DTYPE.size()]))
    }

    /// As [`Tensor::to_vec`], without blocking.
    ///
    /// # Errors
    /// As [`Tensor::to_vec`].
    pub async fn to_vec_async<T: Element>(&self) -> Result<Vec<T>> {
        let (source, start, count) = self.read_range::<T>("to_vec_async")?;
        let bytes = source.device().read::<u8>(source.allocation(), start.0, count).await?;
        Ok(bytemuck::pod_collect_to_vec(&bytes[start.1..start.1 + self.numel() * T::DTYPE.size()]))
    }

    /// The value of a tensor of one element.
    ///
    /// # Errors
    /// [`Error::Shape`] where there is not exactly one; as [`Tensor::to_vec`].
    pub fn item<T: Element>(&self) -> Result<T> {
        if self.numel() != 1 {
            return Err(Error::shape(
                "item",
                format!(
                    "a tensor of shape {} has {} elements; needs exactly 1: reduce it or use to_vec",
                    self.shape,
                    self.numel()
                ),
            ));
        }
        self.check_read::<T>("item")?;
        self.to_vec::<T>().map(|values| values[0])
    }

    /// A contiguous tensor of the same elements, the aligned byte at which reading starts with the bytes to skip there, and the
    /// bytes to read.
    fn read_range<T: Element>(&self, op: &'static str) -> Result<(Tensor, (u64, usize), usize)> {
        self.check_read::<T>(op)?;
        let source = self.contiguous()?;
        let first = source.offset * self.dtype.size();
        let aligned = first / 4 * 4;
        Ok((source, (aligned as u64, first - aligned), first - aligned + self.numel() * self.dtype.size()))
    }

    fn check_read<T: Element>(&self, op: &'static str) -> Result<()> {
        if T::DTYPE == self.dtype {
            return Ok(());
        }
        Err(Error::dtype(
            op,
            format!("a tensor of {} read as {}; read it as {0} or convert it by to_dtype", self.dtype, T::DTYPE),
        ))
    }

    /// Counts the in-place writes to its memory. Autograd compares it, so that a stale saved tensor is an error instead of a
    /// wrong gradient.
    pub fn version(&self) -> u64 {
        self.storage.version.load(Ordering::Relaxed)
    }

    /// Whether both share memory.
    pub fn shares_memory(&self, other: &Tensor) -> bool {
        self.allocation().same(other.allocation())
    }

    pub(crate) fn bump_version(&self) {
        self.storage.version.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn allocation(&self) -> &Allocation {
        &self.storage.allocation
    }

    pub(crate) fn strides(&self) -> &[usize] {
        &self.strides.0[..self.rank()]
    }

    /// Elements before its first.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// Elements from its first to its last, both counted.
    pub(crate) fn extent(&self) -> usize {
        extent(&self.shape, &self.strides)
    }

    /// Another view of the same memory. The caller vouches for its bounds.
    pub(crate) fn view(&self, shape: Shape, strides: Strides, offset: usize) -> Tensor {
        debug_assert!(
            (offset + extent(&shape, &strides)) * self.dtype.size() <= self.allocation().capacity() as usize,
            "a view beyond its memory"
        );
        Tensor { storage: self.storage.clone(), shape, strides, offset, dtype: self.dtype }
    }

    pub(crate) fn raw_strides(&self) -> Strides {
        self.strides
    }

    pub(crate) fn check_device(&self, op: &'static str, other: &Tensor) -> Result<()> {
        if self.device().same(other.device()) {
            return Ok(());
        }
        Err(Error::argument(op, "tensors on two devices; read one and write it to the other device"))
    }

    pub(crate) fn check_dtype(&self, op: &'static str, name: &str, dtypes: &[DType]) -> Result<()> {
        if dtypes.contains(&self.dtype) {
            return Ok(());
        }
        let needed: Vec<String> = dtypes.iter().map(DType::to_string).collect();
        Err(Error::dtype(op, format!("{name} is {}; needs {}: convert it by to_dtype", self.dtype, needed.join(", "))))
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({}, {})", self.shape, self.dtype)
    }
}
