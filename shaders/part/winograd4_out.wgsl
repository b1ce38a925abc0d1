// Writes the 4x4 results of a tile.

fn store_out(place: Place, out: Out) {
    store_pixels(place, 0u, out.a.a, out.a.b, out.a.c, out.a.d);
    store_pixels(place, 1u, out.b.a, out.b.b, out.b.c, out.b.d);
    store_pixels(place, 2u, out.c.a, out.c.b, out.c.c, out.c.d);
    store_pixels(place, 3u, out.d.a, out.d.b, out.d.c, out.d.d);
}
