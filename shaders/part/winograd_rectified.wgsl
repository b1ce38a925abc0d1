// The image is the gradient before a ReLU whose result lies as it does.
//! use: rectify

@group(0) @binding(3) var<storage, read_write> rectified: array<vec4<T>>;

fn passed(at: u32, row: vec4<f32>) -> vec4<f32> {
    return before_relu(vec4<f32>(rectified[(at - params.image_offset + params.rectified_offset) / 4u]), row);
}
