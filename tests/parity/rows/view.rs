//! Views: reshape, flatten, permute, transpose, slice, expand and their kin. They move, so every value is exact.

use kiln_autograd::Var;
use kiln_tensor::{Device, Result, Tensor};

use crate::reference::{Array, movement};
use crate::row::{Case, Domain, LINEAR, Layout, Row, Wrong, Wrongs, input, wrong};
use crate::tolerance::{Class, Expected};

use Layout::{Contiguous, Offset, Tail, Transposed};

const VALUES: Domain = Domain::Within(-10.0, 10.0);

/// Shapes of a row: the shape, how it lies, and the op's arguments.
type Args<A> = Vec<(Vec<usize>, Layout, A)>;

/// The op on a tensor and on a variable.
type Views<A> = (fn(&Tensor, A) -> Result<Tensor>, fn(&Var, A) -> kiln_autograd::Result<Var>);

/// One call, written once for tensors and variables.
macro_rules! view {
    (|$x:ident, $arg:pat_param| $body:expr) => {
        (|$x: &Tensor, $arg| $body, |$x: &Var, $arg| $body)
    };
}

fn row<A: Copy + std::fmt::Debug + 'static>(
    name: &'static str,
    args: Args<A>,
    (forward, var): Views<A>,
    reference: fn(&Array, A) -> Array,
    wrongs: Vec<Wrong>,
) -> Row {
    let cases = args.into_iter().map(|(shape, layout, arg)| {
        Case::new(
            format!("{shape:?} {layout:?} {arg:?}"),
            vec![input(&shape, VALUES).layout(layout)],
            move |x| forward(&x[0], arg),
            move |x| Expected::new(reference(&x[0], arg)),
        )
        .differentiable(move |x| var(&x[0], arg))
    });
    Row { name, class: Class::Exact, gradient: LINEAR, cases: cases.collect(), wrong: Wrongs::Calls(wrongs) }
}

fn zeros(device: &Device, shape: &[usize]) -> Result<Tensor> {
    Tensor::from_slice(device, shape, &vec![0.0_f32; shape.iter().product()])
}

pub fn rows() -> Vec<Row> {
    vec![
        reshape(),
        flatten(),
        permute(),
        transpose(),
        t(),
        slice(),
        narrow(),
        expand(),
        squeeze(),
        unsqueeze(),
        contiguous(),
    ]
}

fn reshape() -> Row {
    let args: Args<&'static [usize]> = vec![
        (vec![], Contiguous, &[1, 1]),
        (vec![1], Contiguous, &[]),
        (vec![63], Contiguous, &[7, 9]),
        (vec![64], Tail, &[2, 4, 8]),
        (vec![65], Offset, &[13, 5]),
        (vec![7, 11, 13], Contiguous, &[77, 13]),
        (vec![7, 11, 13], Transposed, &[13, 77]),
        (vec![5, 6], Offset, &[3, 10]),
        (vec![3, 0, 5], Contiguous, &[0, 2]),
        (vec![2, 3, 1, 1, 2, 2], Contiguous, &[24]),
    ];
    row(
        "reshape",
        args,
        view!(|x, shape| x.reshape(shape)),
        movement::reshape,
        vec![
            wrong("reshape: [2, 3] has 6 elements, [4] has 4; pass a shape of 6 elements", |d| {
                zeros(d, &[2, 3])?.reshape([4])
            }),
            wrong("reshape: a shape of 7 axes; needs at most 6: merge neighbouring axes by reshape", |d| {
                zeros(d, &[2])?.reshape([1, 1, 1, 1, 1, 1, 2])
            }),
        ],
    )
}

fn flatten() -> Row {
    let args = vec![
        (vec![1], Contiguous, (0, 0)),
        (vec![65], Offset, (0, 0)),
        (vec![7, 11, 13], Contiguous, (0, 2)),
        (vec![7, 11, 13], Contiguous, (1, 2)),
        (vec![7, 11, 13], Transposed, (0, 1)),
        (vec![2, 3, 5, 7], Offset, (1, 3)),
        (vec![2, 3, 5, 7], Tail, (1, 2)),
        (vec![3, 0, 5], Contiguous, (0, 1)),
        (vec![64, 1], Contiguous, (0, 1)),
    ];
    row(
        "flatten",
        args,
        view!(|x, (start, end)| x.flatten(start..=end)),
        |x, (s, e)| movement::flatten(x, s, e),
        vec![
            wrong("flatten: axis 2 of a tensor of shape [2, 3]; needs an axis below 2", |d| {
                zeros(d, &[2, 3])?.flatten(0..=2)
            }),
            wrong("flatten: start 1 is after end 0; pass the first axis and then the last", |d| {
                zeros(d, &[2, 3])?.flatten((1, 0))
            }),
        ],
    )
}

