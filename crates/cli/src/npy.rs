//! NumPy's file format, of one kind of array: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

/// The bytes of a `.npy` file with a two-dimensional array of f32: `rows` of as many columns, one after the other.
pub(crate) fn encode(rows: usize, columns: usize, values: &[f32]) -> Vec<u8> {
    /// The magic string and version 1.0, in front of two bytes for the header's length.
    const START: &[u8] = b"\x93NUMPY\x01\x00";
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    // The values begin at a multiple of 64 bytes, and a line break ends the header.
    let unpadded = START.len() + 2 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');

    let mut bytes = START.to_vec();
    // Two numbers and a few words are far below 2^16 bytes.
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `numpy.save` writes `numpy.array([[1, -2.5, 0]], 'f4')` (NumPy 2.4).
    #[test]
    fn the_bytes_are_numpys() {
        let mut expected =
            b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }".to_vec();
        expected.resize(127, b' ');
        expected.push(b'\n');
        expected.extend(b"\x00\x00\x80\x3f\x00\x00\x20\xc0\x00\x00\x00\x00");
        assert_eq!(encode(1, 3, &[1.0, -2.5, 0.0]), expected);
    }

    #[test]
    fn values_begin_at_a_multiple_of_64() {
        for rows in [1, 10, 12_345, 1 << 40] {
            let bytes = encode(rows, 0, &[]);
            assert_eq!((bytes.len() % 64, bytes.last()), (0, Some(&b'\n')));
            assert_eq!(usize::from(u16::from_le_bytes([bytes[8], bytes[9]])), bytes.len() - 10);
        }
    }
}
