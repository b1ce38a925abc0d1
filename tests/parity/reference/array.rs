//! The array of the reference, its index arithmetic and its broadcasting.

/// A dense row-major array. `shape` may be empty (a scalar, one element) and may contain zeros (no element).
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

/// Elements of an array of this shape; 1 for the scalar.
pub fn numel(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// Row-major strides, in elements.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * shape[axis + 1];
    }
    strides
}

/// Where the element at `index` lies.
pub fn ravel(shape: &[usize], index: &[usize]) -> usize {
    assert_eq!(shape.len(), index.len());
    let mut at = 0;
    for (&size, &i) in shape.iter().zip(index) {
        assert!(i < size, "index {index:?} outside {shape:?}");
        at = at * size + i;
    }
    at
}

/// The index of the element that lies at `at`.
pub fn unravel(shape: &[usize], mut at: usize) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for axis in (0..shape.len()).rev() {
        index[axis] = at % shape[axis];
        at /= shape[axis];
    }
    index
}

/// The shape both sides broadcast to: aligned at the last axis, each pair of sizes equal or one of them 1.
pub fn broadcast_shape(a: &[usize], b: &[usize]) -> Vec<usize> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    (0..rank)
        .map(|axis| match (size(a, axis), size(b, axis)) {
            (x, y) if x == y => x,
            (1, y) => y,
            (x, 1) => x,
            _ => panic!("{a:?} and {b:?} do not broadcast"),
        })
        .collect()
}

impl Array {
    pub fn new(shape: &[usize], data: Vec<f64>) -> Array {
        assert_eq!(numel(shape), data.len(), "shape {shape:?} and {} values", data.len());
        Array { shape: shape.to_vec(), data }
    }

    pub fn scalar(value: f64) -> Array {
        Array::new(&[], vec![value])
    }

    pub fn full(shape: &[usize], value: f64) -> Array {
        Array::new(shape, vec![value; numel(shape)])
    }

    pub fn zeros(shape: &[usize]) -> Array {
        Array::full(shape, 0.0)
    }

    pub fn ones(shape: &[usize]) -> Array {
        Array::full(shape, 1.0)
    }

    /// `start, start + step, ...` up to but not including `end`: `ceil((end - start) / step)` values.
    pub fn arange(start: f64, end: f64, step: f64) -> Array {
        let count = ((end - start) / step).ceil().max(0.0) as usize;
        Array::new(&[count], (0..count).map(|i| start + i as f64 * step).collect())
    }

    /// One value per index, in row-major order.
    pub fn generate(shape: &[usize], mut value: impl FnMut(&[usize]) -> f64) -> Array {
        Array::new(shape, (0..numel(shape)).map(|at| value(&unravel(shape, at))).collect())
    }

    pub fn from_f32(shape: &[usize], data: &[f32]) -> Array {
        Array::new(shape, data.iter().map(|&v| f64::from(v)).collect())
    }

    /// The values rounded to `f32`, as the device gets them.
    pub fn to_f32(&self) -> Vec<f32> {
        self.data.iter().map(|&v| v as f32).collect()
    }

    /// The array with every value rounded to the nearest `f32`, so that device and reference start from the same bits.
    pub fn rounded_to_f32(&self) -> Array {
        self.map(|v| f64::from(v as f32))
    }

    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    pub fn numel(&self) -> usize {
        self.data.len()
    }

    pub fn at(&self, index: &[usize]) -> f64 {
        self.data[ravel(&self.shape, index)]
    }

    pub fn item(&self) -> f64 {
        assert_eq!(self.data.len(), 1, "item() of an array of shape {:?}", self.shape);
        self.data[0]
    }

    pub fn map(&self, op: impl Fn(f64) -> f64) -> Array {
        Array { shape: self.shape.clone(), data: self.data.iter().map(|&v| op(v)).collect() }
    }

    /// `op` on pairs, broadcasting.
    pub fn zip(&self, other: &Array, op: impl Fn(f64, f64) -> f64) -> Array {
        let shape = broadcast_shape(&self.shape, &other.shape);
        let (a, b) = (self.expand(&shape), other.expand(&shape));
        Array::new(&shape, a.data.iter().zip(&b.data).map(|(&x, &y)| op(x, y)).collect())
    }

    /// The array repeated along its axes of size 1 (and along new axes in front) to `shape`.
    pub fn expand(&self, shape: &[usize]) -> Array {
        assert_eq!(broadcast_shape(&self.shape, shape), shape, "{:?} does not expand to {shape:?}", self.shape);
        if self.shape == shape {
            return self.clone();
        }
        let lead = shape.len() - self.rank();
        Array::generate(shape, |index| {
            let own: Vec<usize> =
                self.shape.iter().zip(&index[lead..]).map(|(&size, &i)| if size == 1 { 0 } else { i }).collect();
            self.at(&own)
        })
    }

    /// The transpose of `expand`: everything that was repeated is summed back to `shape`.
    pub fn sum_to(&self, shape: &[usize]) -> Array {
        assert_eq!(broadcast_shape(shape, &self.shape), self.shape, "{:?} is no expansion of {shape:?}", self.shape);
        let lead = self.rank() - shape.len();
        let mut out = Array::zeros(shape);
        for (at, &value) in self.data.iter().enumerate() {
            let index = unravel(&self.shape, at);
            let own: Vec<usize> =
                shape.iter().zip(&index[lead..]).map(|(&size, &i)| if size == 1 { 0 } else { i }).collect();
            out.data[ravel(shape, &own)] += value;
        }
        out
    }

    pub fn dot(&self, other: &Array) -> f64 {
        assert_eq!(self.shape, other.shape);
        self.data.iter().zip(&other.data).map(|(a, b)| a * b).sum()
    }

    /// Euclidean length of all values.
    pub fn norm(&self) -> f64 {
        self.dot(self).sqrt()
    }

    pub fn abs(&self) -> Array {
        self.map(f64::abs)
    }
}

mod tests {
    use super::*;

    #[test]
    fn broadcasting_aligns_at_the_last_axis() {
        assert_eq!(broadcast_shape(&[5, 1, 3], &[4, 1]), [5, 4, 3]);
        assert_eq!(broadcast_shape(&[], &[2, 0]), [2, 0]);
        assert_eq!(broadcast_shape(&[1], &[0]), [0]);
        let row = Array::new(&[3], vec![1.0, 2.0, 3.0]);
        let column = Array::new(&[2, 1], vec![10.0, 20.0]);
        assert_eq!(row.zip(&column, |a, b| a + b).data, [11.0, 12.0, 13.0, 21.0, 22.0, 23.0]);
        assert_eq!(Array::ones(&[2, 3]).sum_to(&[3]).data, [2.0; 3]);
        assert_eq!(Array::ones(&[2, 3]).sum_to(&[2, 1]).data, [3.0; 2]);
        assert_eq!(Array::ones(&[2, 3]).sum_to(&[]).item(), 6.0);
    }

    #[test]
    fn ravel_and_unravel_are_inverse() {
        let shape = [2, 3, 5];
        assert_eq!(strides(&shape), [15, 5, 1]);
        for at in 0..numel(&shape) {
            assert_eq!(ravel(&shape, &unravel(&shape, at)), at);
        }
    }
}
