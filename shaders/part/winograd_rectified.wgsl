// The image is the gradient of a ReLU's result, which lies as it does: nothing passes where that is not above 0.

@group(0) @binding(3) var<storage, read_write> rectified: array<vec4<T>>;

fn passed(at: u32, row: vec4<f32>) -> vec4<f32> {
    let result = vec4<f32>(rectified[(at - params.image_offset + params.rectified_offset) / 4u]);
    let is_nan = (bitcast<vec4<u32>>(result) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
    return select(vec4<f32>(0.0), row, (result > vec4<f32>(0.0)) | is_nan);
}
