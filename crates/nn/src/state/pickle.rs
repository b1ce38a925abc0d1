//! A reader of the pickles that PyTorch writes tensors with. It knows the opcodes that build numbers, texts, tuples, lists, dicts and
//! tensors, and executes nothing: a class that it does not know becomes a value that says only its name.
//!
//! Python's `pickletools.py` documents the format. Values are small and refer to one another by number, so that sharing and cycles cost
//! nothing, and the number of values is bounded.

use kiln_tensor::MAX_RANK;

use super::fault::Fault;
use super::stored::Stored;

/// What a pickle holds.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    text: &'a [u8],
    lists: Vec<Vec<Value>>,
    storages: Vec<Storage>,
    tensors: Vec<TensorRef>,
    /// What the pickle stands for.
    pub(super) root: Value,
    /// The bytes that it took.
    pub(super) length: usize,
}

/// A value; what is large lies in the pickle's lists.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    /// None, a float, a large integer: nothing that is needed here.
    Other,
    Bool(bool),
    Int(i64),
    Text(Range),
    /// A class that is known.
    Class(Class),
    /// A class that is not known, or an object of it.
    Opaque(Range),
    Tuple(u32),
    List(u32),
    /// Keys and values take turns.
    Dict(u32),
    Storage(u32),
    Tensor(u32),
    /// A tensor, or a storage, of a class that is not read: a quantised or sparse one, complex numbers.
    Unread(Range),
}

/// A part of the pickle's bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    start: u32,
    end: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Class {
    RebuildTensor,
    RebuildParameter,
    RebuildFromType,
    OrderedDict,
    Size,
    Storage(Stored),
}

/// Where a value is in the one that holds it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Key<'a> {
    Name(&'a str),
    Number(usize),
}

/// The elements that tensors share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Storage {
    pub(super) stored: Stored,
    pub(super) key: Value,
    /// Elements.
    pub(super) numel: u64,
}