fn permute() -> Row {
    let args: Args<&'static [usize]> = vec![
        (vec![], Contiguous, &[]),
        (vec![1], Contiguous, &[0]),
        (vec![65], Offset, &[0]),
        (vec![7, 11, 13], Contiguous, &[2, 0, 1]),
        (vec![7, 11, 13], Transposed, &[1, 2, 0]),
        (vec![63, 64], Tail, &[1, 0]),
        (vec![4, 5, 6], Offset, &[0, 2, 1]),
        (vec![3, 0, 5], Contiguous, &[2, 1, 0]),
        (vec![2, 3, 1, 4, 2, 3], Contiguous, &[5, 0, 4, 2, 1, 3]),
    ];
    row(
        "permute",
        args,
        view!(|x, axes| x.permute(axes)),
        movement::permute,
        vec![
            wrong("permute: axes [0, 0] name axis 0 twice; name each once", |d| zeros(d, &[2, 3])?.permute([0, 0])),
            wrong("permute: axes [0] for a tensor of shape [2, 3]; needs each of 0..2 once", |d| {
                zeros(d, &[2, 3])?.permute([0])
            }),
        ],
    )
}

fn transpose() -> Row {
    let args = vec![
        (vec![1], Contiguous, (0, 0)),
        (vec![1, 1], Contiguous, (0, 1)),
        (vec![63, 65], Contiguous, (0, 1)),
        (vec![64, 64], Offset, (1, 0)),
        (vec![7, 11, 13], Contiguous, (0, 2)),
        (vec![7, 11, 13], Transposed, (0, 1)),
        (vec![2, 3, 4, 5], Tail, (1, 3)),
        (vec![3, 0, 5], Contiguous, (0, 1)),
    ];
    row(
        "transpose",
        args,
        view!(|x, (a, b)| x.transpose(a, b)),
        |x, (a, b)| movement::transpose(x, a, b),
        vec![
            wrong("transpose: axis 2 of a tensor of shape [2, 3]; needs an axis below 2", |d| {
                zeros(d, &[2, 3])?.transpose(0, 2)
            }),
            wrong("transpose: axis 0 of a scalar; it has no axes: add one by unsqueeze", |d| {
                zeros(d, &[])?.transpose(0, 0)
            }),
        ],
    )
}

fn t() -> Row {
    let args = [[1, 1], [1, 64], [63, 65], [7, 11], [0, 5], [5, 0]].map(|shape| (shape.to_vec(), Contiguous, ()));
    let args =
        [args.to_vec(), vec![(vec![13, 17], Offset, ()), (vec![13, 17], Transposed, ()), (vec![64, 3], Tail, ())]];
    row(
        "t",
        args.concat(),
        view!(|x, ()| x.t()),
        |x, ()| movement::transpose(x, 0, 1),
        vec![
            wrong("t: a tensor of shape [3]; needs a matrix: name the two axes by transpose", |d| zeros(d, &[3])?.t()),
            wrong("t: a tensor of shape [1, 2, 3]; needs a matrix: name the two axes by transpose", |d| {
                zeros(d, &[1, 2, 3])?.t()
            }),
        ],
    )
}

fn slice() -> Row {
    let args = vec![
        (vec![1], Contiguous, (0, 0, 1, 1)),
        (vec![65], Contiguous, (0, 1, 65, 1)),
        (vec![65], Offset, (0, 3, 64, 7)),
        (vec![7, 11, 13], Contiguous, (1, 2, 9, 3)),
        (vec![7, 11, 13], Transposed, (0, 1, 7, 2)),
        (vec![7, 11, 13], Offset, (2, 12, 13, 5)),
        (vec![7, 11], Tail, (0, 3, 3, 1)),
        (vec![3, 0, 5], Contiguous, (2, 1, 4, 2)),
        (vec![64, 3], Contiguous, (0, 0, 64, 100)),
    ];
    row(
        "slice",
        args,
        view!(|x, (dim, start, end, step)| x.slice(dim, start, end, step)),
        |x, (dim, start, end, step)| movement::slice(x, dim, start, end, step),
        vec![
            wrong("slice: axis 1 of a tensor of shape [5]; needs an axis below 1", |d| {
                zeros(d, &[5])?.slice(1, 0, 1, 1)
            }),
            wrong("slice: range 3..6 of axis 0 of a tensor of shape [5]; needs start <= end <= 5", |d| {
                zeros(d, &[5])?.slice(0, 3, 6, 1)
            }),
            wrong("slice: range 3..2 of axis 0 of a tensor of shape [5]; needs start <= end <= 5", |d| {
                zeros(d, &[5])?.slice(0, 3, 2, 1)
            }),
            wrong("slice: step 0; needs at least 1", |d| zeros(d, &[5])?.slice(0, 0, 5, 0)),
        ],
    )
}

