//! The generated access to operands: bindings, loads, the store, and the call of `apply`. All text is made at compile
//! time, so a kernel is built without an allocation.

use crate::Storage;

/// The aliases of the operands' compute types.
pub(super) const ALIASES: [&str; 3] = ["A", "B", "C"];

/// The declaration of an operand's buffer and `load_{name}`, for a slot and a storage type.
macro_rules! load_text {
    ($name:literal, $binding:literal, $lane:literal, $ty:literal, $compute:literal) => {
        LoadText {
            flat: concat!(
                "@group(0) @binding(",
                $binding,
                ") var<storage, read_write> ",
                $name,
                ": array<vec4<",
                $ty,
                ">>;\n",
                "fn load_",
                $name,
                "(i: u32) -> vec4<",
                $compute,
                "> {\n    return vec4<",
                $compute,
                ">(",
                $name,
                "[params.offsets.",
                $lane,
                " + i]);\n}"
            ),
            single: concat!(
                "@group(0) @binding(",
                $binding,
                ") var<storage, read_write> ",
                $name,
                ": array<",
                $ty,
                ">;\n",
                "fn load_",
                $name,
                "(i: u32) -> vec4<",
                $compute,
                "> {\n    return vec4<",
                $compute,
                ">(",
                $compute,
                "(",
                $name,
                "[params.offsets.",
                $lane,
                "]));\n}"
            ),
            strided: concat!(
                "@group(0) @binding(",
                $binding,
                ") var<storage, read_write> ",
                $name,
                ": array<",
                $ty,
                ">;\n",
                "fn load_",
                $name,
                "(i: u32) -> ",
                $compute,
                " {\n    return ",
                $compute,
                "(",
                $name,
                "[i]);\n}"
            ),
        }
    };
}

/// The same for bytes.
macro_rules! load_bytes_text {
    ($name:literal, $binding:literal, $lane:literal) => {
        LoadText {
            flat: concat!(
                "@group(0) @binding(",
                $binding,
                ") var<storage, read_write> ",
                $name,
                ": array<u32>;\n",
                "fn load_",
                $name,
                "(i: u32) -> vec4<u32> {\n    return unpack_bytes(",
                $name,
                "[params.offsets.",
                $lane,
                " + i]);\n}"
            ),
            single: concat!(
                "@group(0) @binding(",
                $binding,
                ") var<storage, read_write> ",
                $name,
                ": array<u32>;\n",
                "fn load_",
                $name,
                "(i: u32) -> vec4<u32> {\n    let at = params.offsets.",
                $lane,
                ";\n    return vec4<u32>((",
                $name,
                "[at >> 2u] >> (8u * (at & 3u))) & 255u);\n}"
            ),
            strided: concat!(
                "@group(0) @binding(",
                $binding,
                ") var<storage, read_write> ",
                $name,
                ": array<u32>;\n",
                "fn load_",
                $name,
                "(i: u32) -> u32 {\n    return (",
                $name,
                "[i >> 2u] >> (8u * (i & 3u))) & 255u;\n}"
            ),
        }
    };
}

struct LoadText {
    flat: &'static str,
    single: &'static str,
    strided: &'static str,
}

/// By slot, in the order of [`Storage::ALL`].
macro_rules! slot_text {
    ($name:literal, $binding:literal, $lane:literal) => {
        [
            load_text!($name, $binding, $lane, "f32", "f32"),
            load_text!($name, $binding, $lane, "f16", "f32"),
            load_text!($name, $binding, $lane, "i32", "i32"),
            load_text!($name, $binding, $lane, "u32", "u32"),
            load_bytes_text!($name, $binding, $lane),
        ]
    };
}

static LOADS: [[LoadText; 5]; 3] = [slot_text!("a", "0", "x"), slot_text!("b", "1", "y"), slot_text!("c", "2", "z")];

struct StoreText {
    flat: &'static str,
    quad: &'static str,
    strided: &'static str,
}

macro_rules! store_text {
    ($binding:literal, $ty:literal) => {
        StoreText {
            flat: concat!(
                "@group(0) @binding(", $binding, ") var<storage, read_write> out: array<vec4<", $ty, ">>;\n",
                "fn store(i: u32, values: vec4<R>) {\n    out[i] = vec4<", $ty, ">(values);\n}"
            ),
            quad: store_text!(@strided $binding, $ty),
            strided: store_text!(@strided $binding, $ty),
        }
    };
    (@strided $binding:literal, $ty:literal) => {
        concat!(
            "@group(0) @binding(", $binding, ") var<storage, read_write> out: array<", $ty, ">;\n",
            "fn store(i: u32, value: R) {\n    out[i] = ", $ty, "(value);\n}\n",
            "fn store_quad(i: u32, stride: u32, values: vec4<R>) {\n    store(i, values.x);\n",
            "    store(i + stride, values.y);\n    store(i + 2u * stride, values.z);\n",
            "    store(i + 3u * stride, values.w);\n}"
        )
    };
}

