// The learned scale and shift of batch norm. The header declares the bindings `weight` and `bias`.

fn weight_of(channel: u32) -> f32 {
    return weight[params.weight_offset + channel];
}

fn bias_of(channel: u32) -> f32 {
    return bias[params.bias_offset + channel];
}