fn narrow() -> Row {
    let args = vec![
        (vec![1], Contiguous, (0, 0, 1)),
        (vec![65], Contiguous, (0, 1, 63)),
        (vec![65], Offset, (0, 64, 1)),
        (vec![7, 11, 13], Contiguous, (1, 2, 7)),
        (vec![7, 11, 13], Transposed, (0, 1, 5)),
        (vec![7, 11, 13], Tail, (2, 12, 1)),
        (vec![7, 11], Contiguous, (0, 7, 0)),
        (vec![3, 0, 5], Contiguous, (2, 1, 2)),
    ];
    let reference = |x: &Array, (dim, start, length)| movement::slice(x, dim, start, start + length, 1);
    row(
        "narrow",
        args,
        view!(|x, (dim, start, length)| x.narrow(dim, start, length)),
        reference,
        vec![
            wrong("narrow: axis 1 of a tensor of shape [5]; needs an axis below 1", |d| {
                zeros(d, &[5])?.narrow(1, 0, 1)
            }),
            wrong("narrow: 3 elements from 3 on of axis 0 of a tensor of shape [5]; needs start + length <= 5", |d| {
                zeros(d, &[5])?.narrow(0, 3, 3)
            }),
            wrong(
                "narrow: 2 elements from 18446744073709551615 on of axis 0 of a tensor of shape [5]; needs start + length <= 5",
                |d| zeros(d, &[5])?.narrow(0, usize::MAX, 2),
            ),
        ],
    )
}

fn expand() -> Row {
    let args: Args<&'static [usize]> = vec![
        (vec![], Contiguous, &[3, 5]),
        (vec![1], Contiguous, &[65]),
        (vec![1], Offset, &[0]),
        (vec![63], Contiguous, &[2, 63]),
        (vec![7, 1, 13], Contiguous, &[7, 11, 13]),
        (vec![7, 1, 13], Transposed, &[2, 7, 3, 13]),
        (vec![5, 1], Offset, &[5, 64]),
        (vec![1, 5], Tail, &[3, 5]),
        (vec![3, 0, 1], Contiguous, &[3, 0, 4]),
    ];
    row(
        "expand",
        args,
        view!(|x, shape| x.expand(shape)),
        |x, shape| x.expand(shape),
        vec![
            wrong("expand: shape [2, 3] to [4, 3]; aligned at the end, each size must be the wanted one or 1", |d| {
                zeros(d, &[2, 3])?.expand([4, 3])
            }),
            wrong("expand: shape [2, 3] to [3]; aligned at the end, each size must be the wanted one or 1", |d| {
                zeros(d, &[2, 3])?.expand([3])
            }),
        ],
    )
}

fn squeeze() -> Row {
    let args = vec![
        (vec![1], Contiguous, 0),
        (vec![1, 1], Contiguous, 1),
        (vec![63, 1], Contiguous, 1),
        (vec![1, 65], Offset, 0),
        (vec![7, 1, 13], Transposed, 1),
        (vec![7, 1, 13], Tail, 1),
        (vec![0, 1, 5], Contiguous, 1),
        (vec![2, 1, 3, 1, 2, 1], Contiguous, 5),
    ];
    row(
        "squeeze",
        args,
        view!(|x, dim| x.squeeze(dim)),
        movement::squeeze,
        vec![
            wrong("squeeze: axis 2 of a tensor of shape [1, 3]; needs an axis below 2", |d| {
                zeros(d, &[1, 3])?.squeeze(2)
            }),
            wrong("squeeze: axis 1 of a tensor of shape [1, 3] has size 3; needs size 1", |d| {
                zeros(d, &[1, 3])?.squeeze(1)
            }),
        ],
    )
}

fn unsqueeze() -> Row {
    let args = vec![
        (vec![], Contiguous, 0),
        (vec![1], Contiguous, 1),
        (vec![63], Contiguous, 0),
        (vec![65], Offset, 1),
        (vec![7, 11], Transposed, 1),
        (vec![7, 11], Tail, 2),
        (vec![0, 5], Contiguous, 1),
        (vec![2, 1, 3, 1, 2], Contiguous, 5),
    ];
    row(
        "unsqueeze",
        args,
        view!(|x, dim| x.unsqueeze(dim)),
        movement::unsqueeze,
        vec![
            wrong("unsqueeze: axis 3 for a tensor of shape [1, 3]; needs at most 2", |d| {
                zeros(d, &[1, 3])?.unsqueeze(3)
            }),
            wrong("unsqueeze: a tensor of shape [1, 1, 1, 1, 1, 2] has 6 axes already; merge some by reshape", |d| {
                zeros(d, &[1, 1, 1, 1, 1, 2])?.unsqueeze(0)
            }),
        ],
    )
}

fn contiguous() -> Row {
    let args: Args<()> = vec![
        (vec![], Contiguous, ()),
        (vec![], Offset, ()),
        (vec![1], Tail, ()),
        (vec![63], Offset, ()),
        (vec![64], Contiguous, ()),
        (vec![65], Offset, ()),
        (vec![7, 11, 13], Transposed, ()),
        (vec![7, 11, 13], Offset, ()),
        (vec![3, 0, 5], Transposed, ()),
        (vec![2, 3, 4, 3, 2, 3], Transposed, ()),
    ];
    let mut row = row("contiguous", args, view!(|x, ()| x.contiguous()), |x, ()| x.clone(), Vec::new());
    row.wrong = Wrongs::Infallible("any tensor can be copied");
    row
}
