//! What the end-to-end suites share: swarm processes with homes, ports and output of their own.
//!
//! Everything here goes through the public command line, as a person or a script would. A [`Process`] is killed when it is
//! dropped, so no test leaves one behind.

mod line;

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

pub use line::Line;

/// Longest any step of a suite may take before it counts as hung. Generous: two busy cores build and test at once in CI.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Lines of output kept between a process and its test; a process that writes more waits.
const LINES_MAX: usize = 65_536;

/// The `swarm` binary that was built with these tests.
///
/// # Errors
/// When it was not built.
pub fn binary() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.ancestors().nth(2).context("test binaries lie in target/<profile>/deps")?;
    let binary = folder.join("swarm");
    ensure!(binary.is_file(), "{} is missing: run `cargo build --release --bin swarm` first", binary.display());
    Ok(binary)
}

/// Asks until there is an answer.
///
/// # Errors
/// Those of `ask`; and when [`PATIENCE`] ends first.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        thread::sleep(Duration::from_millis(100));
    }
    bail!("still not after {PATIENCE:?}: {what}")
}

/// A free TCP port on loopback.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A node's home in a temporary directory, with keys of its own.
#[derive(Debug)]
pub struct Home {
    dir: TempDir,
    chain: String,
}

impl Home {
    /// Runs `swarm init` for a devnet at `chain`, and points the configuration at it.
    ///
    /// # Errors
    /// When `init` fails.
    pub fn init(chain: &str) -> Result<Self> {
        let home = Self { dir: TempDir::new()?, chain: chain.to_owned() };
        home.run(&["init", "--no-passphrase"])?;
        Ok(home)
    }

    /// A copy of this home as it is now, that reaches the chain another way: what somebody has who kept a backup.
    ///
    /// # Errors
    /// When a file cannot be copied.
    pub fn copy(&self, chain: &str) -> Result<Self> {
        let dir = TempDir::new()?;
        for entry in std::fs::read_dir(self.path())? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                std::fs::copy(entry.path(), dir.path().join(entry.file_name()))?;
            }
        }
        Ok(Self { dir, chain: chain.to_owned() })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Replaces one line of the configuration, so that a test says only what it changes.
    ///
    /// # Errors
    /// When the key does not stand there.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        let path = self.path().join("config.toml");
        let text = std::fs::read_to_string(&path)?;
        let commented = format!("# {key} =");
        let plain = format!("{key} =");
        let mut found = false;
        let lines = text.lines().map(|line| {
            let hit = !found && (line.starts_with(&plain) || line.starts_with(&commented));
            found |= hit;
            if hit { format!("{key} = {value}") } else { line.to_owned() }
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        ensure!(found, "no key {key} in the configuration");
        Ok(std::fs::write(path, text)?)
    }

    /// A command in this home.
    ///
    /// # Errors
    /// When the binary is missing.
    pub fn command(&self, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(binary()?);
        command.arg("--home").arg(self.path()).args(["--chain", &self.chain]).args(args);
        command.env_remove("COCOON_HOME").env_remove("COCOON_PASSPHRASE").env("NO_COLOR", "1");
        Ok(command)
    }

    /// Runs a command to its end and gives its standard output.
    ///
    /// # Errors
    /// When it exits non-zero, with both of its outputs.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        let out = self.command(args)?.stdin(Stdio::null()).output()?;
        let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        ensure!(out.status.success(), "swarm {args:?}: {}\n{stdout}\n{stderr}", out.status);
        Ok(stdout.into_owned())
    }

    /// Runs a command that must fail, and gives what it wrote to standard error.
    ///
    /// # Errors
    /// When it succeeds.
    pub fn fail(&self, args: &[&str]) -> Result<String> {
        let out = self.command(args)?.stdin(Stdio::null()).output()?;
        ensure!(!out.status.success(), "swarm {args:?} succeeded:\n{}", String::from_utf8_lossy(&out.stdout));
        Ok(String::from_utf8_lossy(&out.stderr).into_owned())
    }

    /// Runs a command with `--json` and gives the one value it prints.
    ///
    /// # Errors
    /// As [`Home::json`], and when it prints none or several.
    pub fn value(&self, args: &[&str]) -> Result<Value> {
        let mut lines = self.json(args)?;
        let value = lines.pop().with_context(|| format!("swarm {args:?} prints nothing"))?;
        ensure!(lines.is_empty(), "swarm {args:?} prints more than one value");
        Ok(value)
    }

    /// Runs a command with `--json` and gives its lines.
    ///
    /// # Errors
    /// When it exits non-zero or prints something else.
    pub fn json(&self, args: &[&str]) -> Result<Vec<Value>> {
        let text = self.run(&[&["--json"], args].concat())?;
        text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))).collect()
    }

    /// Starts a command that goes on.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, args: &[&str]) -> Result<Process> {
        Process::start(self.command(&[&["--json"], args].concat())?)
    }
}

/// A running `swarm`, its events as they come.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    errors: Option<thread::JoinHandle<String>>,
}

impl Process {
    fn start(mut command: Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut stderr = child.stderr.take().context("stderr is piped")?;
        let (tx, lines) = sync_channel(LINES_MAX);
        thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| tx.send(line)));
        let errors = thread::spawn(move || {
            let mut bytes = Vec::new();
            // What was read before a failure is still worth showing.
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Ok(Self { child, lines, seen: Vec::new(), errors: Some(errors) })
    }

    /// The next event with this name.
    ///
    /// # Errors
    /// When the process ends or [`PATIENCE`] does first; with everything it printed.
    pub fn event(&mut self, name: &str) -> Result<Value> {
        self.find(name, |_| true)
    }

    /// The next event with this name that `wanted` accepts.
    ///
    /// # Errors
    /// As [`Process::event`].
    pub fn find(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let value: Value = serde_json::from_str(&line).with_context(|| format!("not JSON: {line}"))?;
                    self.seen.push(line);
                    if value["event"] == name && wanted(&value) {
                        return Ok(value);
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!("no `{name}` in {PATIENCE:?}; so far:\n{}", self.seen.join("\n")),
                Err(RecvTimeoutError::Disconnected) => {
                    let seen = self.seen.join("\n");
                    bail!("the process ended before `{name}`; it printed:\n{seen}\n{}", self.errors());
                }
            }
        }
    }

    /// Kills it as a power cut would: no handler runs.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop, as Ctrl-C does, and waits until it has.
    ///
    /// # Errors
    /// When it does not stop within [`PATIENCE`].
    pub fn interrupt(&mut self) -> Result<ExitStatus> {
        let status = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status()?;
        ensure!(status.success(), "kill -INT failed");
        self.wait()
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it does not within [`PATIENCE`].
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("still running after {PATIENCE:?}; so far:\n{}", self.seen.join("\n"))
    }

    /// The rest of its events, up to its end.
    ///
    /// # Errors
    /// When a line is no JSON.
    pub fn rest(&mut self) -> Result<Vec<Value>> {
        self.lines.iter().map(|line| Ok(serde_json::from_str(&line)?)).collect()
    }

    /// What it wrote to standard error, once it has ended.
    pub fn errors(&mut self) -> String {
        self.errors.take().and_then(|reader| reader.join().ok()).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
