//! Every kernel that the library can ask for, as data.

use crate::{Kernel, contract};

/// Every variant of every kernel that the library can ask for.
///
/// Tests parse, validate and translate each of them; a kernel file that no variant names fails a test.
pub fn variants() -> Vec<Kernel> {
    let mut variants = vec![Kernel::new("arange").alias("T", "f32"), Kernel::new("arange").alias("T", "i32")];
    variants.extend(contract::variants());
    variants
}
