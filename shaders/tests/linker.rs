//! The linker by itself: what it writes, and what it says about wrong input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kiln_shaders::{Kernel, LinkError, Location, ParamSpace, link};
use std::collections::HashSet;

#[test]
fn header_comes_first_in_order_and_f16_is_enabled_before_it() {
    let kernel = Kernel::new("arange")
        .constant("A", 64u32)
        .constant("B", -3i32)
        .constant("C", true)
        .constant("D", 1e-7f32)
        .constant("E", i32::MIN)
        .alias("T", "f16")
        .function("fn one() -> f32 { return 1.0; }");
    let linked = link(&kernel, ParamSpace::Immediate).unwrap();
    let head = "enable f16;\nconst A = 64u;\nconst B = -3i;\nconst C = true;\nconst D = 1e-7f;\n\
                const E = -2147483647i - 1i;\nalias T = f16;\nfn one() -> f32 { return 1.0; }\n\
                var<immediate> params: Params;\n";
    assert!(linked.source.starts_with(head), "{}", linked.source);
    assert!(linked.needs_f16());
    assert!(!linked.needs_subgroups());
    assert_eq!((linked.bindings(), linked.params_bytes()), (1, 16));
}

#[test]
fn parameters_are_a_uniform_on_request() {
    let linked = link(&Kernel::new("arange").alias("T", "f32"), ParamSpace::Uniform).unwrap();
    assert!(linked.source.contains("@group(1) @binding(0) var<uniform> params: Params;"));
    assert!(!linked.needs_f16());
}

#[test]
fn lines_are_found_again() {
    let linked = link(&Kernel::new("arange").alias("T", "f32"), ParamSpace::Uniform).unwrap();
    assert_eq!(linked.locate(1), Some(Location { file: "arange (header)".to_owned(), line: 1 }));
    assert_eq!(linked.locate(0), None);
    let lines: Vec<&str> = linked.source.lines().collect();
    for (wanted, file, text) in [
        ("fn group_index(", "shaders/part/index.wgsl", include_str!("../part/index.wgsl")),
        ("struct Params", "shaders/arange.wgsl", include_str!("../arange.wgsl")),
    ] {
        let line = lines.iter().position(|line| line.starts_with(wanted)).unwrap() as u32 + 1;
        let own = text.lines().position(|line| line.starts_with(wanted)).unwrap() as u32 + 1;
        assert_eq!(linked.locate(line), Some(Location { file: file.to_owned(), line: own }));
    }
    assert_eq!(linked.locate(lines.len() as u32 + 1), None);
}

#[test]
fn messages_name_file_and_line() {
    // `T` is not declared, so naga complains about a line of arange.wgsl.
    let linked = link(&Kernel::new("arange"), ParamSpace::Uniform).unwrap();
    let message =
        naga::front::wgsl::parse_str(&linked.source).unwrap_err().emit_to_string_with_path(&linked.source, "arange");
    let text = include_str!("../arange.wgsl");
    let own = text.lines().position(|line| line.contains("array<vec4<T>>")).unwrap() + 1;
    let relocated = linked.relocate(&message);
    assert!(relocated.contains(&format!("┌─ shaders/arange.wgsl:{own}:")), "{message}\n{relocated}");
    assert!(relocated.contains(&format!("{own} │ @group(0)")), "{message}\n{relocated}");
}

#[test]
fn wrong_kernels_are_told_what_is_there() {
    let error = |kernel: Kernel| link(&kernel, ParamSpace::Uniform).unwrap_err().to_string();
    let message = error(Kernel::new("gem"));
    assert!(message.starts_with("link: there is no kernel file `gem`; name one of: "), "{message}");
    assert!(message.contains("arange"), "{message}");
    assert_eq!(
        error(Kernel::new("arange").alias("T", "f32").constant("T", 1u32)),
        "link: the header of `arange` declares `T` twice; keep one of the two"
    );
    assert_eq!(
        error(Kernel::new("arange").alias("T", "f32").constant("LIMIT", f32::INFINITY)),
        "link: the constant `LIMIT` of `arange` is inf, which WGSL cannot write; pass it in the parameters"
    );
    assert_eq!(
        error(Kernel::new("reduce").part("forest")).split_once("; name one of: ").unwrap().0,
        "link: reduce (header) uses the part `forest`, which does not exist"
    );
    let unknown = LinkError::UnknownPart { part: "x".into(), user: "shaders/y.wgsl".into(), known: "index".into() };
    assert_eq!(unknown.to_string(), "link: shaders/y.wgsl uses the part `x`, which does not exist; name one of: index");
}

#[test]
fn kernels_are_keys() {
    let long =
        |last: u32| (0..14u32).fold(Kernel::new("arange"), |kernel, i| kernel.constant("N", i)).constant("LAST", last);
    let keys: HashSet<Kernel> = [
        Kernel::new("arange").alias("T", "f32"),
        Kernel::new("arange").alias("T", "f32"),
        Kernel::new("arange").alias("T", "i32"),
        Kernel::new("arange").constant("T", 1u32),
        Kernel::new("arange").constant("T", 1i32),
        long(1),
        long(1),
        long(2),
    ]
    .into_iter()
    .collect();
    assert_eq!(keys.len(), 6);
    assert_eq!(Kernel::new("arange").constant("N", 4u32).alias("T", "f32").label(), "arange(N=4u, T=f32)");
}
