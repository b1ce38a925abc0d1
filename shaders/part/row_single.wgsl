// A row that one lane reads alone.

const LANES = 1u;
const GROUP = 64u;

fn row_sum(value: f32, lane: u32) -> f32 {
    return value;
}

fn row_max(value: f32, lane: u32) -> f32 {
    return value;
}
