//! What the families' planners choose: variant, parameters, workgroups, and what they say about wrong input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kiln_shaders::depthwise::{self, Depthwise};
use kiln_shaders::optim::{self, Optimizer, Segment};
use kiln_shaders::pointwise::{self, FlatParams, Operand, StridedParams, plan};
use kiln_shaders::pool::{self, Pool};
use kiln_shaders::reduce::{self, ReduceParams, Reduction, View};
use kiln_shaders::{Launch, Storage};

fn operand(strides: &[usize], offset: usize) -> Operand<'_> {
    Operand { storage: Storage::F32, strides, offset }
}

fn params<P: bytemuck::Pod>(launch: &Launch) -> P {
    bytemuck::pod_read_unaligned(launch.params.bytes())
}

#[test]
fn contiguous_operands_and_single_values_are_flat() {
    let launch = plan(
        &pointwise::ADD,
        &[4, 8, 5],
        &[operand(&[40, 5, 1], 8), operand(&[0, 0, 0], 7)],
        operand(&[40, 5, 1], 0),
        [0.0; 2],
        true,
        64,
    )
    .unwrap();
    assert_eq!(launch.kernel.file(), "pointwise");
    assert_eq!(launch.groups, 1);
    let given: FlatParams = params(&launch);
    assert_eq!((given.offsets, given.quads), ([2, 7, 0, 0], 40));
}

#[test]
fn a_result_inside_a_tensor_does_not_touch_its_neighbours() {
    // Three elements at the front of something larger: the flat form would write a fourth.
    let launch = plan(&pointwise::COPY, &[3], &[operand(&[1], 0)], operand(&[1], 0), [0.0; 2], false, 64).unwrap();
    assert_eq!(launch.kernel.file(), "pointwise_strided");
    let owned = plan(&pointwise::COPY, &[3], &[operand(&[1], 0)], operand(&[1], 0), [0.0; 2], true, 64).unwrap();
    assert_eq!(owned.kernel.file(), "pointwise");
}

#[test]
fn broadcast_dimensions_collapse() {
    // A bias of 6 channels on [8, 6, 4, 10]: (pixel, channel, image).
    let (x, bias) = (operand(&[240, 40, 10, 1], 0), operand(&[0, 1, 0, 0], 3));
    let planned = |lanes| plan(&pointwise::ADD, &[8, 6, 4, 10], &[x, bias], x, [0.0; 2], true, lanes).unwrap();
    let launch = planned(16_384);
    assert_eq!(launch.kernel.label(), "pointwise_strided(RANK=4u, QUAD=true, R=f32, A=f32, B=f32)");
    let given: StridedParams = params(&launch);
    assert_eq!(given.shape, [10, 6, 8, 1]);
    assert_eq!(given.strides[..3], [[1, 0, 0, 1], [40, 1, 0, 40], [240, 0, 0, 240]]);
    assert_eq!((given.offsets, given.count), ([0, 3, 0, 0], 480));
    assert_eq!((launch.groups, given.run), (2, 1));
    // On a CPU a thread makes half of the ten quads of pixels.
    let given: StridedParams = params(&planned(64));
    assert_eq!((given.shape, given.count, given.run), ([2, 6, 8, 1], 96, 5));
}

#[test]
fn bytes_are_written_by_words_only_where_a_thread_owns_them() {
    let quad = |out: &[usize], offset| {
        let out = Operand { storage: Storage::U8, strides: out, offset };
        let inputs = [operand(&[8, 1], 0), operand(&[0, 1], 0)];
        let launch = plan(&pointwise::LT, &[5, 8], &inputs, out, [0.0; 2], true, 64).unwrap();
        launch.kernel.label().contains("QUAD=true")
    };
    assert!(quad(&[8, 1], 0));
    assert!(quad(&[12, 1], 4));
    assert!(!quad(&[8, 1], 2));
    assert!(!quad(&[9, 1], 0));
    assert!(!quad(&[1, 5], 0));
}

