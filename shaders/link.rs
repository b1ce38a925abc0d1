//! From a [`Kernel`] to one WGSL text.

use crate::files;
use crate::kernel::{Item, Kernel, Value};
use std::fmt::Write;
use thiserror::Error;

/// Where a kernel's `struct Params` lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ParamSpace {
    /// `var<immediate>` (push constants): the cheapest, where the adapter has them and they are large enough.
    Immediate,
    /// `var<uniform>` at group 1, binding 0.
    Uniform,
}

/// Why a kernel could not be linked.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum LinkError {
    /// The kernel names a file that is not embedded.
    #[error("link: there is no kernel file `{file}`; name one of: {known}")]
    UnknownFile {
        /// The name that was given.
        file: String,
        /// The embedded files.
        known: String,
    },
    /// A `//! use:` line names a part that is not embedded.
    #[error("link: {user} uses the part `{part}`, which does not exist; name one of: {known}")]
    UnknownPart {
        /// The name that was given.
        part: String,
        /// The file with the line.
        user: String,
        /// The embedded parts.
        known: String,
    },
    /// Two items of the header have the same name.
    #[error("link: the header of `{file}` declares `{name}` twice; keep one of the two")]
    Duplicate {
        /// The kernel's file.
        file: &'static str,
        /// The name.
        name: &'static str,
    },
    /// A constant is infinite or NaN.
    #[error("link: the constant `{name}` of `{file}` is {value}, which WGSL cannot write; pass it in the parameters")]
    NotFinite {
        /// The kernel's file.
        file: &'static str,
        /// The constant.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// `struct Params` is too large for immediates, of which at most 256 bytes can be used anywhere.
    #[error(
        "link: Params of `{file}` has {bytes} bytes, immediates hold at most 256; link it with ParamSpace::Uniform"
    )]
    Immediates {
        /// The kernel's file.
        file: &'static str,
        /// The size of Params.
        bytes: u32,
    },
    /// A field of `struct Params` has a type whose layout differs between uniforms and immediates, or is not known here.
    #[error(
        "link: field `{field}` of Params in {file} has type `{ty}`; \
         use u32, i32, f32 or a vec2 or vec4 of these, whose layout is the same everywhere"
    )]
    ParamsField {
        /// The file that declares `struct Params`.
        file: String,
        /// The field.
        field: String,
        /// Its type.
        ty: String,
    },
}

/// A line of a linked text, as the place where a person can edit it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Location {
    /// The file, relative to the repository, as `shaders/part/math.wgsl`; the generated header is `reduce (header)`.
    pub file: String,
    /// The line in that file, from 1.
    pub line: u32,
}

/// A piece of the linked text that comes from one file.
#[derive(Clone, Debug)]
struct Segment {
    file: String,
    /// The first line in the linked text, from 1.
    first: u32,
    lines: u32,
}

/// A kernel as one WGSL text, with what the launcher has to know about it.
#[derive(Clone, Debug)]
pub struct Linked {
    /// The WGSL text. Its entry point is `main`.
    pub source: String,
    segments: Vec<Segment>,
    bindings: u32,
    params_bytes: u32,
    f16: bool,
    subgroups: bool,
    int64: bool,
    cooperative_matrices: bool,
}

impl Linked {
    /// The number of storage buffers in group 0.
    pub fn bindings(&self) -> u32 {
        self.bindings
    }

    /// The size of `struct Params` in bytes; 0 where the kernel has none.
    pub fn params_bytes(&self) -> u32 {
        self.params_bytes
    }

    /// Whether the kernel needs 16-bit floats.
    pub fn needs_f16(&self) -> bool {
        self.f16
    }

    /// Whether the kernel needs subgroup operations (a file or part says `//! needs: subgroups`).
    pub fn needs_subgroups(&self) -> bool {
        self.subgroups
    }

    /// Whether the kernel needs 64-bit integers (a file or part says `//! needs: int64`).
    pub fn needs_int64(&self) -> bool {
        self.int64
    }

    /// Whether the kernel needs matrix units (a file or part says `//! needs: cooperative_matrices`).
    pub fn needs_cooperative_matrices(&self) -> bool {
        self.cooperative_matrices
    }

