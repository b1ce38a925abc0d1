//! Installs Mesa's software Vulkan driver, lavapipe, through the system's package manager.

use anyhow::{Context, Result, bail};
use std::fs;
use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, Stdio};

/// The package managers that are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manager {
    Apt,
    Dnf,
    Pacman,
    Apk,
}

impl Manager {
    const ALL: [Manager; 4] = [Manager::Apt, Manager::Dnf, Manager::Pacman, Manager::Apk];

    fn program(self) -> &'static str {
        match self {
            Manager::Apt => "apt-get",
            Manager::Dnf => "dnf",
            Manager::Pacman => "pacman",
            Manager::Apk => "apk",
        }
    }

    /// The software driver and the loader, under the names that the distribution gives them.
    fn packages(self) -> [&'static str; 2] {
        match self {
            Manager::Apt => ["mesa-vulkan-drivers", "libvulkan1"],
            Manager::Dnf => ["mesa-vulkan-drivers", "vulkan-loader"],
            Manager::Pacman => ["vulkan-swrast", "vulkan-icd-loader"],
            Manager::Apk => ["mesa-vulkan-swrast", "vulkan-loader"],
        }
    }

    /// Chooses by the distribution's name, then by its relatives' names, then by what is there.
    fn choose(os: &OsRelease, has_program: impl Fn(&str) -> bool) -> Option<Manager> {
        let named = os.names().find_map(|name| match name {
            "debian" | "ubuntu" | "raspbian" => Some(Manager::Apt),
            "fedora" | "rhel" | "centos" => Some(Manager::Dnf),
            "arch" | "archlinux" => Some(Manager::Pacman),
            "alpine" | "postmarketos" => Some(Manager::Apk),
            _ => None,
        });
        named.into_iter().chain(Manager::ALL).find(|manager| has_program(manager.program()))
    }
}

/// The lines of `/etc/os-release` that matter here.
#[derive(Debug, Default, PartialEq, Eq)]
struct OsRelease {
    id: String,
    id_like: Vec<String>,
    version_id: String,
    codename: String,
}

impl OsRelease {
    /// Reads `KEY=value` lines, the value bare or in quotes; unknown lines are passed over.
    fn parse(text: &str) -> OsRelease {
        let mut os = OsRelease::default();
        for (key, value) in text.lines().filter_map(|line| line.trim().split_once('=')) {
            let value = value.trim_matches(|quote| quote == '"' || quote == '\'');
            match key {
                "ID" => os.id = value.to_lowercase(),
                "ID_LIKE" => os.id_like = value.split_whitespace().map(str::to_lowercase).collect(),
                "VERSION_ID" => os.version_id = value.to_owned(),
                "VERSION_CODENAME" => os.codename = value.to_owned(),
                _ => {}
            }
        }
        os
    }

    fn system() -> OsRelease {
        let read = |path| fs::read_to_string(path).ok();
        read("/etc/os-release")
            .or_else(|| read("/usr/lib/os-release"))
            .map(|text| OsRelease::parse(&text))
            .unwrap_or_default()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.id.as_str()).chain(self.id_like.iter().map(String::as_str))
    }

    /// Debian 12's own Mesa is 22.3; its backports carry one that runs simple kernels up to three times as fast.
    fn prefers_backports(&self) -> bool {
        self.id == "debian" && self.version_id == "12"
    }
}

/// Who runs the package manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rights {
    Root,
    /// sudo may ask for a password.
    Sudo,
    /// There is nobody to ask, so sudo has to work without a password.
    SudoSilently,
}

impl Rights {
    fn find() -> Option<Rights> {
        if is_root() {
            Some(Rights::Root)
        } else if !in_path("sudo") {
            None
        } else if std::io::stdin().is_terminal() {
            Some(Rights::Sudo)
        } else {
            Some(Rights::SudoSilently)
        }
    }

    fn prefix(self) -> &'static [&'static str] {
        match self {
            Rights::Root => &[],
            Rights::Sudo => &["sudo"],
            Rights::SudoSilently => &["sudo", "-n"],
        }
    }
}

