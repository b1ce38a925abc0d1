//! Looks for a Vulkan driver where Vulkan's loader on Linux looks for one: for `libvulkan.so.1` itself, and for driver
//! manifests (small JSON files) whose library exists.
//!
//! The folders and their order are those of the loader's documentation ("Driver Discovery on Linux" in
//! `LoaderDriverInterface.md` of the Vulkan-Loader repository).

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The loader's library, the only one that a Vulkan program opens itself.
const LOADER: &str = "libvulkan.so.1";

/// The places to look in. Read from the environment by [`Search::system`], made up by tests.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// Manifest files or folders that replace the folders below (`VK_DRIVER_FILES`, formerly `VK_ICD_FILENAMES`).
    forced: Vec<PathBuf>,
    /// Folders that hold `*.json` manifests.
    manifest_dirs: Vec<PathBuf>,
    /// Folders that hold shared libraries.
    library_dirs: Vec<PathBuf>,
    /// Libraries that the dynamic linker's cache lists.
    cached: Vec<PathBuf>,
}

impl Search {
    /// The places that count for a program started now.
    pub(crate) fn system() -> Search {
        let cached = ["ldconfig", "/sbin/ldconfig", "/usr/sbin/ldconfig"]
            .iter()
            .find_map(|program| Command::new(program).arg("-p").output().ok().filter(|out| out.status.success()))
            .map(|out| parse_ldconfig(&String::from_utf8_lossy(&out.stdout)))
            .unwrap_or_default();
        let mut search = Search::from_env(|name| std::env::var_os(name).filter(|value| !value.is_empty()));
        search.cached = cached;
        search.library_dirs.extend(multiarch_dirs(Path::new("/usr/lib")));
        search
    }

    fn from_env(var: impl Fn(&str) -> Option<OsString>) -> Search {
        let paths = |name: &str| var(name).map(|value| std::env::split_paths(&value).collect::<Vec<_>>());
        let home = var("HOME").map(PathBuf::from);
        let under_home = |below: &str| home.iter().map(|home| home.join(below)).collect();
        let mut roots: Vec<PathBuf> = paths("XDG_CONFIG_HOME").unwrap_or_else(|| under_home(".config"));
        roots.extend(paths("XDG_CONFIG_DIRS").unwrap_or_else(|| vec!["/etc/xdg".into()]));
        roots.extend(["/usr/local/etc".into(), "/etc".into()]);
        roots.extend(paths("XDG_DATA_HOME").unwrap_or_else(|| under_home(".local/share")));
        roots.extend(paths("XDG_DATA_DIRS").unwrap_or_default());
        // The loader skips these two where XDG_DATA_DIRS is set without them. A needless install is worse than a
        // needless build, so they are looked at always: the built program has the last word (`adapter`).
        roots.extend(["/usr/local/share".into(), "/usr/share".into(), "/run/opengl-driver/share".into()]);
        let mut library_dirs = paths("LD_LIBRARY_PATH").unwrap_or_default();
        library_dirs.extend(
            [
                "/usr/local/lib",
                "/usr/local/lib64",
                "/usr/lib",
                "/usr/lib64",
                "/lib",
                "/lib64",
                "/run/opengl-driver/lib",
            ]
            .map(PathBuf::from),
        );
        let mut manifest_dirs: Vec<PathBuf> = paths("VK_ADD_DRIVER_FILES").unwrap_or_default();
        manifest_dirs.extend(roots.iter().map(|root| root.join("vulkan/icd.d")));
        Search {
            forced: paths("VK_DRIVER_FILES").or_else(|| paths("VK_ICD_FILENAMES")).unwrap_or_default(),
            manifest_dirs,
            library_dirs,
            cached: Vec::new(),
        }
    }

    /// Whether the environment names the only drivers that the loader may use: then a newly installed one is not seen.
    pub(crate) fn is_forced(&self) -> bool {
        !self.forced.is_empty()
    }

