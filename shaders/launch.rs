//! A kernel ready to be launched: the variant, its parameters, and how many workgroups.

use crate::Kernel;
use bytemuck::Pod;
use std::fmt;

/// Defines a host struct equal to a kernel's `struct Params`, with the table that a test compares with naga's layout.
macro_rules! params {
    (
        $(#[$meta:meta])*
        $($file:literal)+ pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $ty:ty,)* }
    ) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, PartialEq, Default, Debug, bytemuck::Pod, bytemuck::Zeroable)]
        pub struct $name { $($(#[$field_meta])* pub $field: $ty,)* }

        impl $name {
            /// The struct's layout, for comparison with the kernel's.
            pub const LAYOUT: $crate::launch::Layout = $crate::launch::Layout {
                files: &[$($file),+],
                bytes: std::mem::size_of::<$name>(),
                fields: &[$((stringify!($field), std::mem::offset_of!($name, $field)),)*],
            };
        }
    };
}
pub(crate) use params;

/// The layout of a host struct that mirrors a kernel's `struct Params`.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The kernel files that it belongs to, without ending.
    pub files: &'static [&'static str],
    /// The struct's size.
    pub bytes: usize,
    /// Each field's name and offset. An array `name` stands for the fields `name0`, `name1`, ... of 16 bytes.
    pub fields: &'static [(&'static str, usize)],
}

/// The largest parameter struct, in words.
const WORDS: usize = 64;

/// The bytes of a parameter struct, held inline.
#[derive(Clone, Copy)]
pub struct Params {
    words: [u32; WORDS],
    bytes: usize,
}

impl Params {
    /// Copies a parameter struct. At most 256 bytes: what immediates hold anywhere.
    pub fn of<P: Pod>(params: &P) -> Params {
        const { assert!(size_of::<P>() <= 4 * WORDS) };
        let bytes = bytemuck::bytes_of(params);
        let mut words = [0; WORDS];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Params { words, bytes: bytes.len() }
    }

    /// The struct's bytes.
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.bytes]
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Params").field(&&self.words[..self.bytes.div_ceil(4)]).finish()
    }
}

/// A kernel with its parameters and the number of workgroups of a flat dispatch. A launch of 0 groups is to be skipped.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The variant.
    pub kernel: Kernel,
    /// Its `struct Params`.
    pub params: Params,
    /// Workgroups, to be spread over two dimensions where there are more than 65,535.
    pub groups: u64,
}

impl Launch {
    pub(crate) fn new<P: Pod>(kernel: Kernel, params: &P, groups: u64) -> Launch {
        Launch { kernel, params: Params::of(params), groups }
    }
}
