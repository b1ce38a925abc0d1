//! What a kernel is, before it is text: a file and the header that specialises it.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Items kept without a heap allocation; the few kernels that have more spill into a `Vec`.
const INLINE: usize = 16;

/// The value of a constant in a kernel's header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Value {
    /// `const N = 64u;`
    U32(u32),
    /// `const N = -1i;`
    I32(i32),
    /// `const N = true;`
    Bool(bool),
    /// An `f32` by its bits, so that kernels can be compared and hashed. It must be finite: WGSL cannot write others.
    F32(u32),
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Value::U32(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Value::I32(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<f32> for Value {
    fn from(value: f32) -> Self {
        Value::F32(value.to_bits())
    }
}

/// Writes the value as a WGSL literal.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Value::U32(value) => write!(f, "{value}u"),
            // WGSL has no literal for the smallest i32: the minus is an operator and 2147483648i is out of range.
            Value::I32(i32::MIN) => write!(f, "-2147483647i - 1i"),
            Value::I32(value) => write!(f, "{value}i"),
            Value::Bool(value) => write!(f, "{value}"),
            // Rust prints the shortest decimal that reads back to the same bits.
            Value::F32(bits) => write!(f, "{:?}f", f32::from_bits(bits)),
        }
    }
}

/// One item of a kernel's header.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Item {
    Constant(&'static str, Value),
    Alias(&'static str, &'static str),
    Function(Cow<'static, str>),
    Part(&'static str),
}

/// A kernel: the name of a WGSL file, and the constants, aliases and generated functions that precede it.
///
/// It is the key under which pipelines are cached, so building, comparing and hashing one allocates nothing as long as
/// the header has at most 16 items and its functions are static text.
///
/// ```
/// use kiln_shaders::Kernel;
///
/// let kernel = Kernel::new("reduce").constant("LANES", 64u32).alias("T", "f32");
/// assert_eq!(kernel.file(), "reduce");
/// assert_eq!(kernel, Kernel::new("reduce").constant("LANES", 64u32).alias("T", "f32"));
/// ```
#[derive(Clone)]
pub struct Kernel {
    file: &'static str,
    /// The text, where it is not one of the embedded files.
    text: Option<&'static str>,
    used: u8,
    inline: [Option<Item>; INLINE],
    spilled: Vec<Item>,
}

impl Kernel {
    /// The kernel of `shaders/{file}.wgsl`, with an empty header. Whether the file exists is seen by [`link`](crate::link).
    pub fn new(file: &'static str) -> Kernel {
        Kernel { file, text: None, used: 0, inline: [const { None }; INLINE], spilled: Vec::new() }
    }

    /// A kernel of a program's own: its text, and a name for errors and profiles. The text is linked like the embedded files: it may
    /// name parts in a `//! use:` line, declares its buffers in lines that start with `@group(0)`, its parameters in
    /// `struct Params`, and its entry point as `main`.
    pub fn from_wgsl(name: &'static str, wgsl: &'static str) -> Kernel {
        Kernel { text: Some(wgsl), ..Kernel::new(name) }
    }

    /// Adds `const {name} = {value};` to the header.
    pub fn constant(self, name: &'static str, value: impl Into<Value>) -> Kernel {
        self.item(Item::Constant(name, value.into()))
    }

    /// Adds `alias {name} = {ty};` to the header. A type that mentions `f16` makes the kernel need that feature.
    pub fn alias(self, name: &'static str, ty: &'static str) -> Kernel {
        self.item(Item::Alias(name, ty))
    }

    /// Adds a WGSL declaration, usually a function, to the header as it is written.
    pub fn function(self, wgsl: impl Into<Cow<'static, str>>) -> Kernel {
        self.item(Item::Function(wgsl.into()))
    }

    /// Adds the part `shaders/part/{name}.wgsl`, besides those that the file names in its `//! use:` line.
    pub fn part(self, name: &'static str) -> Kernel {
        self.item(Item::Part(name))
    }

    /// The file's name, without folder and ending.
    pub fn file(&self) -> &'static str {
        self.file
    }

    /// Its text, where it is a program's own.
    pub fn own_text(&self) -> Option<&'static str> {
        self.text
    }

    /// A short name for logs and profiles: the file and the header's constants and aliases,
    /// as `reduce(LANES=64u, T=f32)`.
    pub fn label(&self) -> String {
        let words: Vec<String> = self
            .items()
            .filter_map(|item| match item {
                Item::Constant(name, value) => Some(format!("{name}={value}")),
                Item::Alias(name, ty) => Some(format!("{name}={ty}")),
                Item::Function(_) | Item::Part(_) => None,
            })
            .collect();
        if words.is_empty() { self.file.to_owned() } else { format!("{}({})", self.file, words.join(", ")) }
    }

    pub(crate) fn items(&self) -> impl Iterator<Item = &Item> {
        self.inline.iter().flatten().chain(&self.spilled)
    }

    fn item(mut self, item: Item) -> Kernel {
        match self.inline.get_mut(usize::from(self.used)) {
            Some(place) => {
                *place = Some(item);
                self.used += 1;
            }
            None => self.spilled.push(item),
        }
        self
    }
}

impl PartialEq for Kernel {
    fn eq(&self, other: &Self) -> bool {
        self.file == other.file && self.text == other.text && self.used == other.used && self.items().eq(other.items())
    }
}

impl Eq for Kernel {}

impl Hash for Kernel {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.file.hash(state);
        self.text.hash(state);
        self.items().for_each(|item| item.hash(state));
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").field("file", &self.file).field("items", &self.items().collect::<Vec<_>>()).finish()
    }
}