/// A view of a storage; offset and strides in elements.
#[derive(Debug, Clone)]
pub(super) struct TensorRef {
    pub(super) storage: u32,
    pub(super) offset: u64,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// The most values of a pickle: so many, and one for every 64 bytes of the file. A tensor takes about thirty.
const VALUES: usize = 1 << 15;

const KNOWN: [(&str, Class); 16] = [
    ("torch._utils\n_rebuild_tensor_v2", Class::RebuildTensor),
    ("torch._utils\n_rebuild_parameter", Class::RebuildParameter),
    ("torch._utils\n_rebuild_parameter_with_state", Class::RebuildParameter),
    ("torch._tensor\n_rebuild_from_type_v2", Class::RebuildFromType),
    ("collections\nOrderedDict", Class::OrderedDict),
    ("torch\nSize", Class::Size),
    ("torch\nDoubleStorage", Class::Storage(Stored::F64)),
    ("torch\nFloatStorage", Class::Storage(Stored::F32)),
    ("torch\nHalfStorage", Class::Storage(Stored::F16)),
    ("torch\nBFloat16Storage", Class::Storage(Stored::Bf16)),
    ("torch\nLongStorage", Class::Storage(Stored::I64)),
    ("torch\nIntStorage", Class::Storage(Stored::I32)),
    ("torch\nShortStorage", Class::Storage(Stored::I16)),
    ("torch\nCharStorage", Class::Storage(Stored::I8)),
    ("torch\nByteStorage", Class::Storage(Stored::U8)),
    ("torch\nBoolStorage", Class::Storage(Stored::Bool)),
];

type Result<T> = std::result::Result<T, Fault>;

impl<'a> Pickle<'a> {
    /// Reads one pickle from the start of `text`, in a file of `file_bytes`.
    pub(super) fn parse(text: &'a [u8], file_bytes: u64) -> Result<Pickle<'a>> {
        let most = VALUES + usize::try_from(file_bytes / 64).unwrap_or(usize::MAX / 2);
        let pickle = Pickle {
            text,
            lists: Vec::new(),
            storages: Vec::new(),
            tensors: Vec::new(),
            root: Value::Other,
            length: 0,
        };
        let mut machine = Machine { pickle, stack: Vec::new(), marks: Vec::new(), memo: Vec::new(), at: 0, left: most };
        machine.run()?;
        Ok(machine.pickle)
    }

    pub(super) fn text(&self, range: Range) -> &'a str {
        let bytes = self.text.get(range.start as usize..range.end as usize).unwrap_or_default();
        // Checked when the value was made.
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The name of a class that is not known.
    pub(super) fn class_name(&self, range: Range) -> String {
        self.text(range).replace('\n', ".")
    }

    /// The items of a tuple or list, keys and values of a dict.
    pub(super) fn items(&self, value: Value) -> &[Value] {
        match value {
            Value::Tuple(at) | Value::List(at) | Value::Dict(at) => {
                self.lists.get(at as usize).map_or(&[], Vec::as_slice)
            }
            _ => &[],
        }
    }

    /// The keys that are texts with their values.
    pub(super) fn named(&self, dict: Value) -> impl Iterator<Item = (&'a str, Value)> + '_ {
        let items = if matches!(dict, Value::Dict(_)) { self.items(dict) } else { &[] };
        items.chunks_exact(2).filter_map(|pair| match pair {
            [Value::Text(name), value] => Some((self.text(*name), *value)),
            _ => None,
        })
    }

    pub(super) fn tensor(&self, value: Value) -> Option<(&TensorRef, &Storage)> {
        let Value::Tensor(at) = value else { return None };
        let tensor = self.tensors.get(at as usize)?;
        Some((tensor, self.storages.get(tensor.storage as usize)?))
    }

    /// The values of a dict whose keys are texts, or those of a list or tuple by their number.
    pub(super) fn children(&self, value: Value) -> impl Iterator<Item = (Key<'a>, Value)> + '_ {
        let items = if matches!(value, Value::List(_) | Value::Tuple(_)) { self.items(value) } else { &[] };
        let numbered = items.iter().enumerate().map(|(at, value)| (Key::Number(at), *value));
        self.named(value).map(|(name, value)| (Key::Name(name), value)).chain(numbered)
    }

    /// How many lists, tuples and dicts there are.
    pub(super) fn lists(&self) -> usize {
        self.lists.len()
    }

    pub(super) fn storages(&self) -> &[Storage] {
        &self.storages
    }
}

struct Machine<'a> {
    pickle: Pickle<'a>,
    stack: Vec<Value>,
    marks: Vec<usize>,
    /// By number; numbers are given in order, and one beyond the next is refused.
    memo: Vec<Value>,
    at: usize,
    /// How many more values may be made.
    left: usize,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<()> {
        loop {
            let start = self.at;
            let code = self.byte()?;
            match code {
                b'.' => {
                    self.pickle.root = self.pop()?;
                    self.pickle.length = self.at;
                    return Ok(());
                }
                // PROTO, FRAME: the version and the length of what follows.
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                b'N' => self.push(Value::Other)?,
                0x88 => self.push(Value::Bool(true))?,
                0x89 => self.push(Value::Bool(false))?,
                b'K' => self.integer(1)?,
                b'M' => self.integer(2)?,
                b'J' => {
                    let value = i32::from_le_bytes(self.array()?);
                    self.push(Value::Int(value.into()))?;
                }
                // LONG1
                0x8a => {
                    let length = self.byte()?;
                    let value = match *self.take(length.into())? {
                        [] => Value::Int(0),
                        ref bytes if bytes.len() <= 8 => {
                            let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
                            let mut word = [sign; 8];
                            word[..bytes.len()].copy_from_slice(bytes);
                            Value::Int(i64::from_le_bytes(word))
                        }
                        _ => Value::Other,
                    };
                    self.push(value)?;
                }
                b'G' => {
                    self.take(8)?;
                    self.push(Value::Other)?;
                }
                // Texts, by the bytes of their length.
                b'X' | b'T' => self.text(4)?,
                b'U' | 0x8c => self.text(1)?,
                0x8d => self.text(8)?,
                // Bytes: BINBYTES in three sizes, BYTEARRAY8, and LONG4, an integer of no use here.
                b'C' => self.bytes(1)?,
                b'B' | 0x8b => self.bytes(4)?,
                0x8e | 0x96 => self.bytes(8)?,
                b'(' => {
                    self.spend(1)?;
                    self.marks.push(self.stack.len());
                }
                b'0' => drop(self.pop()?),
                b'1' => drop(self.take_marked()?),
                b'2' => {
                    let top = self.top()?;
                    self.push(top)?;
                }
                b')' => self.collect(Vec::new(), Value::Tuple)?,
                b']' => self.collect(Vec::new(), Value::List)?,
                b'}' => self.collect(Vec::new(), Value::Dict)?,
                // EMPTY_SET: nothing that is needed here.
                0x8f => self.collect(Vec::new(), Value::List)?,
                b't' => {
                    let items = self.take_marked()?;
                    self.collect(items, Value::Tuple)?;
                }
                // LIST and FROZENSET
                b'l' | 0x91 => {
                    let items = self.take_marked()?;
                    self.collect(items, Value::List)?;
                }
                b'd' => {
                    let items = self.take_marked()?;
                    self.collect(items, Value::Dict)?;
                }
                0x85..=0x87 => {
                    let count = usize::from(code - 0x84);
                    let from = self.stack.len().checked_sub(count).ok_or("the stack is empty")?;
                    self.above_mark(from)?;
                    let items = self.stack.split_off(from);
                    self.collect(items, Value::Tuple)?;
                }
                b'a' => {
                    let item = self.pop()?;
                    self.extend(&[item])?;
                }
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.extend(&[key, value])?;
                }
                // APPENDS, SETITEMS, ADDITEMS
                b'e' | b'u' | 0x90 => {
                    let items = self.take_marked()?;
                    self.extend(&items)?;
                }
                b'q' => {
                    let at = self.byte()?.into();
                    self.remember(at)?;
                }
                b'r' => {
                    let at = u32::from_le_bytes(self.array()?) as usize;
                    self.remember(at)?;
                }
                0x94 => self.remember(self.memo.len())?,
                b'h' => {
                    let at = self.byte()?.into();
                    self.recall(at)?;
                }
                b'j' => {
                    let at = u32::from_le_bytes(self.array()?) as usize;
                    self.recall(at)?;
                }
                b'c' => {
                    let start = self.at;
                    self.line()?;
                    let end = self.line()?;
                    let class = self.class(start, end)?;
                    self.push(class)?;
                }
                // STACK_GLOBAL: of the two texts on the stack.
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let class = match (module, name) {
                        (Value::Text(module), Value::Text(name)) => self.class_of(module, name),
                        _ => return Err("a class without a name".into()),
                    };
                    self.push(class)?;
                }
                // REDUCE and NEWOBJ: a call, of which only those are done that make a tensor.
                b'R' | 0x81 => {
                    let (arguments, class) = (self.pop()?, self.pop()?);
                    let made = self.call(class, arguments)?;
                    self.push(made)?;
                }
                // NEWOBJ_EX: with named arguments, which no tensor has.
                0x92 => {
                    self.pop()?;
                    let (_, class) = (self.pop()?, self.pop()?);
                    let Value::Opaque(_) = class else { return Err("a call of what is no class".into()) };
                    self.push(class)?;
                }
                // BUILD: an object's attributes, which nothing here needs.
                b'b' => drop(self.pop()?),
                b'Q' => {
                    let id = self.pop()?;
                    let storage = self.storage(id)?;
                    self.push(storage)?;
                }
                _ => {
                    return Err(
                        format!("the opcode 0x{code:02x} at byte {start} is none that torch.save writes").into()
                    );
                }
            }
        }
    }