    /// `None` if there is a loader and at least one driver, otherwise what is missing.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        if self.library(LOADER).is_none() {
            Some("Vulkan's loader (libvulkan.so.1) is not installed")
        } else if self.drivers().is_empty() {
            Some("Vulkan's loader is installed, but no driver")
        } else {
            None
        }
    }

    /// Manifests whose library exists.
    fn drivers(&self) -> Vec<PathBuf> {
        let places = if self.is_forced() { &self.forced } else { &self.manifest_dirs };
        let manifests =
            places.iter().flat_map(|place| if place.is_dir() { json_files(place) } else { vec![place.clone()] });
        manifests.filter(|manifest| self.is_usable(manifest)).collect()
    }

    fn is_usable(&self, manifest: &Path) -> bool {
        let Ok(text) = fs::read_to_string(manifest) else { return false };
        let Some(library) = json_string(&text, "library_path") else { return false };
        // A bare name is looked up by the dynamic linker, anything else is relative to the manifest.
        if library.contains('/') {
            manifest.parent().is_some_and(|dir| dir.join(&library).exists())
        } else {
            self.library(&library).is_some()
        }
    }

    fn library(&self, name: &str) -> Option<PathBuf> {
        let cached = self.cached.iter().filter(|path| path.file_name().is_some_and(|file| file == name)).cloned();
        cached.chain(self.library_dirs.iter().map(|dir| dir.join(name))).find(|path| path.exists())
    }
}

/// Lines like `libvulkan.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libvulkan.so.1`.
fn parse_ldconfig(text: &str) -> Vec<PathBuf> {
    text.lines().filter_map(|line| line.split_once(" => ")).map(|(_, path)| PathBuf::from(path.trim())).collect()
}

/// `/usr/lib/x86_64-linux-gnu` and its like.
fn multiarch_dirs(lib: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(lib) else { return Vec::new() };
    let is_multiarch = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().contains("-linux-"));
    entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_multiarch(path) && path.is_dir()).collect()
}

fn json_files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    files.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect()
}

/// The first string under `key` in JSON text, escapes resolved. Enough for the flat, machine-written JSON read here; a
/// parser would be one more dependency to build before everything else.
pub(crate) fn json_string(text: &str, key: &str) -> Option<String> {
    json_strings(text, key).into_iter().next()
}

/// Every string under `key` in JSON text, in order.
pub(crate) fn json_strings(text: &str, key: &str) -> Vec<String> {
    let quoted = format!("\"{key}\"");
    let values = text.split(quoted.as_str()).skip(1);
    values.filter_map(|rest| unescape(rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?)).collect()
}