    /// The file and line that line `line` (from 1) of [`source`](Self::source) comes from.
    pub fn locate(&self, line: u32) -> Option<Location> {
        let segment = self.segments.iter().rev().find(|segment| segment.first <= line)?;
        let line = line - segment.first + 1;
        (line <= segment.lines).then(|| Location { file: segment.file.clone(), line })
    }

    /// Rewrites the places in a message of naga or wgpu about this text, so that they name files of the repository.
    ///
    /// Places are the `┌─ name:LINE:COLUMN` arrows and the `LINE │` margins below them.
    pub fn relocate(&self, message: &str) -> String {
        let mut text = String::with_capacity(message.len());
        for line in message.split_inclusive('\n') {
            match self.relocated(line) {
                Some(line) => text.push_str(&line),
                None => text.push_str(line),
            }
        }
        text
    }

    fn relocated(&self, line: &str) -> Option<String> {
        if let Some((before, place)) = line.split_once("┌─ ") {
            let end = place.trim_end();
            let (rest, column) = end.rsplit_once(':')?;
            let number = rest.rsplit_once(':').map_or(rest, |(_, number)| number);
            let found = self.locate(number.parse().ok()?)?;
            return Some(format!("{before}┌─ {}:{}:{column}{}", found.file, found.line, &place[end.len()..]));
        }
        let (margin, rest) = line.split_once(" │")?;
        let found = self.locate(margin.trim().parse().ok()?)?;
        Some(format!("{:>width$} │{rest}", found.line, width = margin.chars().count()))
    }
}

/// Makes one WGSL text of a kernel: generated header, parameters, each part once, then the file.
///
/// # Errors
/// An unknown file or part, a name declared twice in the header, a constant that is not finite, or a field of
/// `struct Params` that is not a scalar, a vec2 or a vec4.
pub fn link(kernel: &Kernel, params: ParamSpace) -> Result<Linked, LinkError> {
    let file = kernel.file();
    let (path, text) = match kernel.own_text() {
        Some(text) => (format!("{file}.wgsl"), text),
        None => (
            format!("shaders/{file}.wgsl"),
            files::kernel(file)
                .ok_or_else(|| LinkError::UnknownFile { file: file.to_owned(), known: files::names(files::KERNELS) })?,
        ),
    };
    let mut parts = Vec::new();
    for item in kernel.items() {
        if let Item::Part(part) = item {
            collect_part(&format!("{file} (header)"), part, &mut parts)?;
        }
    }
    collect_parts(&path, text, &mut parts)?;

    let mut header = header(kernel)?;
    let f16 = header.starts_with("enable f16;");
    let mut sources: Vec<(String, &str)> =
        parts.into_iter().map(|(name, text)| (format!("shaders/part/{name}.wgsl"), text)).collect();
    sources.push((path, text));

    let mut params_bytes = 0;
    for (path, text) in &sources {
        if let Some(bytes) = params_size(path, text)? {
            params_bytes = bytes;
            // naga keeps a bit mask of 64 words.
            if params == ParamSpace::Immediate && bytes > 256 {
                return Err(LinkError::Immediates { file, bytes });
            }
            header.push_str(match params {
                ParamSpace::Immediate => "var<immediate> params: Params;\n",
                ParamSpace::Uniform => "@group(1) @binding(0) var<uniform> params: Params;\n",
            });
        }
    }

    let bindings = std::iter::once(header.as_str())
        .chain(sources.iter().map(|(_, text)| *text))
        .flat_map(str::lines)
        .filter(|line| line.trim_start().starts_with("@group(0)"))
        .count() as u32;
    let needs = |what| sources.iter().any(|(_, text)| directive(text, "needs:").any(|word| word == what));
    let cooperative_matrices = needs("cooperative_matrices");
    let mut linked = Linked {
        source: String::new(),
        segments: Vec::new(),
        bindings,
        params_bytes,
        f16,
        subgroups: needs("subgroups"),
        int64: needs("int64"),
        cooperative_matrices,
    };
    if cooperative_matrices {
        // Directives come before every declaration.
        header.insert_str(0, "enable wgpu_cooperative_matrix;\n");
    }
    linked.source.reserve(header.len() + sources.iter().map(|(_, text)| text.len() + 1).sum::<usize>());
    let mut first = 1;
    for (file, text) in std::iter::once((format!("{file} (header)"), header.as_str())).chain(sources) {
        let lines = text.lines().count() as u32;
        linked.source.push_str(text);
        if !text.is_empty() && !text.ends_with('\n') {
            linked.source.push('\n');
        }
        linked.segments.push(Segment { file, first, lines });
        first += lines;
    }
    Ok(linked)
}

