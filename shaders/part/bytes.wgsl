// Tensors of u8 are packed four to a u32, the first in the lowest byte.

fn unpack_bytes(word: u32) -> vec4<u32> {
    return (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
}

fn pack_bytes(values: vec4<u32>) -> u32 {
    let b = (values & vec4<u32>(255u)) << vec4<u32>(0u, 8u, 16u, 24u);
    return b.x | b.y | b.z | b.w;
}
