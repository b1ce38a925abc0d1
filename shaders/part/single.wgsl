// A reduction done by one lane: nothing is left to combine.

const LANES = 1u;
const GROUP = 64u;

fn across(value: A, lane: u32) -> A {
    return value;
}
