//! How elements lie in memory, and what kernels compute with.

/// The type of a tensor's elements in memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Storage {
    /// 32-bit float, computed as itself.
    F32,
    /// 16-bit float, computed as `f32`.
    F16,
    /// Signed 32-bit integer, computed as itself.
    I32,
    /// Unsigned 32-bit integer, computed as itself.
    U32,
    /// Byte, packed four to a `u32` and computed as `u32`.
    U8,
}

/// The type that a kernel computes with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Compute {
    /// `f32`
    Float,
    /// `i32`
    Int,
    /// `u32`
    Uint,
}

impl Storage {
    /// Every storage type.
    pub const ALL: [Storage; 5] = [Storage::F32, Storage::F16, Storage::I32, Storage::U32, Storage::U8];

    /// The type that kernels compute with.
    pub const fn compute(self) -> Compute {
        match self {
            Storage::F32 | Storage::F16 => Compute::Float,
            Storage::I32 => Compute::Int,
            Storage::U32 | Storage::U8 => Compute::Uint,
        }
    }

    /// The element's size in bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Storage::F32 | Storage::I32 | Storage::U32 => 4,
            Storage::F16 => 2,
            Storage::U8 => 1,
        }
    }

    /// The WGSL type of a buffer's items: the element, and `u32` for four bytes.
    pub const fn wgsl(self) -> &'static str {
        match self {
            Storage::F32 => "f32",
            Storage::F16 => "f16",
            Storage::I32 => "i32",
            Storage::U32 | Storage::U8 => "u32",
        }
    }

    /// The bits of `value` as this type is computed: rounded to nearest for floats, saturated for integers.
    pub fn bits(self, value: f64) -> u32 {
        match self.compute() {
            Compute::Float => (value as f32).to_bits(),
            Compute::Int => (value as i32).cast_unsigned(),
            Compute::Uint => value as u32,
        }
    }
}

impl Compute {
    /// Every compute type.
    pub const ALL: [Compute; 3] = [Compute::Float, Compute::Int, Compute::Uint];

    /// The WGSL type.
    pub const fn wgsl(self) -> &'static str {
        match self {
            Compute::Float => "f32",
            Compute::Int => "i32",
            Compute::Uint => "u32",
        }
    }

    /// The storage that holds a value of this type exactly.
    pub const fn storage(self) -> Storage {
        match self {
            Compute::Float => Storage::F32,
            Compute::Int => Storage::I32,
            Compute::Uint => Storage::U32,
        }
    }
}
