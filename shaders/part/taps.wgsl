// A square kernel of SIDE (3, 5 or 7) over lines of an image, written out tap by tap: arrays and loops over them would be
// memory, vectors are registers. Needs the binding x.

// A row of the kernel: taps 0 to 3 and 4 to 6.
struct Taps {
    a: vec4<f32>,
    b: vec4<f32>,
}

// Ten neighbours in a line, or with STRIDE 2 thirteen, those of even and those of odd number apart.
struct Line {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
}

// A pixel of a line of `width` from `source` on; what lies outside is 0, and a column left of it wraps to a huge number.
fn pixel(source: u32, column: u32, width: u32) -> f32 {
    return select(0.0, f32(x[source + min(column, width - 1u)]), column < width);
}

fn load_line(source: u32, first: u32, width: u32) -> Line {
    var line = Line();
    if (STRIDE == 1u) {
        line.a = vec4<f32>(
            pixel(source, first, width),
            pixel(source, first + 1u, width),
            pixel(source, first + 2u, width),
            pixel(source, first + 3u, width),
        );
        line.b.x = pixel(source, first + 4u, width);
        line.b.y = pixel(source, first + 5u, width);
        if (SIDE > 3u) {
            line.b.z = pixel(source, first + 6u, width);
            line.b.w = pixel(source, first + 7u, width);
        }
        if (SIDE > 5u) {
            line.c.x = pixel(source, first + 8u, width);
            line.c.y = pixel(source, first + 9u, width);
        }
        return line;
    }
    line.a = vec4<f32>(
        pixel(source, first, width),
        pixel(source, first + 2u, width),
        pixel(source, first + 4u, width),
        pixel(source, first + 6u, width),
    );
    line.c = vec4<f32>(
        pixel(source, first + 1u, width),
        pixel(source, first + 3u, width),
        pixel(source, first + 5u, width),
        pixel(source, first + 7u, width),
    );
    line.b.x = pixel(source, first + 8u, width);
    if (SIDE > 3u) {
        line.d.x = pixel(source, first + 9u, width);
        line.b.y = pixel(source, first + 10u, width);
    }
    if (SIDE > 5u) {
        line.d.y = pixel(source, first + 11u, width);
        line.b.z = pixel(source, first + 12u, width);
    }
    return line;
}

// What the four windows see under tap s.
fn under(line: Line, s: u32) -> vec4<f32> {
    // By the number of steps from one window to the next, and by the line or its even or odd half.
    let step = select(s, s >> 1u, STRIDE == 2u);
    var near = line.a;
    var far = line.b;
    if (STRIDE == 2u && (s & 1u) == 1u) {
        near = line.c;
        far = line.d;
    }
    if (STRIDE == 1u && s >= 4u) {
        near = line.b;
        far = line.c;
    }
    switch step & 3u {
        case 0u: { return near; }
        case 1u: { return vec4<f32>(near.yzw, far.x); }
        case 2u: { return vec4<f32>(near.zw, far.xy); }
        default: { return vec4<f32>(near.w, far.xyz); }
    }
}

// Adds a row of the kernel over a line.
fn across(taps: Taps, line: Line, sum: vec4<f32>) -> vec4<f32> {
    var total = fma(taps.a.xxxx, under(line, 0u), sum);
    total = fma(taps.a.yyyy, under(line, 1u), total);
    total = fma(taps.a.zzzz, under(line, 2u), total);
    if (SIDE > 3u) {
        total = fma(taps.a.wwww, under(line, 3u), total);
        total = fma(taps.b.xxxx, under(line, 4u), total);
    }
    if (SIDE > 5u) {
        total = fma(taps.b.yyyy, under(line, 5u), total);
        total = fma(taps.b.zzzz, under(line, 6u), total);
    }
    return total;
}
