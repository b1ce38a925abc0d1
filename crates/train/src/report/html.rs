//! HTML that cannot be broken out of: names of elements and attributes are the program's own, all else is escaped.

/// A page under construction.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    pub(super) fn into_string(self) -> String {
        self.0
    }

    /// An element with attributes, and what is inside of it.
    pub(super) fn tag(
        &mut self,
        name: &'static str,
        attributes: &[(&'static str, &str)],
        inside: impl FnOnce(&mut Html),
    ) {
        self.open(name, attributes);
        inside(self);
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
    }

    /// An element that holds a text.
    pub(super) fn leaf(&mut self, name: &'static str, attributes: &[(&'static str, &str)], text: &str) {
        self.tag(name, attributes, |html| html.text(text));
    }

    /// The start of an element; all of one that has no end (`img`, `meta`).
    pub(super) fn open(&mut self, name: &'static str, attributes: &[(&'static str, &str)]) {
        self.0.push('<');
        self.0.push_str(name);
        for (key, value) in attributes {
            self.0.push(' ');
            self.0.push_str(key);
            self.0.push_str("=\"");
            self.text(value);
            self.0.push('"');
        }
        self.0.push('>');
    }

    /// Any text.
    pub(super) fn text(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // A document may not hold it, written out or not.
                '\0' => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
    }

    /// A name that others chose, kept apart from the direction of the text around it.
    pub(super) fn name(&mut self, name: &str) {
        self.leaf("bdi", &[], name);
    }

    /// Markup of the program's own.
    pub(super) fn markup(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// A drawing whose texts are the program's own.
    pub(super) fn drawing(&mut self, svg: &str) {
        self.0.push_str(svg);
    }
}