#[test]
fn scalars_arrive_in_the_operands_type() {
    let scalar = |storage, value| {
        let a = Operand { storage, strides: &[1], offset: 0 };
        let launch = plan(&pointwise::ADD_SCALAR, &[4], &[a], a, [value, 0.0], true, 64).unwrap();
        params::<FlatParams>(&launch).s0
    };
    assert_eq!(scalar(Storage::F16, 1.5), 1.5f32.to_bits());
    assert_eq!(scalar(Storage::I32, -3.0), u32::MAX - 2);
    assert_eq!(scalar(Storage::U8, 300.0), 300);
    assert_eq!(scalar(Storage::I32, 1e20), i32::MAX as u32);
}

#[test]
fn wrong_pointwise_launches_say_what_to_change() {
    let one = operand(&[1], 0);
    let message = |result: Result<Launch, pointwise::PointwiseError>| result.unwrap_err().to_string();
    assert_eq!(message(plan(&pointwise::ADD, &[4], &[one], one, [0.0; 2], true, 64)), "add: got 1 operands, needs 2");
    let bytes = Operand { storage: Storage::I32, strides: &[1], offset: 0 };
    assert_eq!(
        message(plan(&pointwise::EXP, &[4], &[bytes], bytes, [0.0; 2], true, 64)),
        "exp: is not defined on i32; convert the operands to a type it has: f32"
    );
    let strides = [1, 2, 4, 8, 16, 32, 64];
    let ordered = [64, 32, 16, 8, 4, 2, 1];
    assert_eq!(
        message(plan(&pointwise::NEG, &[2; 7], &[operand(&strides, 0)], operand(&ordered, 0), [0.0; 2], true, 64)),
        "neg: the operands' strides need 7 dimensions, 6 are possible; make an operand contiguous first"
    );
}

#[test]
fn reductions_end_in_one_pass_per_result_and_keep_sums_short() {
    for (shape, reduced) in [
        (vec![1usize], vec![true]),
        (vec![1 << 24], vec![true]),
        (vec![64, 10], vec![false, true]),
        (vec![3, 1 << 22], vec![true, false]),
        (vec![1 << 22, 3], vec![true, false]),
        (vec![16, 64, 56, 56], vec![true, false, true, true]),
    ] {
        let mut strides = vec![1; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis] * shape[axis];
        }
        let view = View::new(&shape, &strides, &reduced).unwrap();
        for lanes in [64, 16384] {
            for reduction in [Reduction::Sum, Reduction::ArgMax] {
                let out = if reduction.positions() { Storage::I32 } else { Storage::F32 };
                let passes = reduce::plan(reduction, Storage::F32, out, &view, lanes, 5, 9);
                let mut count = view.count();
                for (number, pass) in passes.iter().enumerate() {
                    let given: ReduceParams = params(&pass.launch);
                    assert_eq!(given.outputs as usize, view.outputs());
                    assert_eq!(given.count as usize, count);
                    assert_eq!(given.x_offset, if number == 0 { 5 } else { 0 });
                    let last = number + 1 == passes.len();
                    assert_eq!((given.parts == 1, given.out_offset), (last, if last { 9 } else { 0 }));
                    // At most 8,192 elements a lane.
                    let wide = if pass.launch.groups == u64::from(given.outputs * given.parts) { 256 } else { 1 };
                    assert!(count.div_ceil(wide * given.parts as usize) <= 8192, "{shape:?} {given:?}");
                    let pair = if reduction.positions() && !last { 2 } else { 1 };
                    assert_eq!(pass.words, pair * view.outputs() * given.parts as usize);
                    count = given.parts as usize;
                }
                assert!(passes.len() <= 3, "{shape:?}: {} passes", passes.len());
            }
        }
    }
    assert!(View::new(&[2; 9], &[256, 128, 64, 32, 16, 8, 4, 2, 1], &[true; 9]).is_some());
    let alternating: Vec<bool> = (0..10).map(|axis| axis % 2 == 0).collect();
    assert_eq!(View::new(&[2; 10], &[512, 256, 128, 64, 32, 16, 8, 4, 2, 1], &alternating), None);
}

