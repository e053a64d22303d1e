//! What the environment says. The one place that reads environment variables.

use std::ffi::OsString;
use std::path::PathBuf;

use zeroize::Zeroizing;

/// The environment variables that mean something to the swarm, read once at the start.
#[derive(Clone, Default)]
pub struct Environment {
    /// `COCOON_HOME`: where keys, configuration and ledger live, unless `--home` says otherwise.
    pub cocoon_home: Option<PathBuf>,
    /// `HOME` (`USERPROFILE` on Windows): the person's own directory.
    pub user_home: Option<PathBuf>,
    /// `XDG_CACHE_HOME`: where caches go.
    pub cache_home: Option<PathBuf>,
    /// `COCOON_PASSPHRASE`: opens the keystore where nobody can be asked.
    pub passphrase: Option<Zeroizing<String>>,
    /// `RUST_LOG`: what is logged, above every other setting.
    pub log_filter: Option<String>,
    /// `NO_COLOR`: set to anything, output has no colour.
    pub no_color: bool,
}

impl Environment {
    /// Reads the variables.
    pub fn read() -> Self {
        Self {
            cocoon_home: path("COCOON_HOME"),
            user_home: path(if cfg!(windows) { "USERPROFILE" } else { "HOME" }),
            cache_home: path("XDG_CACHE_HOME"),
            passphrase: text("COCOON_PASSPHRASE").map(Zeroizing::new),
            log_filter: text("RUST_LOG"),
            no_color: present("NO_COLOR").is_some(),
        }
    }
}

/// Keeps Mesa's layer that asks the desktop for its favourite adapter from complaining on stderr where there is no desktop: this
/// program chooses its adapter itself. What a person set stays.
///
/// # Safety
/// No other thread may run: the environment is shared by all of them without a lock.
pub unsafe fn quiet_drivers() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() && std::env::var_os("NODEVICE_SELECT").is_none() {
        // SAFETY: the caller promises that this is the only thread.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment")
            .field("cocoon_home", &self.cocoon_home)
            .field("user_home", &self.user_home)
            .field("cache_home", &self.cache_home)
            .field("passphrase", &self.passphrase.as_ref().map(|_| "hidden"))
            .field("log_filter", &self.log_filter)
            .field("no_color", &self.no_color)
            .finish()
    }
}

/// A variable that is set to something: an empty one counts as absent, as the conventions of all these variables say.
fn present(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn path(name: &str) -> Option<PathBuf> {
    present(name).map(PathBuf::from)
}

fn text(name: &str) -> Option<String> {
    present(name).and_then(|value| value.into_string().ok())
}