/// One command of an installation.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    words: Vec<String>,
    /// A step that only refreshes lists may fail (one broken source of many): the next one tells.
    optional: bool,
}

impl Step {
    fn new(rights: Rights, words: &[&str]) -> Step {
        Step { words: rights.prefix().iter().chain(words).map(|&word| word.to_owned()).collect(), optional: false }
    }

    fn run(&self) -> Result<()> {
        let line = self.words.join(" ");
        eprintln!("$ {line}");
        let [program, args @ ..] = self.words.as_slice() else { return Ok(()) };
        // The manager's own account goes to stderr, so that stdout holds results only.
        let status = Command::new(program)
            .args(args)
            .stdout(std::io::stderr())
            .status()
            .with_context(|| format!("cannot start `{line}`"))?;
        if status.success() {
            Ok(())
        } else if self.optional {
            eprintln!("`{line}` failed ({status}); going on with the package lists that are here.");
            Ok(())
        } else {
            bail!("`{line}` failed ({status})")
        }
    }
}

/// The lists are refreshed first where the manager does not do so itself.
fn refresh(manager: Manager, rights: Rights) -> Option<Step> {
    let refresh = Step::new(rights, &["apt-get", "update"]);
    (manager == Manager::Apt).then_some(Step { optional: true, ..refresh })
}

/// The command that installs. `release` is apt's target release, `has_lists` is false on a fresh Arch system.
fn install(manager: Manager, rights: Rights, release: Option<&str>, has_lists: bool) -> Step {
    let mut words: Vec<&str> = match manager {
        Manager::Apt => {
            vec!["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "--no-install-recommends"]
        }
        Manager::Dnf => vec!["dnf", "install", "-y"],
        // Refreshing the lists of a system in use without upgrading it leaves it half upgraded, which Arch does not
        // support; with no lists at all there is nothing to fall out of step with.
        Manager::Pacman if has_lists => vec!["pacman", "-S", "--needed", "--noconfirm"],
        Manager::Pacman => vec!["pacman", "-Sy", "--needed", "--noconfirm"],
        Manager::Apk => vec!["apk", "add", "--no-cache"],
    };
    if let Some(release) = release {
        words.extend(["-t", release]);
    }
    words.extend(manager.packages());
    Step::new(rights, &words)
}

/// Whether `apt-cache policy PACKAGE` knows a version of it from this release.
fn offers(policy: &str, release: &str) -> bool {
    let in_release = format!(" {release}/");
    policy.lines().any(|line| line.contains(&in_release))
}

/// apt's target release for the driver, where a better one than the default is set up.
fn target_release(manager: Manager, os: &OsRelease) -> Option<String> {
    if manager != Manager::Apt || !os.prefers_backports() {
        return None;
    }
    let release = format!("{}-backports", os.codename);
    let policy = Command::new("apt-cache").args(["policy", "mesa-vulkan-drivers"]).output().ok()?;
    offers(&String::from_utf8_lossy(&policy.stdout), &release).then_some(release)
}

/// An installation that can be tried on this machine.
#[derive(Debug)]
pub(crate) struct Installation {
    manager: Manager,
    rights: Rights,
    os: OsRelease,
}

impl Installation {
    /// Says how the driver could be installed here, or why it cannot and what to do by hand.
    pub(crate) fn find() -> Result<Installation> {
        Installation::choose(OsRelease::system(), in_path, Rights::find())
    }

    fn choose(os: OsRelease, has_program: impl Fn(&str) -> bool, rights: Option<Rights>) -> Result<Installation> {
        let Some(manager) = Manager::choose(&os, has_program) else {
            bail!(
                "Mesa's software Vulkan driver cannot be installed from here: none of apt-get, dnf, pacman and apk was \
                 found. Install Vulkan's loader and Mesa's lavapipe driver (on most systems in a package named \
                 mesa-vulkan-drivers, vulkan-swrast or the like), then run this again"
            )
        };
        let Some(rights) = rights else {
            bail!(
                "Mesa's software Vulkan driver cannot be installed from here: that takes root's rights, and sudo was not \
                 found. As root, run `{}`, then run this again",
                by_hand(manager)
            )
        };
        Ok(Installation { manager, rights, os })
    }

    /// Installs. A failure names the command to run by hand.
    pub(crate) fn run(&self) -> Result<()> {
        eprintln!("Installing Mesa's software Vulkan driver ({}).", self.manager.packages().join(", "));
        let failed = || {
            format!(
                "Mesa's software Vulkan driver could not be installed. As root, run `{}`, then run this again",
                by_hand(self.manager)
            )
        };
        if let Some(step) = refresh(self.manager, self.rights) {
            step.run().with_context(failed)?;
        }
        if let Some(release) = target_release(self.manager, &self.os) {
            match install(self.manager, self.rights, Some(&release), true).run() {
                Ok(()) => return Ok(()),
                Err(error) => eprintln!("{error}; trying the release's own packages."),
            }
        }
        let has_lists = has_pacman_lists(Path::new("/var/lib/pacman/sync"));
        install(self.manager, self.rights, None, has_lists).run().with_context(failed)
    }
}

/// The command line for a person with root's rights.
fn by_hand(manager: Manager) -> String {
    let [driver, loader] = manager.packages();
    match manager {
        Manager::Apt => format!("apt-get update && apt-get install {driver} {loader}"),
        Manager::Dnf => format!("dnf install {driver} {loader}"),
        Manager::Pacman => format!("pacman -Syu {driver} {loader}"),
        Manager::Apk => format!("apk add {driver} {loader}"),
    }
}

fn has_pacman_lists(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|entries| {
        entries.filter_map(Result::ok).any(|entry| entry.path().extension().is_some_and(|extension| extension == "db"))
    })
}

