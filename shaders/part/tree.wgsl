// A reduction shared by the 256 lanes of a workgroup: their values are combined as a balanced tree, in the same order
// always. Needs a type A and `combine`.

const LANES = 256u;
const GROUP = 256u;

var<workgroup> tree_values: array<A, 256>;

fn across(value: A, lane: u32) -> A {
    tree_values[lane] = value;
    for (var width = 128u; width > 0u; width >>= 1u) {
        workgroupBarrier();
        if (lane < width) {
            tree_values[lane] = combine(tree_values[lane], tree_values[lane + width]);
        }
    }
    workgroupBarrier();
    return tree_values[0];
}
