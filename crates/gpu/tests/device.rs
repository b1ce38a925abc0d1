//! The GPU layer on the adapter that the machine has.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kiln_gpu::{Binding, Device, GpuError, Options, ParamSpace, Pipeline, PipelineDescriptor};

fn device() -> Device {
    Device::open_default().expect("tests need an adapter: cargo xtask test installs a software one")
}

/// `x[i] = x[i] * scale + i`, with the parameters in the space that the device prefers or in the one given.
fn affine(device: &Device, space: ParamSpace) -> Pipeline {
    let declaration = match space {
        ParamSpace::Immediate => "var<immediate> params: Params;",
        ParamSpace::Uniform => "@group(1) @binding(0) var<uniform> params: Params;",
    };
    let source = format!(
        "struct Params {{ n: u32, scale: f32, a: u32, b: u32 }}
         {declaration}
         @group(0) @binding(0) var<storage, read_write> x: array<f32>;
         @compute @workgroup_size(64)
         fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>,
                 @builtin(local_invocation_index) lane: u32) {{
             let i = (wid.x + wid.y * nwg.x) * 64u + lane;
             if (i < params.n) {{ x[i] = x[i] * params.scale + f32(i); }}
         }}"
    );
    device
        .pipeline(&PipelineDescriptor {
            label: "affine",
            source: &source,
            bindings: 1,
            params_bytes: 16,
            param_space: space,
        })
        .unwrap()
}

/// A kernel of its own for each number: `x[i] = x[i] * 0.75 + number / (i + 3)`, compiled at once or later.
fn numbered(device: &Device, number: u32, later: bool) -> Pipeline {
    let label = format!("numbered {number}");
    let source = format!(
        "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
         @compute @workgroup_size(64)
         fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
             let i = id.x;
             x[i] = fma(x[i], 0.75, {number}.0 / f32(i + 3u));
         }}"
    );
    let descriptor = PipelineDescriptor {
        label: &label,
        source: &source,
        bindings: 1,
        params_bytes: 0,
        param_space: ParamSpace::Uniform,
    };
    if later { device.deferred_pipeline(&descriptor, |message| message) } else { device.pipeline(&descriptor) }.unwrap()
}

/// A kernel that does not compile, with its message marked as explained.
fn broken(device: &Device) -> Pipeline {
    let descriptor = PipelineDescriptor {
        label: "broken",
        source: "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
                 @compute @workgroup_size(1) fn main() { nothing(); }",
        bindings: 1,
        params_bytes: 0,
        param_space: ParamSpace::Uniform,
    };
    device.deferred_pipeline(&descriptor, |message| format!("explained: {message}")).unwrap()
}

