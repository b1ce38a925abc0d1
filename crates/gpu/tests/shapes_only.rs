//! A device without a GPU behind it. The first tests need no adapter.
#![allow(clippy::unwrap_used)]

use kiln_gpu::{AdapterInfo, Allocation, Binding, Device, GpuError, Live, Options, PipelineDescriptor};

/// What no compiler takes: nothing may compile it.
fn nonsense<'a>(device: &Device) -> PipelineDescriptor<'a> {
    let param_space = device.param_space(8);
    PipelineDescriptor { label: "nonsense", source: "no kernel", bindings: 1, params_bytes: 8, param_space }
}

fn whole(allocation: &Allocation) -> Binding<'_> {
    Binding { allocation, offset: 0, size: allocation.bytes() }
}

#[test]
fn launches_are_checked_and_counted_and_nothing_is_compiled() {
    for info in [AdapterInfo::software(), AdapterInfo::discrete()] {
        let device = Device::shapes_only(info.clone());
        assert!(device.is_shapes_only() && *device.info() == info);
        let pipeline = device.pipeline(&nonsense(&device)).unwrap();
        let later = device.deferred_pipeline(&nonsense(&device), |message| message).unwrap();
        let x = device.allocate(1024, "x").unwrap();
        device.write(&x, 0, &[1.0f32; 256]).unwrap();
        // More than a batch, and more parameters than a uniform buffer takes.
        for _ in 0..300 {
            device.launch(&pipeline, &[whole(&x)], &[0; 8], 1 << 20).unwrap();
            device.launch(&later, &[whole(&x)], &[0; 8], 1).unwrap();
        }
        device.launch(&pipeline, &[whole(&x)], &[0; 8], 0).unwrap();
        assert_eq!(device.launches(), 600);
        device.compile(&[pipeline.clone(), later]).unwrap();
        device.submit().unwrap();
        device.sync().unwrap();
        device.save_pipelines().unwrap();

        // The errors of a call are those of every device.
        let wrong = device.launch(&pipeline, &[], &[0; 8], 1).unwrap_err();
        assert_eq!(wrong.to_string(), "nonsense: 0 bindings and 8 bytes of parameters; needs 1 and 8");
        let long = Binding { allocation: &x, offset: 0, size: 2048 };
        assert!(matches!(device.launch(&pipeline, &[long], &[0; 8], 1), Err(GpuError::Launch { .. })));
        assert!(matches!(device.write(&x, 1024, &[1.0f32]), Err(GpuError::Range { .. })));
        let limit = info.limits.buffer_bytes;
        assert!(matches!(device.allocate(limit + 1, "y"), Err(GpuError::TooLarge { .. })));
        let other = Device::shapes_only(info).allocate(1024, "x").unwrap();
        assert!(matches!(device.launch(&pipeline, &[whole(&other)], &[0; 8], 1), Err(GpuError::Launch { .. })));
    }
}

#[test]
fn values_are_an_error_that_says_so() {
    let device = Device::shapes_only(AdapterInfo::software());
    let x = device.allocate(16, "x").unwrap();
    let said = "read: this device computes shapes and memory only, no values; open an adapter by Device::open";
    assert_eq!(device.read_blocking::<f32>(&x, 0, 4).unwrap_err().to_string(), said);
    let later = device.read::<f32>(&x, 0, 4);
    let mut later = std::pin::pin!(later);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(outcome) = later.as_mut().poll(&mut context) else {
        unreachable!("nothing to wait for")
    };
    assert_eq!(outcome.unwrap_err().to_string(), said);
    assert!(matches!(device.start_profile(), Err(GpuError::ShapesOnly { action: "start_profile" })));
    assert!(device.finish_profile().unwrap().events.is_empty());
    // It can be lost as any other.
    device.destroy();
    assert!(matches!(device.allocate(16, "y"), Err(GpuError::DeviceLost { .. })));
}

#[test]
fn terabytes_take_no_memory() {
    let device = Device::shapes_only(AdapterInfo::discrete());
    let held: Vec<Allocation> = (0..16).map(|_| device.allocate(1 << 40, "much").unwrap()).collect();
    assert_eq!((device.memory().in_use, device.memory().allocations), (16 << 40, 16));
    drop(held);
    device.trim();
    assert_eq!((device.memory().in_use, device.memory().peak, device.memory().reserved), (0, 16 << 40, 0));
}

#[test]
fn the_pool_accounts_as_on_the_adapter() {
    let info = AdapterInfo::find(Options::new()).unwrap();
    let devices = [Device::open_default().unwrap(), Device::shapes_only(info)];
    assert_eq!(devices[0].info(), devices[1].info());
    assert_eq!(devices[0].live(), None);
    let reports = devices.map(|device| {
        let mut held: Vec<Allocation> = Vec::new();
        let mut seed = 1u32;
        let mut reports = Vec::new();
        for step in 0..2000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let bytes = 1u64 << (seed >> 28) << 5;
            if seed & 1 << 20 == 0 && !held.is_empty() {
                held.swap_remove(seed as usize % held.len());
            } else {
                held.push(device.allocate(bytes + u64::from(seed >> 24), "random").unwrap());
            }
            if step % 500 == 250 {
                device.trim();
            }
            reports.push(device.memory());
        }
        device.reset_peak();
        reports.push(device.memory());
        reports
    });
    assert!(reports[0].last().unwrap().in_use > 0);
    assert_eq!(reports[0], reports[1]);
}

#[test]
fn what_was_held_at_the_peak_is_listed() {
    let device = Device::shapes_only(AdapterInfo::software());
    let bytes = |live: Option<Vec<Live>>| live.unwrap().iter().map(|live| live.bytes).collect::<Vec<_>>();
    let take = |bytes| device.allocate(bytes, "x").unwrap();
    let (a, b) = (take(256), take(512));
    assert_eq!(bytes(device.live_at_peak()), [256, 512]);
    drop(a);
    // As high as before, not higher: the first time counts.
    let c = take(256);
    assert_eq!((bytes(device.live_at_peak()), bytes(device.live())), (vec![256, 512], vec![512, 256]));
    let d = take(1024);
    drop((b, d));
    assert_eq!(bytes(device.live_at_peak()), [512, 256, 1024]);
    device.reset_peak();
    assert_eq!((bytes(device.live_at_peak()), device.memory().peak), (vec![256], 256));
    drop(c);
    assert_eq!((bytes(device.live_at_peak()), bytes(device.live())), (vec![256], vec![]));
}

#[test]
fn an_adapter_is_described_as_it_would_be_opened() {
    let all = [Options::new(), Options::new().minimal(), Options::new().largest_buffer(1 << 20)];
    for options in all {
        let info = AdapterInfo::find(options.clone()).unwrap();
        assert_eq!(&info, Device::open(options.no_cache()).unwrap().info());
    }
    assert!(matches!(AdapterInfo::find(Options::new().adapter("no such")), Err(GpuError::NoAdapter { .. })));
}
