//! Where the elements of a tensor come from that is written to a file.

use std::borrow::Cow;

use half::f16;
use kiln_tensor::{DType, Element, Tensor};

use super::format::{Entry, StateFile};
use super::stored::Stored;
use crate::error::{Error, Result};

/// A tensor for [`save_tensors`](crate::save_tensors): one of a device, read back when its turn comes, or elements in memory.
///
/// ```
/// # use kiln_nn::{StateFile, TensorSource, save_tensors};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let folder = tempfile::tempdir().unwrap(); let path = folder.path().join("labels.safetensors");
/// let labels = TensorSource::from_slice(&[3], &[0i32, 2, 1])?;
/// save_tensors([("labels", labels)], &path, &Default::default())?;
/// assert_eq!(StateFile::open(&path)?.bytes("labels")?.len(), 12);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct TensorSource<'a> {
    pub(super) stored: Stored,
    pub(super) shape: Vec<usize>,
    elements: Elements<'a>,
}

#[derive(Debug, Clone)]
enum Elements<'a> {
    Device(Tensor),
    Memory(Cow<'a, [u8]>),
    File(&'a StateFile, &'a str),
}

impl<'a> TensorSource<'a> {
    /// Elements in memory, in the order of the shape.
    ///
    /// # Errors
    /// [`Error::Argument`] where the shape is of another number of elements.
    pub fn from_slice<T: Element>(shape: &[usize], elements: &'a [T]) -> Result<TensorSource<'a>> {
        let numel = shape.iter().try_fold(1usize, |numel, &side| numel.checked_mul(side));
        if numel != Some(elements.len()) {
            let message = format!("{} elements for the shape {shape:?}; pass as many as it has", elements.len());
            return Err(Error::argument("TensorSource", message));
        }
        let elements = Elements::Memory(Cow::Borrowed(bytemuck::cast_slice(elements)));
        Ok(TensorSource { stored: stored(T::DTYPE), shape: shape.to_vec(), elements })
    }

    /// A count, as PyTorch has them: a scalar of i64.
    pub(super) fn of_count(count: u64) -> TensorSource<'static> {
        let elements = Elements::Memory(Cow::Owned(count.to_le_bytes().to_vec()));
        TensorSource { stored: Stored::I64, shape: Vec::new(), elements }
    }

    /// A tensor of another file.
    pub(super) fn of_file(file: &'a StateFile, name: &'a str, entry: &Entry) -> TensorSource<'a> {
        TensorSource { stored: entry.stored, shape: entry.shape.clone(), elements: Elements::File(file, name) }
    }

    /// Passes the elements' bytes on, which are then forgotten.
    pub(super) fn read<R>(&self, pass: impl FnOnce(&[u8]) -> Result<R>) -> Result<R> {
        match &self.elements {
            Elements::Memory(bytes) => pass(bytes),
            Elements::File(file, name) => pass(&file.raw(name)?.bytes),
            // The format is little-endian, and so is every machine with a GPU interface that Kiln uses.
            Elements::Device(tensor) => match tensor.dtype() {
                DType::F32 => pass(bytemuck::cast_slice(&tensor.to_vec::<f32>()?)),
                DType::F16 => pass(bytemuck::cast_slice(&tensor.to_vec::<f16>()?)),
                DType::I32 => pass(bytemuck::cast_slice(&tensor.to_vec::<i32>()?)),
                DType::U32 => pass(bytemuck::cast_slice(&tensor.to_vec::<u32>()?)),
                DType::U8 => pass(&tensor.to_vec::<u8>()?),
            },
        }
    }
}

impl From<&Tensor> for TensorSource<'_> {
    fn from(tensor: &Tensor) -> Self {
        let shape = tensor.shape().dims().to_vec();
        TensorSource { stored: stored(tensor.dtype()), shape, elements: Elements::Device(tensor.clone()) }
    }
}

fn stored(dtype: DType) -> Stored {
    match dtype {
        DType::F32 => Stored::F32,
        DType::F16 => Stored::F16,
        DType::I32 => Stored::I32,
        DType::U32 => Stored::U32,
        DType::U8 => Stored::U8,
    }
}