fn params(n: u32, scale: f32) -> Vec<u8> {
    [n, scale.to_bits(), 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn whole(allocation: &kiln_gpu::Allocation) -> Binding<'_> {
    Binding { allocation, offset: 0, size: allocation.bytes() }
}

#[test]
fn launches_run_in_order_with_parameters_in_either_space() {
    let device = device();
    let minimal = Device::open(Options::new().minimal()).unwrap();
    for (device, space) in
        [(&device, device.param_space(16)), (&device, ParamSpace::Uniform), (&minimal, minimal.param_space(16))]
    {
        let kernel = affine(device, space);
        let x = device.allocate(400, "test").unwrap();
        device.write(&x, 0, &[1.0f32; 100]).unwrap();
        // More launches than a batch holds and than the ring has slots.
        for step in 0..600 {
            let scale = if step % 2 == 0 { 2.0 } else { 0.5 };
            device.launch(&kernel, &[whole(&x)], &params(0, scale), 2).unwrap();
            device.launch(&kernel, &[whole(&x)], &params(100, 1.0), 2).unwrap();
        }
        let result = device.read_blocking::<f32>(&x, 0, 100).unwrap();
        let expected: Vec<f32> = (0..100).map(|i| 1.0 + 600.0 * i as f32).collect();
        assert_eq!(result, expected);
    }
    assert_eq!(minimal.param_space(16), ParamSpace::Uniform);
    assert_eq!(minimal.info().limits.binding_bytes, 128 << 20);
}

#[test]
fn more_workgroups_than_a_dimension_has() {
    let device = device();
    let n = 65_536u32 * 64 + 77;
    let kernel = affine(&device, device.param_space(16));
    let x = device.allocate(u64::from(n) * 4, "test").unwrap();
    device.launch(&kernel, &[whole(&x)], &params(n, 0.0), u64::from(n).div_ceil(64)).unwrap();
    let tail = device.read_blocking::<f32>(&x, u64::from(n - 3) * 4, 3).unwrap();
    assert_eq!(tail, [(n - 3) as f32, (n - 2) as f32, (n - 1) as f32]);
}

#[test]
fn memory_is_reused_and_counted() {
    let device = device();
    let before = device.memory();
    assert_eq!((before.in_use, before.reserved), (0, 0));
    let mut reserved = 0;
    for round in 0..1000u64 {
        let small = device.allocate(1000, "small").unwrap();
        let large = device.allocate(3_000_000, "large").unwrap();
        let report = device.memory();
        assert_eq!(report.in_use, small.capacity() + large.capacity());
        assert_eq!(report.holders[0].label, "large");
        if round == 0 {
            reserved = report.reserved;
        }
        assert_eq!(report.reserved, reserved, "flat from the first round on");
    }
    let after = device.memory();
    assert_eq!((after.in_use, after.allocations, after.holders.len()), (0, 0, 0));
    assert_eq!(after.peak, 1024 + device.allocate(3_000_000, "large").unwrap().capacity());
    device.trim();
    assert_eq!(device.memory().reserved, 0);
    // And it works again after everything was given back.
    let x = device.allocate(16, "again").unwrap();
    device.write(&x, 0, &[7u32; 4]).unwrap();
    assert_eq!(device.read_blocking::<u32>(&x, 0, 4).unwrap(), [7; 4]);
}

#[test]
fn many_small_allocations_share_buffers_without_overlap() {
    let device = device();
    let held: Vec<_> = (0..5000u32)
        .map(|i| {
            let x = device.allocate(1200, "small").unwrap();
            device.write(&x, 0, &[i; 300]).unwrap();
            x
        })
        .collect();
    assert_eq!(device.memory().reserved, 8 << 20, "6.1 MiB of small ones share two buffers");
    for i in [0usize, 1, 3276, 3277, 4999] {
        assert_eq!(device.read_blocking::<u32>(&held[i], 0, 300).unwrap(), vec![i as u32; 300]);
    }
}

#[test]
fn writes_respect_launches_recorded_before() {
    let device = device();
    let kernel = affine(&device, device.param_space(16));
    let (x, copy) = (device.allocate(4, "x").unwrap(), device.allocate(4, "copy").unwrap());
    device.write(&x, 0, &[5.0f32]).unwrap();
    device.write(&copy, 0, &[1.0f32]).unwrap();
    device.launch(&kernel, &[whole(&x)], &params(1, 3.0), 1).unwrap();
    device.write(&copy, 0, &[2.0f32]).unwrap();
    device.launch(&kernel, &[whole(&copy)], &params(1, 10.0), 1).unwrap();
    device.write(&x, 0, &[9.0f32]).unwrap();
    assert_eq!(device.read_blocking::<f32>(&copy, 0, 1).unwrap(), [20.0]);
    assert_eq!(device.read_blocking::<f32>(&x, 0, 1).unwrap(), [9.0]);
}

#[test]
fn bytes_that_fill_no_word_arrive() {
    let device = device();
    let x = device.allocate(7, "bytes").unwrap();
    device.write(&x, 0, &[1u8, 2, 3, 4, 5, 6, 7]).unwrap();
    assert_eq!(device.read_blocking::<u8>(&x, 0, 7).unwrap(), [1, 2, 3, 4, 5, 6, 7]);
    assert!(device.read_blocking::<u8>(&x, 0, 0).unwrap().is_empty());
}

#[test]
fn a_read_resolves_without_blocking_the_caller() {
    let device = device();
    let x = device.allocate(16, "x").unwrap();
    device.write(&x, 0, &[3u32; 4]).unwrap();
    let read = device.read::<u32>(&x, 0, 4);
    device.write(&x, 0, &[4u32; 4]).unwrap();
    assert_eq!(pollster::block_on(read).unwrap(), [3; 4], "the read sees the memory as it was when asked for");
}

#[test]
fn errors_say_what_was_given_and_what_is_needed() {
    let device = device();
    let limit = device.info().limits.buffer_bytes;
    assert_eq!(
        device.allocate(limit + 1, "weights").unwrap_err().to_string(),
        format!(
            "weights: {} bytes are more than this adapter's largest buffer of {limit} bytes; use a smaller batch or split \
             the tensor",
            limit + 1
        )
    );
    let x = device.allocate(256, "x").unwrap();
    assert_eq!(
        device.write(&x, 252, &[0u32; 2]).unwrap_err().to_string(),
        "write: bytes 252..260 of an allocation of 256 bytes; the range must lie inside and start and end at a multiple of 4"
    );
    let kernel = affine(&device, device.param_space(16));
    assert_eq!(
        device.launch(&kernel, &[], &[], 1).unwrap_err().to_string(),
        "affine: 0 bindings and 0 bytes of parameters; needs 1 and 16"
    );
    let error = device
        .pipeline(&PipelineDescriptor {
            label: "broken",
            source: "@compute @workgroup_size(1) fn main() { nothing(); }",
            bindings: 0,
            params_bytes: 0,
            param_space: ParamSpace::Uniform,
        })
        .unwrap_err();
    assert!(matches!(&error, GpuError::Validation { label, .. } if label == "broken"), "{error}");
    assert!(error.to_string().contains("nothing"), "{error}");
    device.sync().expect("a rejected shader leaves the device usable");
}

#[test]
fn kernels_compiled_later_give_the_same_bits() {
    // Fewer than a batch holds, and more.
    for count in [1, 2, 30, 120] {
        let run = |later: bool| {
            let device = Device::open(Options::new().no_cache()).unwrap();
            let x = device.allocate(256, "x").unwrap();
            device.write(&x, 0, &[1.0f32; 64]).unwrap();
            let affine = affine(&device, device.param_space(16));
            for number in 0..count {
                device.launch(&numbered(&device, number, later), &[whole(&x)], &[], 1).unwrap();
                // Parameters find their launches among those that have none.
                device.launch(&affine, &[whole(&x)], &params(number % 64, 0.5), 1).unwrap();
            }
            let bits: Vec<u32> = device.read_blocking(&x, 0, 64).unwrap();
            bits
        };
        assert_eq!(run(true), run(false), "{count} kernels");
    }
}

#[test]
fn a_kernel_that_does_not_compile_later_is_a_fault_from_the_submission_on() {
    let text = |error: GpuError| {
        let text = error.to_string();
        assert!(matches!(&error, GpuError::Validation { label, .. } if label == "broken"), "{text}");
        assert!(text.starts_with("broken: explained: ") && text.contains("nothing"), "{text}");
    };
    type Call = fn(&Device, &kiln_gpu::Allocation) -> Option<GpuError>;
    let calls: [(&str, Call); 6] = [
        ("submit", |device, _| device.submit().err()),
        ("sync", |device, _| device.sync().err()),
        ("read", |device, x| pollster::block_on(device.read::<f32>(x, 0, 1)).err()),
        ("read_blocking", |device, x| device.read_blocking::<f32>(x, 0, 1).err()),
        ("write", |device, x| device.write(x, 0, &[1.0f32]).err()),
        ("launch", |device, x| {
            // Fills the batch, which submits it.
            let good = numbered(device, 1, true);
            (0..60).find_map(|_| device.launch(&good, &[whole(x)], &[], 1).err())
        }),
    ];
    for (first, call) in calls {
        for others in [0, 5] {
            let device = device();
            let x = device.allocate(256, "x").unwrap();
            for number in 0..others {
                device.launch(&numbered(&device, number, true), &[whole(&x)], &[], 1).unwrap();
            }
            device.launch(&broken(&device), &[whole(&x)], &[], 1).expect("nothing is compiled yet");
            text(call(&device, &x).unwrap_or_else(|| panic!("{first} says nothing")));
            for (_, again) in &calls[..5] {
                text(again(&device, &x).unwrap_or_else(|| panic!("nothing is said after {first}")));
            }
            text(device.allocate(16, "more").unwrap_err());
        }
    }
}

#[test]
fn a_kernel_that_is_asked_to_compile_now_leaves_the_device_usable() {
    let device = device();
    let x = device.allocate(256, "x").unwrap();
    let (good, bad) = (numbered(&device, 3, true), broken(&device));
    let error = device.compile(&[good.clone(), bad.clone(), good.clone()]).unwrap_err();
    assert!(error.to_string().starts_with("broken: explained: "), "{error}");
    assert_eq!(device.launch(&bad, &[whole(&x)], &[], 1).unwrap_err().to_string(), error.to_string());
    device.write(&x, 0, &[4.0f32; 64]).unwrap();
    device.launch(&good, &[whole(&x)], &[], 1).unwrap();
    assert_eq!(device.read_blocking::<f32>(&x, 0, 1).unwrap(), [4.0]);
    let other = Device::open(Options::new().no_cache()).unwrap();
    let foreign = "numbered 3: the pipeline belongs to another device; compile it on this one";
    assert_eq!(other.compile(std::slice::from_ref(&good)).unwrap_err().to_string(), foreign);
}

#[test]
fn reads_and_writes_keep_their_place_among_launches() {
    let device = device();
    let x = device.allocate(256, "x").unwrap();
    device.write(&x, 0, &[8.0f32; 64]).unwrap();
    let mut reads = Vec::new();
    for number in 0..6u32 {
        // New at its first launch each time, so nothing is compiled when the read is asked for.
        device.launch(&numbered(&device, 3 * number, true), &[whole(&x)], &[], 1).unwrap();
        reads.push(device.read::<f32>(&x, 0, 1));
        if number == 3 {
            device.write(&x, 0, &[100.0f32]).unwrap();
        }
    }
    let mut value = 8.0f32;
    for (number, read) in reads.into_iter().enumerate() {
        value = value * 0.75 + number as f32;
        assert_eq!(pollster::block_on(read).unwrap(), [value], "after launch {number}");
        if number == 3 {
            value = 100.0;
        }
    }
}

#[test]
fn threads_record_on_one_device_with_kernels_that_are_not_compiled() {
    let device = Device::open(Options::new().no_cache()).unwrap();
    // Each kernel is launched by all threads, so that they meet at its compilation.
    let kernels: Vec<Pipeline> = (0..90).map(|number| numbered(&device, number, true)).collect();
    let expected = {
        let x = device.allocate(256, "x").unwrap();
        device.write(&x, 0, &[1.0f32; 64]).unwrap();
        for number in 0..90 {
            device.launch(&numbered(&device, number, false), &[whole(&x)], &[], 1).unwrap();
        }
        device.read_blocking::<u32>(&x, 0, 64).unwrap()
    };
    std::thread::scope(|scope| {
        for thread in 0..4usize {
            let (device, kernels, expected) = (&device, &kernels, &expected);
            scope.spawn(move || {
                let x = device.allocate(256, "x").unwrap();
                device.write(&x, 0, &[1.0f32; 64]).unwrap();
                for (number, kernel) in kernels.iter().enumerate() {
                    device.launch(kernel, &[whole(&x)], &[], 1).unwrap();
                    match (number + thread) % 9 {
                        0 => device.submit().unwrap(),
                        4 => device.compile(&kernels[number..(number + 4).min(90)]).unwrap(),
                        _ => {}
                    }
                }
                assert_eq!(&device.read_blocking::<u32>(&x, 0, 64).unwrap(), expected, "thread {thread}");
            });
        }
    });
}

#[test]
fn no_adapter_is_an_error_that_lists_what_there_is() {
    let error = Device::open(Options::new().ignore_environment().adapter("no such adapter")).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("no GPU adapter matches adapter \"no such adapter\": seen: [0] "), "{text}");
    assert!(
        text.ends_with(
            "set KILN_ADAPTER to an index or a part of a name above, KILN_BACKEND to its backend, or unset both"
        ),
        "{text}"
    );
}

