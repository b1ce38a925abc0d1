//! Every kernel that the library can ask for, as data.

use crate::Kernel;

/// Every variant of every kernel that the library can ask for.
///
/// Tests parse, validate and translate each of them; a kernel file that no variant names fails a test.
pub fn variants() -> Vec<Kernel> {
    vec![Kernel::new("arange").alias("T", "f32"), Kernel::new("arange").alias("T", "i32")]
}
