// A walk through one channel of a contiguous [batch, channels, plane] by several lanes, and the parameters of batch norm.
//
// Elements are read as V, four neighbours of a plane or one (WIDTH). Item k of a channel is number k % plane of image
// k / plane. Part p of P takes items p, p + P, ...; with INSIDE the parts of a channel are neighbouring lanes, without it
// the channels are, which suits planes of one element. The header declares V, its storage XV, WIDTH and `total(v)`, the
// sum of a V.
//! use: index

struct Params {
    batch: u32,
    channels: u32,
    plane: u32, // items in the plane of a channel
    parts: u32, // of a channel
    first_part: u32, // where the partial results of this launch start
    all_parts: u32, // partial results of a channel, of all launches
    x_offset: u32, // in items
    dy_offset: u32, // in items
    out_offset: u32, // in items
    mean_offset: u32,
    spread_offset: u32,
    weight_offset: u32,
    bias_offset: u32,
    running_mean_offset: u32,
    running_var_offset: u32,
    count: f32, // elements of a channel
    epsilon: f32,
    momentum: f32, // of the running statistics
}

// A channel and the part of it that a lane or a workgroup makes.
struct Share {
    channel: u32,
    part: u32,
}

fn share_of(number: u32) -> Share {
    if (INSIDE) {
        let channel = quotient(number, params.parts);
        return Share(channel, number - channel * params.parts);
    }
    let part = quotient(number, params.channels);
    return Share(number - part * params.channels, part);
}

struct Place {
    image: u32,
    near: u32,
}

fn place_of(k: u32) -> Place {
    let image = quotient(k, params.plane);
    return Place(image, k - image * params.plane);
}

fn advanced(place: Place, step: Place) -> Place {
    let near = place.near + step.near;
    if (near >= params.plane) {
        return Place(place.image + step.image + 1u, near - params.plane);
    }
    return Place(place.image + step.image, near);
}

fn item_of(place: Place, channel: u32) -> u32 {
    return (place.image * params.channels + channel) * params.plane + place.near;
}
