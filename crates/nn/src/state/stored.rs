//! How elements lie in weights files, and the way from there to Kiln's types.

use half::{bf16, f16};
use kiln_tensor::{DType, Device, Element, Tensor};
use safetensors::Dtype;

use crate::error::Result;

/// The type of a tensor's elements in a file; little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U32,
    U8,
    Bool,
}

/// Every type with its name in safetensors files.
const ALL: [(Stored, Dtype); 11] = [
    (Stored::F64, Dtype::F64),
    (Stored::F32, Dtype::F32),
    (Stored::F16, Dtype::F16),
    (Stored::Bf16, Dtype::BF16),
    (Stored::I64, Dtype::I64),
    (Stored::I32, Dtype::I32),
    (Stored::I16, Dtype::I16),
    (Stored::I8, Dtype::I8),
    (Stored::U32, Dtype::U32),
    (Stored::U8, Dtype::U8),
    (Stored::Bool, Dtype::BOOL),
];

/// The elements of these bytes, which may lie at an address that the type cannot have.
fn elements<T: bytemuck::Pod>(bytes: &[u8]) -> impl Iterator<Item = T> + '_ {
    bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned)
}

impl Stored {
    pub(crate) fn of_safetensors(dtype: Dtype) -> Option<Stored> {
        ALL.iter().find(|(_, known)| *known == dtype).map(|(stored, _)| *stored)
    }

    pub(crate) fn safetensors(self) -> Dtype {
        ALL.iter().find(|(known, _)| *known == self).map_or(Dtype::U8, |(_, dtype)| *dtype)
    }

    /// Bytes of an element.
    pub(crate) fn size(self) -> usize {
        match self {
            Stored::F64 | Stored::I64 => 8,
            Stored::F32 | Stored::I32 | Stored::U32 => 4,
            Stored::F16 | Stored::Bf16 | Stored::I16 => 2,
            Stored::I8 | Stored::U8 | Stored::Bool => 1,
        }
    }

    /// The type that it becomes: the same, or one that holds its values. 64 bits become 32: floats are rounded, of integers only the
    /// lower half is kept.
    pub(crate) fn dtype(self) -> DType {
        match self {
            Stored::F64 | Stored::F32 | Stored::Bf16 => DType::F32,
            Stored::F16 => DType::F16,
            Stored::I64 | Stored::I32 | Stored::I16 | Stored::I8 => DType::I32,
            Stored::U32 => DType::U32,
            Stored::U8 | Stored::Bool => DType::U8,
        }
    }

    /// Puts elements on a device, as `dtype`: that of [`Stored::dtype`], or another float for a float.
    pub(crate) fn upload(self, dtype: DType, device: &Device, shape: &[usize], bytes: &[u8]) -> Result<Tensor> {
        fn put<T: Element>(device: &Device, shape: &[usize], values: Vec<T>) -> Result<Tensor> {
            Ok(Tensor::from_slice(device, shape, &values)?)
        }
        match (self, dtype) {
            (Stored::F64, DType::F16) => put(device, shape, elements(bytes).map(f16::from_f64).collect()),
            (Stored::F64, _) => put(device, shape, elements(bytes).map(|value: f64| value as f32).collect()),
            (Stored::F32, DType::F16) => put(device, shape, elements(bytes).map(f16::from_f32).collect()),
            (Stored::F32, _) => put(device, shape, elements::<f32>(bytes).collect()),
            (Stored::F16, DType::F32) => put(device, shape, elements(bytes).map(f16::to_f32).collect()),
            (Stored::F16, _) => put(device, shape, elements::<f16>(bytes).collect()),
            (Stored::Bf16, DType::F16) => {
                put(device, shape, elements(bytes).map(|value: bf16| f16::from_f32(value.to_f32())).collect())
            }
            (Stored::Bf16, _) => put(device, shape, elements(bytes).map(bf16::to_f32).collect()),
            (Stored::I64, _) => put(device, shape, elements(bytes).map(|value: i64| value as i32).collect()),
            (Stored::I32, _) => put(device, shape, elements::<i32>(bytes).collect()),
            (Stored::I16, _) => put(device, shape, elements(bytes).map(|value: i16| i32::from(value)).collect()),
            (Stored::I8, _) => put(device, shape, elements(bytes).map(|value: i8| i32::from(value)).collect()),
            (Stored::U32, _) => put(device, shape, elements::<u32>(bytes).collect()),
            (Stored::U8 | Stored::Bool, _) => put(device, shape, bytes.to_vec()),
        }
    }
}
