// One channel of batch norm: how an element is normalised, and where ReLU lets its gradient through.
//
// RUNNING says that `spread` holds variances, else 1 / sqrt(variance + epsilon). Needs `weight_of` and `bias_of` of the
// part `affine` or `no_affine`, and `reached(v)`: where v is above 0 or NaN.

struct Channel {
    mean: f32,
    inverse: f32, // 1 / standard deviation
    weight: f32,
    bias: f32,
}

fn channel_of(channel: u32) -> Channel {
    var inverse = spread[params.spread_offset + channel];
    if (RUNNING) {
        inverse = 1.0 / sqrt(inverse + params.epsilon);
    }
    return Channel(mean[params.mean_offset + channel], inverse, weight_of(channel), bias_of(channel));
}

fn affine(away: V, channel: Channel) -> V {
    return away * (channel.inverse * channel.weight) + V(channel.bias);
}

// dy where the ReLU behind the layer has let x through.
fn passed(dy: V, away: V, channel: Channel) -> V {
    if (RELU) {
        return select(V(0.0), dy, reached(affine(away, channel)));
    }
    return dy;
}
