// A row shared by the 256 lanes of a workgroup, combined as balanced trees.

const LANES = 256u;
const GROUP = 256u;

var<workgroup> row_values: array<f32, 256>;

fn row_sum(value: f32, lane: u32) -> f32 {
    row_values[lane] = value;
    for (var width = 128u; width > 0u; width >>= 1u) {
        workgroupBarrier();
        if (lane < width) {
            row_values[lane] += row_values[lane + width];
        }
    }
    workgroupBarrier();
    let sum = row_values[0];
    // Everyone has read it before the next reduction writes.
    workgroupBarrier();
    return sum;
}

fn row_max(value: f32, lane: u32) -> f32 {
    row_values[lane] = value;
    for (var width = 128u; width > 0u; width >>= 1u) {
        workgroupBarrier();
        if (lane < width) {
            row_values[lane] = max(row_values[lane], row_values[lane + width]);
        }
    }
    workgroupBarrier();
    let largest = row_values[0];
    workgroupBarrier();
    return largest;
}