#[test]
fn a_lost_device_is_an_error_everywhere_and_never_a_panic() {
    for point in 0..6 {
        let device = device();
        let kernel = affine(&device, device.param_space(16));
        let x = device.allocate(400, "x").unwrap();
        device.write(&x, 0, &[1.0f32; 100]).unwrap();
        for _ in 0..point * 20 {
            device.launch(&kernel, &[whole(&x)], &params(100, 1.0), 2).unwrap();
        }
        device.destroy();
        let lost = |error: GpuError| assert!(matches!(error, GpuError::DeviceLost { .. }), "{error}");
        lost(device.launch(&kernel, &[whole(&x)], &params(100, 1.0), 2).unwrap_err());
        lost(device.sync().unwrap_err());
        lost(device.read_blocking::<f32>(&x, 0, 1).unwrap_err());
        lost(pollster::block_on(device.read::<f32>(&x, 0, 1)).unwrap_err());
        lost(device.write(&x, 0, &[1.0f32]).unwrap_err());
        lost(device.allocate(1 << 24, "more").unwrap_err());
        lost(device.submit().unwrap_err());
    }
}

#[test]
fn the_profiler_names_layers_and_ops() {
    let device = device();
    if !device.info().features.timestamps {
        assert!(matches!(device.start_profile(), Err(GpuError::NoTimestamps { .. })));
        return;
    }
    let kernel = affine(&device, device.param_space(16));
    let x = device.allocate(1 << 20, "x").unwrap();
    device.start_profile().unwrap();
    {
        let _outer = device.scope("features");
        let _inner = device.scope("0");
        assert_eq!(device.current_scope().as_deref(), Some("features.0"));
        for _ in 0..100 {
            device.launch(&kernel, &[whole(&x)], &params(1 << 18, 1.0), 1 << 12).unwrap();
        }
    }
    assert_eq!(device.current_scope(), None);
    device.launch(&kernel, &[whole(&x)], &params(1 << 18, 1.0), 1 << 12).unwrap();
    // Nothing is left to submit then.
    device.sync().unwrap();
    let profile = device.finish_profile().unwrap();
    assert_eq!(profile.events.len(), 101);
    assert_eq!((profile.events[0].layer.as_str(), profile.events[0].op.as_str()), ("features.0", "affine"));
    // The scopes are those of the launch, not of the later moment when its batch is encoded.
    assert!(profile.events[..100].iter().all(|event| event.layer == "features.0"));
    assert_eq!(profile.events[100].layer, "");
    assert!(profile.events.iter().all(|event| event.duration_us > 0.0), "every launch took time");
    assert!(profile.events.windows(2).all(|pair| pair[0].start_us <= pair[1].start_us), "in order");
    let table = profile.table();
    assert!(table.lines().nth(1).unwrap().starts_with("features.0  affine       100"), "{table}");
    let trace: serde_json::Value = serde_json::from_str(&profile.chrome_trace()).unwrap();
    assert_eq!(trace["traceEvents"].as_array().unwrap().len(), 101);
    // Afterwards launches are batched again.
    device.launch(&kernel, &[whole(&x)], &params(1, 1.0), 1).unwrap();
    device.sync().unwrap();
}

