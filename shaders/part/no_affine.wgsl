// Batch norm without a learned scale and shift.

fn weight_of(channel: u32) -> f32 {
    return 1.0;
}

fn bias_of(channel: u32) -> f32 {
    return 0.0;
}