/// The text up to the closing quote. `\u` escapes are left as they stand: no path or name met here has one.
fn unescape(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some(out),
            '\\' => match chars.next()? {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                'u' => out.push_str("\\u"),
                other => out.push(other),
            },
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testdir::TestDir;

    const MANIFEST: &str = r#"{ "ICD": { "api_version": "1.4.305", "library_path": "libvulkan_lvp.so" },
        "file_format_version": "1.0.0" }"#;

    fn search(dir: &TestDir) -> Search {
        Search {
            manifest_dirs: vec![dir.path().join("none"), dir.path().join("icd.d")],
            library_dirs: vec![dir.path().join("lib")],
            ..Search::default()
        }
    }

    #[test]
    fn a_bare_machine_misses_the_loader() {
        let dir = TestDir::new();
        dir.file("icd.d/lvp_icd.json", MANIFEST);
        dir.file("lib/libvulkan_lvp.so", "");
        assert_eq!(search(&dir).missing(), Some("Vulkan's loader (libvulkan.so.1) is not installed"));
    }

    #[test]
    fn a_manifest_counts_only_with_its_library() {
        let dir = TestDir::new();
        dir.file("lib/libvulkan.so.1", "");
        assert_eq!(search(&dir).missing(), Some("Vulkan's loader is installed, but no driver"));
        dir.file("icd.d/lvp_icd.json", MANIFEST);
        dir.file("icd.d/broken.json", "{");
        dir.file("icd.d/readme.txt", MANIFEST);
        assert_eq!(search(&dir).missing(), Some("Vulkan's loader is installed, but no driver"));
        dir.file("lib/libvulkan_lvp.so", "");
        assert_eq!(search(&dir).missing(), None);
        assert_eq!(search(&dir).drivers(), [dir.path().join("icd.d/lvp_icd.json")]);
    }

    #[test]
    fn a_library_path_with_a_slash_is_relative_to_the_manifest() {
        let dir = TestDir::new();
        dir.file("lib/libvulkan.so.1", "");
        dir.file("icd.d/vendor.json", r#"{"ICD": {"library_path": "../opt/libvendor.so"}}"#);
        assert!(search(&dir).missing().is_some());
        dir.file("opt/libvendor.so", "");
        assert_eq!(search(&dir).missing(), None);
    }

    #[test]
    fn named_drivers_replace_the_folders() {
        let dir = TestDir::new();
        dir.file("lib/libvulkan.so.1", "");
        dir.file("lib/libvulkan_lvp.so", "");
        dir.file("icd.d/lvp_icd.json", MANIFEST);
        let mut search = search(&dir);
        search.forced = vec![dir.path().join("gone.json")];
        assert_eq!(search.missing(), Some("Vulkan's loader is installed, but no driver"));
        search.forced = vec![dir.path().join("gone.json"), dir.path().join("icd.d")];
        assert_eq!(search.missing(), None);
    }

    #[test]
    fn the_environment_names_the_folders() {
        let list = |paths: [&str; 2]| std::env::join_paths(paths).unwrap();
        let search = Search::from_env(|name| match name {
            "HOME" => Some("/home/ada".into()),
            "XDG_DATA_DIRS" => Some(list(["/opt/share", "/srv/share"])),
            "LD_LIBRARY_PATH" => Some("/opt/lib".into()),
            _ => None,
        });
        let expected = ["/home/ada/.config", "/etc/xdg", "/usr/local/etc", "/etc", "/home/ada/.local/share"];
        let expected = expected.iter().chain(&["/opt/share", "/srv/share", "/usr/local/share", "/usr/share"]);
        let expected = expected.chain(&["/run/opengl-driver/share"]).map(|root| Path::new(root).join("vulkan/icd.d"));
        assert_eq!(search.manifest_dirs, expected.collect::<Vec<_>>());
        assert_eq!(search.library_dirs[0], Path::new("/opt/lib"));
        assert!(!search.is_forced());

        let old = Search::from_env(|name| (name == "VK_ICD_FILENAMES").then(|| list(["/a.json", "/b.json"])));
        assert_eq!(old.forced, [Path::new("/a.json"), Path::new("/b.json")]);
        let new = Search::from_env(|name| match name {
            "VK_ICD_FILENAMES" => Some("/a.json".into()),
            "VK_DRIVER_FILES" => Some("/c.json".into()),
            _ => None,
        });
        assert_eq!(new.forced, [Path::new("/c.json")]);
    }

    #[test]
    fn the_linkers_cache_is_read() {
        let text =
            "1 libs found in cache `/etc/ld.so.cache'\n\tlibvulkan.so.1 (libc6,x86-64) => /lib/x/libvulkan.so.1\n";
        assert_eq!(parse_ldconfig(text), [Path::new("/lib/x/libvulkan.so.1")]);
        let dir = TestDir::new();
        let library = dir.file("odd/place/libvulkan.so.1", "");
        let search = Search { cached: vec![library.clone()], ..Search::default() };
        assert_eq!(search.library(LOADER), Some(library));
    }

    #[test]
    fn json_strings_are_unescaped() {
        let text = r#"[{"name": "A \"B\"", "x":1}, {"name" : "C:\\D\/E"}, {"name": 3}, {"name": "cut"#;
        assert_eq!(json_strings(text, "name"), ["A \"B\"", "C:\\D/E"]);
        assert_eq!(json_string(text, "nothing"), None);
    }
}