#[test]
fn optimizers_fill_the_bindings_there_are() {
    assert_eq!(optim::capacity(Optimizer::Adam, 8), 3);
    assert_eq!(optim::capacity(Optimizer::SgdMomentum, 8), 3);
    assert_eq!(optim::capacity(Optimizer::Sgd, 16), 7);
    assert_eq!(optim::capacity(Optimizer::Adam, 32), optim::MOST);
    assert_eq!([1, 2, 3, 4, 8, 13].map(optim::table_size), [1, 3, 3, 7, 13, 13]);
    let segment = |elements| Segment { elements, parameter_quads: 1, gradient_quads: 2 };
    let (table, groups) = optim::segments(&[segment(1025), segment(3)]);
    assert_eq!(table[..3], [[0, 257, 1, 2], [2, 1, 1, 2], [u32::MAX, 0, 0, 0]]);
    assert_eq!(groups, 3);
}

#[test]
fn pooled_extents_are_pytorchs() {
    let extent =
        |input, kernel, stride, padding, dilation, ceil| pool::extent(input, kernel, stride, padding, dilation, ceil);
    assert_eq!(extent(112, 3, 2, 1, 1, false), Some(56));
    assert_eq!(extent(55, 3, 2, 0, 1, true), Some(27));
    assert_eq!(extent(6, 3, 2, 0, 1, true), Some(3));
    // The third window would start in the right padding.
    assert_eq!(extent(4, 2, 3, 1, 1, true), Some(2));
    assert_eq!(extent(10, 3, 1, 0, 4, false), Some(2));
    for wrong in [extent(4, 0, 1, 0, 1, false), extent(4, 2, 0, 0, 1, false), extent(4, 2, 1, 0, 0, false)] {
        assert_eq!(wrong, None);
    }
}

#[test]
fn pools_of_two_go_by_vectors_where_lines_and_offsets_are_whole_ones() {
    let pool = Pool {
        planes: 8,
        size: [6, 12],
        out_size: [3, 6],
        kernel: [2; 2],
        stride: [2; 2],
        padding: [0; 2],
        dilation: [1; 2],
    };
    let forward = |pool: &Pool, offsets| pool::max(Storage::F32, pool, false, 64, offsets).kernel.file();
    let backward = |pool: &Pool, offsets| pool::max_gradient(Storage::F32, pool, false, 64, offsets).kernel.file();
    assert_eq!((forward(&pool, [4, 2, 2]), backward(&pool, [2, 2, 4, 0])), ("max_pool_pairs", "max_pool_grad_pairs"));
    assert_eq!((forward(&pool, [2, 2, 2]), backward(&pool, [1, 2, 4, 0])), ("max_pool", "max_pool_grad"));
    // The last line of an odd height is under no window: a thread of the gradient would leave it out.
    let odd = Pool { size: [7, 12], ..pool };
    assert_eq!((forward(&odd, [0; 3]), backward(&odd, [0; 4])), ("max_pool_pairs", "max_pool_grad"));
    let narrow = Pool { size: [6, 10], out_size: [3, 5], ..pool };
    assert_eq!((forward(&narrow, [0; 3]), backward(&narrow, [0; 4])), ("max_pool", "max_pool_grad"));
}

#[test]
fn partial_sums_of_a_depthwise_weight_gradient_stay_within_what_can_be_bound() {
    let problem = Depthwise {
        batch: 16,
        channels: 8,
        multiplier: 1,
        size: [30, 30],
        out_size: [30, 30],
        kernel: [3; 2],
        stride: [1; 2],
        padding: [1; 2],
        dilation: [1; 2],
    };
    let parts = |most| depthwise::weight_gradient(Storage::F32, &problem, 16_384, most, [0; 3]).parts;
    // Eight columns of four in each line of 30.
    assert_eq!(parts(usize::MAX), 8 * 480);
    assert_eq!(parts(72 * 8 * 10), 8 * 10);
    assert_eq!(parts(1), 8);
}
