// Of four gradients of a ReLU's results, those before the ReLU: nothing passes where a result is not above 0, but for NaN.

fn before_relu(result: vec4<f32>, gradient: vec4<f32>) -> vec4<f32> {
    // As part/float tests it.
    let is_nan = (bitcast<vec4<u32>>(result) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
    return select(vec4<f32>(0.0), gradient, (result > vec4<f32>(0.0)) | is_nan);
}
