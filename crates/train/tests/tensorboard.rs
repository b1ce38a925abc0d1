//! Event files, read back by a reader of the framing and the fields that shares nothing with the writer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod events;

use std::fs;

use events::{Field, decode, fields, first, last_file, read_all, summary};
use kiln_autograd::Var;
use kiln_nn::{Build, Conv2d, Flatten, Init, Linear, Module, ReLU, Result, Visitor};
use kiln_tensor::Device;
use kiln_train::{EventFile, Graph, Histogram, Picture};

#[test]
fn every_kind_of_value_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut events = EventFile::create(folder.path()).unwrap();
    events.start_at(7).unwrap();
    events.scalars(7, &[("loss/train", 0.5), ("größe", -2.0)]).unwrap();
    events.histogram("weights", 8, &Histogram::of(&[1.0, 2.0, -4.0])).unwrap();
    events.image("images/0", 9, &Picture::from_planes([3, 1, 2], &[255, 0, 0, 0, 0, 128]).unwrap()).unwrap();
    events.text("configuration", 10, "`a = 1`").unwrap();
    events.flush().unwrap();
    let records = read_all(&fs::read(events.path()).unwrap());
    assert_eq!(records.len(), 6);

    // The version comes first; TensorBoard honours the start below only from version 2 on.
    let version = fields(&records[0]);
    assert_eq!(first(&version, 3).text(), "brain.Event:2");
    assert!(first(&version, 1).double() > 1.6e9, "seconds since 1970");
    let start = fields(&records[1]);
    assert_eq!((first(&start, 2).int(), first(&fields(first(&start, 7).bytes()), 1).int()), (7, 1));

    let (step, values) = summary(&records[2]);
    let scalars: Vec<(String, f32)> =
        values.iter().map(|value| (first(value, 1).text(), first(value, 2).float())).collect();
    assert_eq!((step, scalars), (7, vec![("loss/train".to_string(), 0.5), ("größe".to_string(), -2.0)]));

    let (step, values) = summary(&records[3]);
    let histogram = fields(first(&values[0], 5).bytes());
    let numbers: Vec<f64> = (1..=5).map(|field| first(&histogram, field).double()).collect();
    assert_eq!((step, numbers), (8, vec![-4.0, 2.0, 3.0, -1.0, 21.0]));
    let (limits, counts) = (first(&histogram, 6).doubles(), first(&histogram, 7).doubles());
    assert_eq!(limits.len(), counts.len());
    assert!(limits.is_sorted());
    assert_eq!(counts.iter().copied().filter(|&count| count > 0.0).collect::<Vec<_>>(), [1.0, 1.0, 1.0]);

    let (step, values) = summary(&records[4]);
    let image = fields(first(&values[0], 4).bytes());
    assert_eq!((step, first(&image, 1).int(), first(&image, 2).int(), first(&image, 3).int()), (9, 1, 2, 3));
    let decoded = image::load_from_memory(first(&image, 4).bytes()).unwrap().to_rgb8();
    assert_eq!(decoded.into_raw(), [255, 0, 0, 0, 0, 128]);

    let (step, values) = summary(&records[5]);
    let tensor = fields(first(&values[0], 8).bytes());
    assert_eq!((step, first(&tensor, 1).int(), first(&tensor, 8).text()), (10, 7, "`a = 1`".to_string()));
    let plugin = fields(first(&fields(first(&values[0], 9).bytes()), 1).bytes());
    assert_eq!(first(&plugin, 1).text(), "text");
}

#[test]
fn a_damaged_record_is_noticed_by_its_checksum() {
    let folder = tempfile::tempdir().unwrap();
    let mut events = EventFile::create(folder.path()).unwrap();
    events.scalar("loss", 1, 0.25).unwrap();
    events.flush().unwrap();
    let good = fs::read(events.path()).unwrap();
    assert_eq!(decode(&good).unwrap().len(), 2);
    for at in [0, 9, good.len() - 6, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(decode(&bad).is_err(), "byte {at}");
    }
}

#[test]
fn a_record_has_the_known_bytes() {
    // The checksum is from TensorBoard's own RecordWriter, of a record of 26 bytes.
    let folder = tempfile::tempdir().unwrap();
    let events = EventFile::create(folder.path()).unwrap();
    drop(events);
    let bytes = fs::read(last_file(folder.path())).unwrap();
    // The version event: 9 + 2 + 15 bytes, whose length's checksum does not depend on the time.
    assert_eq!(bytes[..8], 26u64.to_le_bytes());
    assert_eq!(bytes[8..12], KNOWN_LENGTH_CRC);
}

/// The masked checksum of the length 26, as TensorBoard's own writer has it.
const KNOWN_LENGTH_CRC: [u8; 4] = [18, 155, 216, 45];

#[test]
fn files_of_one_second_have_names_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<_> = (0..3).map(|_| EventFile::create(folder.path()).unwrap().path().to_path_buf()).collect();
    assert!(names.is_sorted() && names[0] != names[1] && names[1] != names[2], "{names:?}");
    assert!(names[0].file_name().unwrap().to_str().unwrap().starts_with("events.out.tfevents."));
}

/// A block with a way around it: its sum has two sources.
struct Residual {
    conv: Conv2d,
    head: Linear,
}

impl Module for Residual {
    fn forward(&self, x: &Var) -> Result<Var> {
        let branch = {
            let _layer = x.tape().layer("conv");
            self.conv.forward(x)?
        };
        let sum = ReLU.forward(&x.add(&branch)?)?;
        let flat = Flatten.forward(&sum)?;
        let _layer = x.tape().layer("head");
        self.head.forward(&flat)
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        v.child("conv", &self.conv);
        v.child("head", &self.head);
    }
}

#[test]
fn the_graph_connects_ops_and_parameters() {
    let device = Device::open_default().unwrap();
    let init = Init::seed(1);
    let model = Residual {
        conv: Conv2d::builder(2, 2, 3).padding(1).build(&device, &init.child("conv")).unwrap(),
        head: Linear::new(&device, &init.child("head"), 32, 3).unwrap(),
    };
    let graph = Graph::of(&model, &device, [1, 2, 4, 4]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut events = EventFile::create(folder.path()).unwrap();
    events.graph(&graph).unwrap();
    events.flush().unwrap();
    let records = read_all(&fs::read(events.path()).unwrap());
    let graph = fields(first(&fields(&records[1]), 4).bytes());
    let nodes: Vec<Vec<(u32, Field)>> =
        graph.iter().filter(|(field, _)| *field == 1).map(|(_, node)| fields(node.bytes())).collect();
    let inputs = |name: &str| -> Vec<String> {
        let node = nodes.iter().find(|node| first(node, 1).text() == name).unwrap_or_else(|| panic!("no {name}"));
        node.iter().filter(|(field, _)| *field == 3).map(|(_, input)| input.text()).collect()
    };
    assert_eq!(inputs("input"), [""; 0]);
    assert_eq!(inputs("conv/conv2d"), ["input", "conv/weight", "conv/bias"]);
    assert_eq!(inputs("add"), ["input", "conv/conv2d"]);
    assert_eq!(inputs("relu"), ["add"]);
    assert_eq!(inputs("head/linear")[1..], ["head/weight", "head/bias"]);
    let names: Vec<String> = nodes.iter().map(|node| first(node, 1).text()).collect();
    for node in &nodes {
        for (_, input) in node.iter().filter(|(field, _)| *field == 3) {
            assert!(names.contains(&input.text()), "{} is nowhere", input.text());
        }
    }
}
