//! Arguments that may be paths, in configuration files.

use std::ffi::{OsStr, OsString};

use serde::{Deserialize, Serialize};

/// What the command line gave, in whatever encoding. In a configuration file it is a string; where it is not UTF-8, it is serde's form
/// of such a path: `{ Unix = [BYTE, ...] }` or `{ Windows = [UNIT, ...] }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub(crate) struct OsText(pub(crate) OsString);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Text(String),
    Os(OsString),
}

impl OsText {
    /// What follows `hub:`, where it names weights of the Hugging Face Hub.
    pub(crate) fn of_hub(&self) -> Option<&str> {
        self.0.to_str().and_then(|text| text.strip_prefix("hub:"))
    }
}

impl From<Form> for OsText {
    fn from(form: Form) -> OsText {
        match form {
            Form::Text(text) => OsText(text.into()),
            Form::Os(text) => OsText(text),
        }
    }
}

impl From<OsText> for Form {
    fn from(OsText(text): OsText) -> Form {
        text.into_string().map_or_else(Form::Os, Form::Text)
    }
}

impl From<OsString> for OsText {
    fn from(text: OsString) -> OsText {
        OsText(text)
    }
}

impl AsRef<OsStr> for OsText {
    fn as_ref(&self) -> &OsStr {
        &self.0
    }
}
