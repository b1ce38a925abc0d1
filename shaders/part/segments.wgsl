// Which tensor a workgroup of an optimizer's launch works on.
//
// Tensor s of the launch takes the workgroups from params.segment{s}.x on, one per 1,024 elements. Unused segments start
// at the largest u32. Needs SEGMENTS, the number of bindings, and Params with segment0 to segment12:
// (first workgroup, vec4s in the tensor, first vec4 of the parameter, first vec4 of the gradient).

struct Segment {
    number: u32,
    row: vec4<u32>,
}

fn segment_of(group: u32) -> Segment {
    var found = Segment(0u, params.segment0);
    if (SEGMENTS > 1u) {
        if (group >= params.segment1.x) {
            found = Segment(1u, params.segment1);
        }
        if (group >= params.segment2.x) {
            found = Segment(2u, params.segment2);
        }
    }
    if (SEGMENTS > 3u) {
        if (group >= params.segment3.x) {
            found = Segment(3u, params.segment3);
        }
        if (group >= params.segment4.x) {
            found = Segment(4u, params.segment4);
        }
        if (group >= params.segment5.x) {
            found = Segment(5u, params.segment5);
        }
        if (group >= params.segment6.x) {
            found = Segment(6u, params.segment6);
        }
    }
    if (SEGMENTS > 7u) {
        if (group >= params.segment7.x) {
            found = Segment(7u, params.segment7);
        }
        if (group >= params.segment8.x) {
            found = Segment(8u, params.segment8);
        }
        if (group >= params.segment9.x) {
            found = Segment(9u, params.segment9);
        }
        if (group >= params.segment10.x) {
            found = Segment(10u, params.segment10);
        }
        if (group >= params.segment11.x) {
            found = Segment(11u, params.segment11);
        }
        if (group >= params.segment12.x) {
            found = Segment(12u, params.segment12);
        }
    }
    return found;
}