#[test]
fn a_binding_larger_than_the_adapter_can_bind_is_an_error() {
    let device = Device::open(Options::new().minimal()).unwrap();
    let kernel = affine(&device, device.param_space(16));
    let x = device.allocate((128 << 20) + 4096, "large").unwrap();
    assert_eq!(
        device.launch(&kernel, &[whole(&x)], &params(1, 1.0), 1).unwrap_err().to_string(),
        "affine: a binding of 134221824 bytes is larger than this adapter's limit of 134217728 bytes; split the operation"
    );
    // A window at its end works.
    device.launch(&kernel, &[Binding { allocation: &x, offset: 128 << 20, size: 4096 }], &params(9, 0.0), 1).unwrap();
    assert_eq!(device.read_blocking::<f32>(&x, (128 << 20) + 8 * 4, 1).unwrap(), [8.0]);
}

#[test]
fn compiled_kernels_are_kept_and_a_damaged_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let run = || {
        let device = Device::open(Options::new().cache_dir(&cache)).unwrap();
        assert_eq!(device.cache_dir(), Some(cache.as_path()));
        let kernel = affine(&device, device.param_space(16));
        let x = device.allocate(64 * 4, "test").unwrap();
        device.write(&x, 0, &[1.0f32; 64]).unwrap();
        device.launch(&kernel, &[whole(&x)], &params(64, 2.0), 1).unwrap();
        assert_eq!(device.read_blocking::<f32>(&x, 4 * 4, 2).unwrap(), [6.0, 7.0]);
        device
    };
    let device = run();
    assert!(!cache.exists(), "nothing is written unasked");
    device.save_pipelines().unwrap();
    if !device.info().features.pipeline_cache {
        return;
    }
    let files: Vec<_> = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    let written = std::fs::read(file).unwrap();
    let mut flipped = written.clone();
    flipped[written.len() / 2] ^= 0xff;
    for damaged in [&flipped, &written[..written.len() / 2], b"", &[0; 5000]] {
        std::fs::write(file, damaged).unwrap();
        run().save_pipelines().unwrap();
        let again = std::fs::read(file).unwrap();
        assert_eq!(again[..8], *b"KILNPSO1");
        assert!(again != damaged, "a damaged file of {} bytes was left", damaged.len());
    }
    // What did not change is not written again.
    std::fs::remove_file(file).unwrap();
    device.save_pipelines().unwrap();
    assert!(!file.exists());
    let quiet = Device::open(Options::new().no_cache()).unwrap();
    assert_eq!(quiet.cache_dir(), None);
    quiet.save_pipelines().unwrap();
    // A folder that cannot be made is told.
    std::fs::write(folder.path().join("taken"), "").unwrap();
    let taken = Device::open(Options::new().cache_dir(folder.path().join("taken"))).unwrap();
    affine(&taken, taken.param_space(16));
    let error = taken.save_pipelines().unwrap_err();
    assert!(matches!(error, GpuError::Cache { .. }));
    let start = format!("{}", folder.path().join("taken").display());
    assert!(error.to_string().starts_with(&start), "{error}");
    assert!(
        error.to_string().ends_with("; set KILN_CACHE_DIR to a folder that can be written, or to nothing"),
        "{error}"
    );
}
