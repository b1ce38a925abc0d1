// Writes the 2x2 results of a tile.

fn store_out(place: Place, out: Out) {
    store_pixels(place, 0u, out.a.a, out.a.b, vec4<f32>(0.0), vec4<f32>(0.0));
    store_pixels(place, 1u, out.b.a, out.b.b, vec4<f32>(0.0), vec4<f32>(0.0));
}