macro_rules! store_bytes_text {
    ($binding:literal) => {
        StoreText {
            flat: concat!(
                "@group(0) @binding(",
                $binding,
                ") var<storage, read_write> out: array<u32>;\n",
                "fn store(i: u32, values: vec4<R>) {\n    out[i] = pack_bytes(values);\n}"
            ),
            quad: concat!(
                "@group(0) @binding(",
                $binding,
                ") var<storage, read_write> out: array<u32>;\n",
                "fn store(i: u32, value: R) {}\n",
                "fn store_quad(i: u32, stride: u32, values: vec4<R>) {\n    out[i >> 2u] = pack_bytes(values);\n}"
            ),
            // Other threads own the other bytes of the word.
            strided: concat!(
                "@group(0) @binding(",
                $binding,
                ") var<storage, read_write> out: array<atomic<u32>>;\n",
                "fn store(i: u32, value: R) {\n    let shift = 8u * (i & 3u);\n",
                "    atomicAnd(&out[i >> 2u], ~(255u << shift));\n",
                "    atomicOr(&out[i >> 2u], (value & 255u) << shift);\n}\n",
                "fn store_quad(i: u32, stride: u32, values: vec4<R>) {}"
            ),
        }
    };
}

/// By binding, in the order of [`Storage::ALL`].
macro_rules! result_text {
    ($binding:literal) => {
        [
            store_text!($binding, "f32"),
            store_text!($binding, "f16"),
            store_text!($binding, "i32"),
            store_text!($binding, "u32"),
            store_bytes_text!($binding),
        ]
    };
}

static STORES: [[StoreText; 5]; 4] = [result_text!("0"), result_text!("1"), result_text!("2"), result_text!("3")];

/// `evaluate` by arity: flat, then strided.
const EVALUATE: [[&str; 2]; 4] = [
    [
        "fn evaluate(i: u32) -> vec4<R> {\n    return vec4<R>(apply());\n}",
        "fn evaluate(at: vec4<u32>) -> R {\n    return apply();\n}",
    ],
    [
        "fn evaluate(i: u32) -> vec4<R> {\n    let x = load_a(i);\n    \
         return vec4<R>(apply(x.x), apply(x.y), apply(x.z), apply(x.w));\n}",
        "fn evaluate(at: vec4<u32>) -> R {\n    return apply(load_a(at.x));\n}",
    ],
    [
        "fn evaluate(i: u32) -> vec4<R> {\n    let x = load_a(i);\n    let y = load_b(i);\n    \
         return vec4<R>(apply(x.x, y.x), apply(x.y, y.y), apply(x.z, y.z), apply(x.w, y.w));\n}",
        "fn evaluate(at: vec4<u32>) -> R {\n    return apply(load_a(at.x), load_b(at.y));\n}",
    ],
    [
        "fn evaluate(i: u32) -> vec4<R> {\n    let x = load_a(i);\n    let y = load_b(i);\n    let z = load_c(i);\n    \
         return vec4<R>(apply(x.x, y.x, z.x), apply(x.y, y.y, z.y), apply(x.z, y.z, z.z), apply(x.w, y.w, z.w));\n}",
        "fn evaluate(at: vec4<u32>) -> R {\n    return apply(load_a(at.x), load_b(at.y), load_c(at.z));\n}",
    ],
];

fn index(storage: Storage) -> usize {
    match storage {
        Storage::F32 => 0,
        Storage::F16 => 1,
        Storage::I32 => 2,
        Storage::U32 => 3,
        Storage::U8 => 4,
    }
}

/// The buffer of operand `slot` and its `load_a`, `load_b` or `load_c`.
pub(super) fn load(slot: usize, storage: Storage, flat: bool, single: bool) -> &'static str {
    let text = &LOADS[slot][index(storage)];
    match (flat, single) {
        (true, false) => text.flat,
        (true, true) => text.single,
        (false, _) => text.strided,
    }
}

/// The result's buffer, at the binding after `arity` operands, with `store` and in the strided form `store_quad`.
pub(super) fn store(arity: usize, storage: Storage, flat: bool, quad: bool) -> &'static str {
    let text = &STORES[arity][index(storage)];
    match (flat, quad) {
        (true, _) => text.flat,
        (false, true) => text.quad,
        (false, false) => text.strided,
    }
}

/// The function that loads the operands of one quad or element and calls `apply`.
pub(super) fn evaluate(arity: usize, flat: bool) -> &'static str {
    EVALUATE[arity][usize::from(!flat)]
}