fn in_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").stderr(Stdio::null()).output();
    id.is_ok_and(|out| out.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testdir::TestDir;

    fn os(id: &str, id_like: &str, version: &str) -> OsRelease {
        OsRelease::parse(&format!(
            "ID={id}\nID_LIKE=\"{id_like}\"\nVERSION_ID=\"{version}\"\nVERSION_CODENAME=bookworm\n"
        ))
    }

    #[test]
    fn os_release_is_read() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n# a comment\nVERSION_ID=\"12\"\nID=debian\n\
                    VERSION_CODENAME=bookworm\nID_LIKE='one Two'\nHOME_URL=\"https://www.debian.org/?a=b\"\n";
        let expected = OsRelease {
            id: "debian".into(),
            id_like: vec!["one".into(), "two".into()],
            version_id: "12".into(),
            codename: "bookworm".into(),
        };
        assert_eq!(OsRelease::parse(text), expected);
        assert_eq!(OsRelease::parse(""), OsRelease::default());
    }

    #[test]
    fn the_manager_follows_from_the_distribution() {
        let all = |_: &str| true;
        for (id, like, manager) in [
            ("debian", "", Manager::Apt),
            ("linuxmint", "ubuntu debian", Manager::Apt),
            ("fedora", "", Manager::Dnf),
            ("rocky", "rhel centos fedora", Manager::Dnf),
            ("arch", "", Manager::Pacman),
            ("manjaro", "arch", Manager::Pacman),
            ("alpine", "", Manager::Apk),
        ] {
            assert_eq!(Manager::choose(&os(id, like, ""), all), Some(manager), "{id}");
        }
        // An unknown distribution, or a known one without its manager: whatever is there.
        assert_eq!(Manager::choose(&os("own", "", ""), |program| program == "apk"), Some(Manager::Apk));
        assert_eq!(Manager::choose(&os("debian", "", ""), |program| program == "dnf"), Some(Manager::Dnf));
        assert_eq!(Manager::choose(&os("nixos", "", ""), |_| false), None);
    }

    #[test]
    fn command_lines() {
        let line = |step: Step| step.words.join(" ");
        let plain = |manager, rights| line(install(manager, rights, None, true));
        assert_eq!(
            plain(Manager::Apt, Rights::Root),
            "env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends mesa-vulkan-drivers libvulkan1"
        );
        assert_eq!(
            line(install(Manager::Apt, Rights::SudoSilently, Some("bookworm-backports"), true)),
            "sudo -n env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -t bookworm-backports \
             mesa-vulkan-drivers libvulkan1"
        );
        assert_eq!(plain(Manager::Dnf, Rights::Sudo), "sudo dnf install -y mesa-vulkan-drivers vulkan-loader");
        assert_eq!(
            plain(Manager::Pacman, Rights::Root),
            "pacman -S --needed --noconfirm vulkan-swrast vulkan-icd-loader"
        );
        assert_eq!(
            line(install(Manager::Pacman, Rights::Root, None, false)),
            "pacman -Sy --needed --noconfirm vulkan-swrast vulkan-icd-loader"
        );
        assert_eq!(plain(Manager::Apk, Rights::Root), "apk add --no-cache mesa-vulkan-swrast vulkan-loader");
    }

    #[test]
    fn lists_are_refreshed_for_apt_only_and_may_fail() {
        let step = refresh(Manager::Apt, Rights::Sudo).unwrap();
        assert_eq!(step, Step { words: ["sudo", "apt-get", "update"].map(String::from).to_vec(), optional: true });
        assert_eq!(refresh(Manager::Dnf, Rights::Root), None);
    }

    #[test]
    fn backports_are_for_debian_12_where_set_up() {
        assert!(os("debian", "", "12").prefers_backports());
        assert!(!os("debian", "", "13").prefers_backports());
        assert!(!os("ubuntu", "debian", "12").prefers_backports());
        let policy = "mesa-vulkan-drivers:\n  Candidate: 22.3.6-1+deb12u2\n  Version table:\n     25.0.7-2~bpo12+1 100\n        \
                      100 https://mirror.example/debian bookworm-backports/main amd64 Packages\n";
        assert!(offers(policy, "bookworm-backports"));
        assert!(!offers(policy, "bookworm"));
        assert!(!offers("mesa-vulkan-drivers:\n  Candidate: 22.3.6-1+deb12u2\n", "bookworm-backports"));
    }

    #[test]
    fn what_cannot_be_installed_says_what_to_do() {
        let none = Installation::choose(os("nixos", "", ""), |_| false, Some(Rights::Root)).unwrap_err().to_string();
        assert_eq!(
            none,
            "Mesa's software Vulkan driver cannot be installed from here: none of apt-get, dnf, pacman and apk was found. \
             Install Vulkan's loader and Mesa's lavapipe driver (on most systems in a package named mesa-vulkan-drivers, \
             vulkan-swrast or the like), then run this again"
        );
        let no_rights =
            Installation::choose(os("fedora", "", ""), |program| program == "dnf", None).unwrap_err().to_string();
        assert_eq!(
            no_rights,
            "Mesa's software Vulkan driver cannot be installed from here: that takes root's rights, and sudo was not found. \
             As root, run `dnf install mesa-vulkan-drivers vulkan-loader`, then run this again"
        );
    }

    #[test]
    fn a_step_that_fails_is_an_error_unless_optional() {
        let step = |optional| Step { words: vec!["false".into()], optional };
        if in_path("false") {
            assert!(step(false).run().unwrap_err().to_string().starts_with("`false` failed"));
            assert!(step(true).run().is_ok());
        }
    }

    #[test]
    fn pacmans_lists_are_seen() {
        let dir = TestDir::new();
        assert!(!has_pacman_lists(&dir.path().join("sync")));
        dir.file("sync/core.files", "");
        assert!(!has_pacman_lists(&dir.path().join("sync")));
        dir.file("sync/core.db", "");
        assert!(has_pacman_lists(&dir.path().join("sync")));
    }
}