    fn spend(&mut self, values: usize) -> Result<()> {
        self.left = self.left.checked_sub(values).ok_or("it makes more values than a state dict has")?;
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.pickle.text.len());
        let end = end.ok_or("it ends in the middle of a value")?;
        let bytes = &self.pickle.text[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| "it ends in the middle of a value".into())
    }

    /// An unsigned number of `count` bytes, at most 8.
    fn number(&mut self, count: usize) -> Result<u64> {
        let mut word = [0; 8];
        word[..count].copy_from_slice(self.take(count)?);
        Ok(u64::from_le_bytes(word))
    }

    fn integer(&mut self, count: usize) -> Result<()> {
        let value = self.number(count)?;
        self.push(Value::Int(value as i64))
    }

    fn text(&mut self, count: usize) -> Result<()> {
        let length = usize::try_from(self.number(count)?).unwrap_or(usize::MAX);
        let start = self.at;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| format!("the text at byte {start} is not UTF-8"))?;
        let text = Value::Text(range(start, self.at)?);
        self.push(text)
    }

    fn bytes(&mut self, count: usize) -> Result<()> {
        let length = usize::try_from(self.number(count)?).unwrap_or(usize::MAX);
        self.take(length)?;
        self.push(Value::Other)
    }

    /// Goes behind the end of the line, and returns where it ended.
    fn line(&mut self) -> Result<usize> {
        let rest = &self.pickle.text[self.at..];
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or("it ends in the middle of a name")?;
        self.at += length + 1;
        Ok(self.at - 1)
    }

    /// The class of which two lines, from `start` to `end`, are module and name.
    fn class(&self, start: usize, end: usize) -> Result<Value> {
        let whole = range(start, end)?;
        let text = std::str::from_utf8(&self.pickle.text[start..end]);
        let text = text.map_err(|_| format!("the name at byte {start} is not UTF-8"))?;
        let known = KNOWN.iter().find(|(name, _)| *name == text);
        Ok(known.map_or(Value::Opaque(whole), |(_, class)| Value::Class(*class)))
    }

    fn class_of(&self, module: Range, name: Range) -> Value {
        let pair = (self.pickle.text(module), self.pickle.text(name));
        let known = KNOWN.iter().find(|(known, _)| known.split_once('\n') == Some(pair));
        known.map_or(Value::Opaque(name), |(_, class)| Value::Class(*class))
    }

    fn push(&mut self, value: Value) -> Result<()> {
        self.spend(1)?;
        self.stack.push(value);
        Ok(())
    }

    /// Fails where a mark lies above `from`: what is before a mark is not for the taking.
    fn above_mark(&self, from: usize) -> Result<()> {
        match self.marks.last() {
            Some(&mark) if mark > from => Err("the stack is empty".into()),
            _ => Ok(()),
        }
    }

    fn pop(&mut self) -> Result<Value> {
        self.above_mark(self.stack.len().saturating_sub(1))?;
        self.stack.pop().ok_or_else(|| "the stack is empty".into())
    }

    fn top(&self) -> Result<Value> {
        self.stack.last().copied().ok_or_else(|| "the stack is empty".into())
    }

    fn take_marked(&mut self) -> Result<Vec<Value>> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark))
    }

    fn collect(&mut self, items: Vec<Value>, of: fn(u32) -> Value) -> Result<()> {
        // A list has a length and a place, and then its items.
        self.spend(2)?;
        let at = index(self.pickle.lists.len())?;
        self.pickle.lists.push(items);
        self.push(of(at))
    }

    /// Adds to the list or dict on the stack. Of an object that is not known nothing is kept.
    fn extend(&mut self, items: &[Value]) -> Result<()> {
        match self.top()? {
            Value::List(at) => self.pickle.lists[at as usize].extend_from_slice(items),
            Value::Dict(at) if items.len().is_multiple_of(2) => self.pickle.lists[at as usize].extend_from_slice(items),
            Value::Opaque(_) => {}
            _ => return Err("items are added to what is no list or dict".into()),
        }
        self.spend(items.len())
    }

    fn remember(&mut self, at: usize) -> Result<()> {
        let value = self.top()?;
        match at.cmp(&self.memo.len()) {
            std::cmp::Ordering::Less => self.memo[at] = value,
            std::cmp::Ordering::Equal => {
                self.spend(1)?;
                self.memo.push(value);
            }
            std::cmp::Ordering::Greater => return Err("its memory has a gap".into()),
        }
        Ok(())
    }

    fn recall(&mut self, at: usize) -> Result<()> {
        let value = *self.memo.get(at).ok_or("it recalls what it did not remember")?;
        self.push(value)
    }

    fn call(&mut self, class: Value, arguments: Value) -> Result<Value> {
        let items = |value: Value| self.pickle.items(value);
        match (class, arguments) {
            (Value::Class(Class::OrderedDict), Value::Tuple(_)) => {
                // Empty, or a list of pairs, as Python 2 wrote it.
                let pairs = items(arguments).first().map_or(&[][..], |&list| items(list));
                let flat: Vec<Value> = pairs.iter().flat_map(|&pair| items(pair)).copied().collect();
                if flat.len() != 2 * pairs.len() {
                    return Err("an OrderedDict of what are no pairs".into());
                }
                self.spend(2 + flat.len())?;
                let at = index(self.pickle.lists.len())?;
                self.pickle.lists.push(flat);
                Ok(Value::Dict(at))
            }
            (Value::Class(Class::Size), Value::Tuple(_)) => {
                Ok(items(arguments).first().copied().unwrap_or(Value::Other))
            }
            (Value::Class(Class::RebuildParameter), Value::Tuple(_)) => match items(arguments).first() {
                Some(&tensor @ (Value::Tensor(_) | Value::Unread(_) | Value::Opaque(_))) => Ok(tensor),
                _ => Err("a parameter of what is no tensor".into()),
            },
            // (function, type, its arguments, state): of a subclass of Tensor, which is read as a tensor.
            (Value::Class(Class::RebuildFromType), Value::Tuple(_)) => match *items(arguments) {
                [function @ Value::Class(Class::RebuildTensor | Class::RebuildParameter), _, inner, ..] => {
                    self.call(function, inner)
                }
                [Value::Opaque(class), ..] => Ok(Value::Unread(class)),
                _ => Err("a tensor of a type without a function that makes it".into()),
            },
            (Value::Class(Class::RebuildTensor), Value::Tuple(_)) => {
                if let Some(&unread @ Value::Unread(_)) = items(arguments).first() {
                    return Ok(unread);
                }
                let [Value::Storage(storage), Value::Int(offset), shape, strides, ..] = *items(arguments) else {
                    return Err("a tensor without storage, offset, shape and strides".into());
                };
                let sizes = |value: Value| -> Option<Vec<usize>> {
                    items(value)
                        .iter()
                        .map(|size| match size {
                            Value::Int(size) => usize::try_from(*size).ok(),
                            _ => None,
                        })
                        .collect()
                };
                let rank = items(shape).len();
                if rank > MAX_RANK {
                    return Err(Fault::unsuitable(
                        format!("a tensor has {rank} axes, at most {MAX_RANK} are read"),
                        "reshape it before it is saved",
                    ));
                }
                match (u64::try_from(offset), sizes(shape), sizes(strides)) {
                    (Ok(offset), Some(shape), Some(strides)) if strides.len() == rank => {
                        // Beside the tensor, as many words as it has sizes and strides.
                        self.spend(4 + 2 * rank)?;
                        let at = index(self.pickle.tensors.len())?;
                        self.pickle.tensors.push(TensorRef { storage, offset, shape, strides });
                        Ok(Value::Tensor(at))
                    }
                    _ => Err("a tensor whose offset, shape or strides are no sizes".into()),
                }
            }
            (Value::Opaque(class), _) if self.is_rebuild(class) => Ok(Value::Unread(class)),
            (Value::Opaque(class), _) => Ok(Value::Opaque(class)),
            _ => Err("a call of what is no class, or with what are no arguments".into()),
        }
    }

    /// Whether a class that is not known is one of PyTorch's functions that make tensors.
    fn is_rebuild(&self, class: Range) -> bool {
        self.pickle.text(class).rsplit('\n').next().is_some_and(|name| name.starts_with("_rebuild_"))
    }

    /// `("storage", class, key, device, number of elements, view)`; the view is missing or None since PyTorch 0.4.
    fn storage(&mut self, id: Value) -> Result<Value> {
        match *self.pickle.items(id) {
            [
                Value::Text(kind),
                Value::Class(Class::Storage(stored)),
                key @ Value::Text(_),
                _,
                Value::Int(numel),
                ref view @ ..,
            ] if self.pickle.text(kind) == "storage" && matches!(view, [] | [Value::Other]) => {
                let numel = u64::try_from(numel).map_err(|_| "a storage of less than no elements")?;
                self.spend(3)?;
                let at = index(self.pickle.storages.len())?;
                self.pickle.storages.push(Storage { stored, key, numel });
                Ok(Value::Storage(at))
            }
            [_, Value::Opaque(class), ..] => Ok(Value::Unread(class)),
            _ => Err("a storage without class, name and size".into()),
        }
    }
}

fn index(length: usize) -> Result<u32> {
    u32::try_from(length).map_err(|_| "it makes more values than a state dict has".into())
}

fn range(start: usize, end: usize) -> Result<Range> {
    Ok(Range { start: index(start)?, end: index(end)? })
}
