//! Every variant of every kernel: valid, translatable to every backend's language, within the smallest limits, and with
//! the parameters that the host writes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kiln_shaders::{Kernel, Linked, ParamSpace, layouts, link, variants};
use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
use std::collections::{BTreeMap, BTreeSet};

const SPACES: [ParamSpace; 2] = [ParamSpace::Immediate, ParamSpace::Uniform];

fn parse(linked: &Linked, kernel: &Kernel) -> naga::Module {
    naga::front::wgsl::parse_str(&linked.source).unwrap_or_else(|error| {
        let message = error.emit_to_string_with_path(&linked.source, &kernel.label());
        panic!("{kernel:?}\n{}", linked.relocate(&message))
    })
}

/// Validates with exactly the capabilities that the variant declares.
fn validate(module: &naga::Module, linked: &Linked, kernel: &Kernel, space: ParamSpace) -> ModuleInfo {
    let mut capabilities = Capabilities::empty();
    capabilities.set(Capabilities::IMMEDIATES, space == ParamSpace::Immediate);
    capabilities.set(Capabilities::SHADER_FLOAT16, linked.needs_f16());
    capabilities.set(Capabilities::SUBGROUP, linked.needs_subgroups());
    capabilities.set(Capabilities::SHADER_INT64, linked.needs_int64());
    capabilities.set(Capabilities::COOPERATIVE_MATRIX, linked.needs_cooperative_matrices());
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    if linked.needs_subgroups() {
        validator.subgroup_stages(ShaderStages::COMPUTE).subgroup_operations(SubgroupOperationSet::all());
    }
    validator.validate(module).unwrap_or_else(|error| {
        let message = error.emit_to_string_with_path(&linked.source, &kernel.label());
        panic!("{kernel:?}\n{}", linked.relocate(&message))
    })
}

fn translate(module: &naga::Module, info: &ModuleInfo, linked: &Linked, kernel: &Kernel) {
    spv::write_vec(module, info, &spv::Options::default(), None).unwrap_or_else(|error| panic!("{kernel:?}: {error}"));
    // Metal has matrices of 8x8 alone, and naga would write others into text that Metal refuses.
    if linked.source.contains("coop_mat16x16") {
        return;
    }

    let resources = msl::EntryPointResources {
        immediates_buffer: Some(30),
        sizes_buffer: Some(29),
        ..msl::EntryPointResources::default()
    };
    let options = msl::Options {
        lang_version: (2, 4),
        per_entry_point_map: BTreeMap::from([("main".to_owned(), resources)]),
        ..msl::Options::default()
    };
    msl::write_string(module, info, &options, &msl::PipelineOptions::default())
        .unwrap_or_else(|error| panic!("{kernel:?}: {error}"));

    // naga's HLSL writer knows no matrices; no adapter on DX12 is said to have them.
    if linked.needs_cooperative_matrices() {
        return;
    }
    // Shader model 6 is what DX12 takes for subgroups, 16-bit floats and 64-bit integers; without them, 5.1 has to do.
    let modern = linked.needs_f16() || linked.needs_subgroups() || linked.needs_int64();
    let options = hlsl::Options {
        shader_model: if modern { hlsl::ShaderModel::V6_2 } else { hlsl::ShaderModel::V5_1 },
        immediates_target: Some(hlsl::BindTarget { space: 9, ..hlsl::BindTarget::default() }),
        ..hlsl::Options::default()
    };
    let mut text = String::new();
    hlsl::Writer::new(&mut text, &options, &hlsl::PipelineOptions::default())
        .write(module, info, None)
        .unwrap_or_else(|error| panic!("{kernel:?}: {error}"));
}

#[test]
fn every_variant_translates_to_every_backend() {
    for kernel in variants() {
        for space in SPACES {
            let linked = link(&kernel, space).unwrap();
            let module = parse(&linked, &kernel);
            let info = validate(&module, &linked, &kernel, space);
            translate(&module, &info, &linked, &kernel);
            // Capabilities are asked for only where needed, so a kernel of plain floats runs anywhere.
            let has_f16 = module.types.iter().any(|(_, ty)| match ty.inner {
                naga::TypeInner::Scalar(scalar) | naga::TypeInner::Vector { scalar, .. } => scalar.width == 2,
                _ => false,
            });
            assert_eq!(linked.needs_f16(), has_f16, "{kernel:?}");
        }
    }
}

#[test]
fn bindings_are_numbered_without_gaps_and_writable() {
    for kernel in variants() {
        let linked = link(&kernel, ParamSpace::Uniform).unwrap();
        let module = parse(&linked, &kernel);
        let mut numbers = BTreeSet::new();
        for (_, variable) in module.global_variables.iter() {
            match variable.space {
                naga::AddressSpace::Storage { access } => {
                    let binding = variable.binding.unwrap();
                    assert_eq!(binding.group, 0, "{kernel:?}");
                    assert!(numbers.insert(binding.binding), "{kernel:?}");
                    let read_write = naga::StorageAccess::LOAD | naga::StorageAccess::STORE;
                    assert_eq!(access, read_write, "{kernel:?}: one buffer may hold read and written tensors");
                }
                naga::AddressSpace::Uniform => {
                    let binding = variable.binding.unwrap();
                    assert_eq!((binding.group, binding.binding), (1, 0), "{kernel:?}");
                }
                _ => assert!(variable.binding.is_none(), "{kernel:?}"),
            }
        }
        assert_eq!(numbers, (0..linked.bindings()).collect(), "{kernel:?}");
    }
}