/// The generated head of the text, without the parameters' declaration.
fn header(kernel: &Kernel) -> Result<String, LinkError> {
    let file = kernel.file();
    let mut names: Vec<&'static str> = Vec::new();
    let mut text = String::new();
    let mut f16 = kernel.own_text().is_some_and(mentions_f16);
    for item in kernel.items() {
        if let Item::Constant(name, _) | Item::Alias(name, _) = item {
            if names.contains(name) {
                return Err(LinkError::Duplicate { file, name });
            }
            names.push(name);
        }
        // Writing to a String cannot fail.
        let _ = match item {
            Item::Constant(name, Value::F32(bits)) if !f32::from_bits(*bits).is_finite() => {
                return Err(LinkError::NotFinite { file, name, value: f32::from_bits(*bits).to_string() });
            }
            Item::Constant(name, value) => writeln!(text, "const {name} = {value};"),
            Item::Alias(name, ty) => {
                f16 |= mentions_f16(ty);
                writeln!(text, "alias {name} = {ty};")
            }
            Item::Function(wgsl) => {
                f16 |= mentions_f16(wgsl);
                writeln!(text, "{}", wgsl.trim_end())
            }
            Item::Part(_) => Ok(()),
        };
    }
    // Directives come before every declaration.
    if f16 {
        text.insert_str(0, "enable f16;\n");
    }
    Ok(text)
}

/// Whether a WGSL text has the word `f16`, or a shorthand such as `vec4h`.
fn mentions_f16(wgsl: &str) -> bool {
    wgsl.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|word| matches!(word, "f16" | "vec2h" | "vec3h" | "vec4h"))
}

/// Appends the parts that `text` names in its `//! use:` lines, each once.
fn collect_parts(
    user: &str,
    text: &'static str,
    parts: &mut Vec<(&'static str, &'static str)>,
) -> Result<(), LinkError> {
    directive(text, "use:").try_for_each(|part| collect_part(user, part, parts))
}

/// Appends a part and those that it needs itself, each once.
fn collect_part(user: &str, part: &str, parts: &mut Vec<(&'static str, &'static str)>) -> Result<(), LinkError> {
    if parts.iter().any(|(name, _)| *name == part) {
        return Ok(());
    }
    let (name, text) = files::part(part).ok_or_else(|| LinkError::UnknownPart {
        part: part.to_owned(),
        user: user.to_owned(),
        known: files::names(files::PARTS),
    })?;
    // Entered before its own parts are, so that two parts may use each other: WGSL allows any order.
    parts.push((name, text));
    collect_parts(&format!("shaders/part/{name}.wgsl"), text, parts)
}

/// The words after `//! {key}` lines.
fn directive<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines()
        .filter_map(move |line| line.trim_start().strip_prefix("//!")?.trim_start().strip_prefix(key))
        .flat_map(str::split_whitespace)
}

/// The size of `struct Params`, if `text` declares it at the start of a line, by WGSL's layout rules.
fn params_size(path: &str, text: &str) -> Result<Option<u32>, LinkError> {
    let lines = text.lines().skip_while(|line| !line.starts_with("struct Params"));
    let code: String = lines.map(|line| line.split_once("//").map_or(line, |(code, _)| code)).collect();
    let Some((_, fields)) = code.split_once('{') else { return Ok(None) };
    let fields = fields.split_once('}').map_or(fields, |(fields, _)| fields);
    let (mut size, mut align) = (0u32, 4u32);
    for field in fields.split(',') {
        let Some((field, ty)) = field.split_once(':') else { continue };
        let ty = ty.trim();
        let bytes = match ty {
            "u32" | "i32" | "f32" => 4,
            "vec2<u32>" | "vec2<i32>" | "vec2<f32>" => 8,
            "vec4<u32>" | "vec4<i32>" | "vec4<f32>" => 16,
            _ => {
                return Err(LinkError::ParamsField {
                    file: path.to_owned(),
                    field: field.trim().to_owned(),
                    ty: ty.to_owned(),
                });
            }
        };
        size = size.next_multiple_of(bytes) + bytes;
        align = align.max(bytes);
    }
    Ok(Some(size.next_multiple_of(align)))
}
