//! A network's graph as a `GraphDef`: a node for each op, parameter and input.

use std::collections::{BTreeMap, BTreeSet};

use kiln_autograd::{Form, OpTrace, Tape};
use kiln_nn::{Entry, Module};
use kiln_tensor::{DType, Device, Shape, Tensor};

use super::proto::Message;
use crate::error::Result;

/// The name of the network's input.
const INPUT: &str = "input";

/// The graph of a network: what ran, on what shapes, with which parameters, for one input of zeros. [`EventFile::graph`] writes it.
///
/// [`EventFile::graph`]: super::EventFile::graph
#[derive(Debug, Clone)]
pub struct Graph {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone)]
struct Node {
    name: String,
    op: String,
    inputs: Vec<String>,
    output: Form,
}

impl Graph {
    /// Runs a network on zeros of this shape, batch included, on a tape for evaluation, and notes what ran.
    ///
    /// # Errors
    /// Those of the network's forward: a shape that does not fit.
    pub fn of(model: &dyn Module, device: &Device, input: impl Into<Shape>) -> Result<Graph> {
        let input = input.into();
        let tape = Tape::eval().traced();
        model.forward(&tape.constant(Tensor::zeros(device, input, DType::F32)?))?;
        let entries = model.entries();
        let entries = entries.iter().filter_map(|(name, entry)| match entry {
            Entry::Parameter(parameter) => Some((name.as_str(), *parameter.shape())),
            Entry::Buffer(buffer) => Some((name.as_str(), *buffer.shape())),
            Entry::Count(_) => None,
        });
        Ok(Graph::from_trace(&tape.take_trace(), input, &entries.collect::<Vec<_>>()))
    }

    /// `entries` are the names and shapes of parameters and buffers. A trace tells an op's layer and the shapes of its inputs: a
    /// parameter is found by both.
    fn from_trace(trace: &[OpTrace], input: Shape, entries: &[(&str, Shape)]) -> Graph {
        let mut graph = Graph { nodes: Vec::new() };
        let mut used = BTreeSet::from([INPUT.to_string()]);
        let mut by_index: BTreeMap<usize, String> = BTreeMap::new();
        for op in trace {
            let path = path(&op.layer);
            let wanted = if path.is_empty() { op.op.to_string() } else { format!("{path}/{}", op.op) };
            let name = unused(&wanted, &mut used);
            let mut taken: BTreeSet<&str> = BTreeSet::new();
            let mut inputs = Vec::new();
            for (form, source) in op.inputs.iter().zip(&op.sources) {
                if let Some(made) = source.and_then(|index| by_index.get(&index)) {
                    inputs.push(made.clone());
                    continue;
                }
                let own = |&&(entry, shape): &&(&str, Shape)| {
                    let layer = entry.rsplit_once('.').map_or("", |(layer, _)| layer);
                    layer == op.layer && shape == form.shape && !taken.contains(entry)
                };
                if let Some(&(entry, _)) = entries.iter().find(own) {
                    taken.insert(entry);
                    inputs.push(graph.source(self::path(entry), "Parameter", *form));
                } else if form.shape == input {
                    inputs.push(graph.source(INPUT.to_string(), "Placeholder", *form));
                } else {
                    inputs.push(graph.source(unused(&format!("{name}/constant"), &mut used), "Const", *form));
                }
            }
            by_index.insert(op.index, name.clone());
            graph.nodes.push(Node { name, op: op.op.to_string(), inputs, output: op.output });
        }
        graph
    }

    /// A node without inputs, made where it is not there yet.
    fn source(&mut self, name: String, op: &str, output: Form) -> String {
        if self.nodes.iter().all(|node| node.name != name) {
            self.nodes.push(Node { name: name.clone(), op: op.to_string(), inputs: Vec::new(), output });
        }
        name
    }

    /// As a `GraphDef`.
    pub(super) fn message(&self) -> Message {
        let nodes = self.nodes.iter().fold(Message::new(), |graph, node| graph.message(1, &node.message()));
        // The versions' producer: any number that is not 0.
        nodes.message(4, &Message::new().int(1, 22))
    }
}

impl Node {
    fn message(&self) -> Message {
        let dims = self.output.shape.dims().iter();
        let shape = dims.fold(Message::new(), |shape, &dim| shape.message(2, &Message::new().int(1, dim as i64)));
        let shapes = Message::new().message(1, &Message::new().message(7, &shape));
        let dtype = Message::new().int(6, tensorflow_type(self.output.dtype));
        let node = Message::new().text(1, &self.name).text(2, &self.op);
        let node = self.inputs.iter().fold(node, |node, input| node.text(3, input));
        node.message(5, &attribute("T", &dtype)).message(5, &attribute("_output_shapes", &shapes))
    }
}

/// An entry of a node's map of attributes.
fn attribute(key: &str, value: &Message) -> Message {
    Message::new().text(1, key).message(2, value)
}

/// The number of a type in TensorFlow's `DataType`.
fn tensorflow_type(dtype: DType) -> i64 {
    match dtype {
        DType::F32 => 1,
        DType::I32 => 3,
        DType::U8 => 4,
        DType::F16 => 19,
        DType::U32 => 22,
    }
}

/// A full name as TensorBoard nests it. Characters that its graph does not take become `_`.
fn path(name: &str) -> String {
    let kept = |c: char| match c {
        '.' => '/',
        c if c.is_ascii_alphanumeric() || c == '_' || c == '-' => c,
        _ => '_',
    };
    name.chars().map(kept).collect()
}

/// This name, or it with the first number that no node has yet.
fn unused(name: &str, used: &mut BTreeSet<String>) -> String {
    let mut chosen = name.to_string();
    let mut number = 0;
    while !used.insert(chosen.clone()) {
        number += 1;
        chosen = format!("{name}_{number}");
    }
    chosen
}