/// Blocks of a function, its nested ones included.
fn blocks<'a>(block: &'a naga::Block, visit: &mut impl FnMut(&'a naga::Statement)) {
    for statement in block {
        visit(statement);
        match statement {
            naga::Statement::Block(inner) => blocks(inner, visit),
            naga::Statement::If { accept, reject, .. } => {
                blocks(accept, visit);
                blocks(reject, visit);
            }
            naga::Statement::Switch { cases, .. } => cases.iter().for_each(|case| blocks(&case.body, visit)),
            naga::Statement::Loop { body, continuing, .. } => {
                blocks(body, visit);
                blocks(continuing, visit);
            }
            _ => {}
        }
    }
}

#[test]
fn nothing_depends_on_the_order_of_threads_or_on_large_limits() {
    for kernel in variants() {
        let linked = link(&kernel, ParamSpace::Uniform).unwrap();
        let module = parse(&linked, &kernel);
        for (_, ty) in module.types.iter() {
            if let naga::TypeInner::Atomic(scalar) = ty.inner {
                assert_ne!(scalar.kind, naga::ScalarKind::Float, "{kernel:?}: float atomics add in any order");
            }
        }
        let functions = module.functions.iter().map(|(_, function)| function);
        for function in functions.chain(module.entry_points.iter().map(|entry| &entry.function)) {
            blocks(&function.body, &mut |statement| {
                if let naga::Statement::Atomic { fun, result, .. } = statement {
                    let commutes = matches!(
                        fun,
                        naga::AtomicFunction::And | naga::AtomicFunction::InclusiveOr | naga::AtomicFunction::Add
                    );
                    let unread = result.is_none_or(|result| !function.named_expressions.contains_key(&result));
                    assert!(commutes && unread, "{kernel:?}: {fun:?} shows the order of threads");
                }
            });
        }
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let workgroup: u32 = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space == naga::AddressSpace::WorkGroup)
            .map(|(_, variable)| layouter[variable.ty].size)
            .sum();
        // Every adapter has 16 KiB; those with matrix units have 32 and more.
        let most = if linked.needs_cooperative_matrices() { 32 << 10 } else { 16 << 10 };
        assert!(workgroup <= most, "{kernel:?}: {workgroup} bytes of workgroup memory");
        assert_eq!(module.entry_points.len(), 1, "{kernel:?}");
        let entry = &module.entry_points[0];
        assert_eq!(entry.name, "main");
        assert!(entry.workgroup_size.iter().product::<u32>() <= 256, "{kernel:?}: {:?}", entry.workgroup_size);
    }
}

#[test]
fn host_structs_have_the_layout_of_params() {
    let layouts = layouts();
    let mut compared = BTreeSet::new();
    for kernel in variants() {
        let linked = link(&kernel, ParamSpace::Uniform).unwrap();
        let module = parse(&linked, &kernel);
        let params = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some("Params"));
        let Some((handle, ty)) = params else {
            assert_eq!(linked.params_bytes(), 0, "{kernel:?}");
            continue;
        };
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let size = layouter[handle].to_stride();
        assert_eq!(linked.params_bytes(), size, "{kernel:?}");
        let file = kernel.file();
        let host = layouts
            .iter()
            .find(|layout| layout.files.contains(&file))
            .unwrap_or_else(|| panic!("{file} has no host struct"));
        assert_eq!(host.bytes, size as usize, "{file}: the size of Params");
        let naga::TypeInner::Struct { members, .. } = &ty.inner else { panic!("{file}: Params is no struct") };
        for member in members {
            let name = member.name.as_deref().unwrap();
            let offset = |wanted: &str| host.fields.iter().find(|(name, _)| *name == wanted).map(|(_, offset)| *offset);
            // `strides2` is element 2 of the host's array `strides`.
            let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
            let found = offset(name).or_else(|| Some(offset(stem)? + 16 * name[stem.len()..].parse::<usize>().ok()?));
            assert_eq!(found, Some(member.offset as usize), "{file}: the offset of {name}");
        }
        compared.insert(file);
    }
    for layout in layouts {
        for file in layout.files {
            assert!(compared.contains(file), "no variant of {file} uses its host struct");
        }
    }
}

#[test]
fn every_file_has_a_variant_and_every_part_a_user() {
    let named: BTreeSet<String> = variants().iter().map(|kernel| kernel.file().to_owned()).collect();
    let stems = |folder: &str| -> BTreeSet<String> {
        std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "wgsl"))
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(named, stems("."));
    let mut used = BTreeSet::new();
    for kernel in variants() {
        let linked = link(&kernel, ParamSpace::Uniform).unwrap();
        for line in 1..=linked.source.lines().count() as u32 {
            let file = linked.locate(line).unwrap().file;
            if let Some(part) = file.strip_prefix("shaders/part/").and_then(|file| file.strip_suffix(".wgsl")) {
                used.insert(part.to_owned());
            }
        }
    }
    assert_eq!(used, stems("part"));
}

#[test]
fn variants_are_distinct() {
    let all = variants();
    let distinct: std::collections::HashSet<&Kernel> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
}
