//! Errors as the person at the terminal meets them: what failed, because of what, and what to try.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

/// An error that knows what its reader can do about it. Only such errors can leave a command.
pub trait NextStep: Error + Send + Sync + 'static {
    /// What to try next: an imperative phrase, with the command to type where there is one.
    fn next_step(&self) -> Cow<'static, str>;

    /// How the process ends because of it.
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

/// How a process ends that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was tried, and failed.
    Failed,
    /// Nothing was tried, because the command line or the configuration is wrong.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Failed => 1,
            Exit::Usage => 2,
        })
    }
}

/// The error of a command. Anything with a [`NextStep`] converts into it.
#[derive(Debug)]
pub struct Failure(Box<dyn NextStep>);

impl<E: NextStep> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl Failure {
    /// How the process ends.
    pub fn exit(&self) -> Exit {
        self.0.exit()
    }

    /// What failed, in one line.
    pub fn headline(&self) -> String {
        self.0.to_string()
    }

    /// The causes, outermost first, without those that only repeat what was already said.
    pub fn causes(&self) -> Vec<String> {
        let mut said = vec![self.headline()];
        let mut next = self.0.source();
        while let Some(error) = next {
            let text = error.to_string().trim_end().to_owned();
            if !said.iter().any(|line| line.contains(&text)) {
                said.push(text);
            }
            next = error.source();
        }
        said.split_off(1)
    }

    /// What to try.
    pub fn next_step(&self) -> String {
        self.0.next_step().into_owned()
    }

    /// The whole story, as it is printed to a person.
    pub fn to_text(&self) -> String {
        let mut text = format!("error: {}\n", self.headline());
        for cause in self.causes() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  because {}", indented(&cause, "  "));
        }
        let _ = writeln!(text, "  try: {}", indented(&self.next_step(), "       "));
        text
    }

    /// The whole story, as one JSON value.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "event": "error",
            "error": self.headline(),
            "because": self.causes(),
            "try": self.next_step(),
        })
    }
}

/// An error and its causes in one line, for lists of errors and for logs.
pub fn chain_text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

/// The text with every line but the first indented.
fn indented(text: &str, by: &str) -> String {
    text.trim_end().replace('\n', &format!("\n{by}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Sample {
        #[error("cannot read the ledger")]
        Read(#[source] std::io::Error),
        #[error("the port is taken")]
        Port,
    }

    impl NextStep for Sample {
        fn next_step(&self) -> Cow<'static, str> {
            match self {
                Self::Read(_) => "check the disk".into(),
                Self::Port => "choose another one:\nswarm up --listen …".into(),
            }
        }

        fn exit(&self) -> Exit {
            match self {
                Self::Read(_) => Exit::Failed,
                Self::Port => Exit::Usage,
            }
        }
    }

    #[test]
    fn a_failure_tells_what_why_and_what_to_try() {
        let failure = Failure::from(Sample::Read(std::io::Error::other("no such device")));
        assert_eq!(failure.to_text(), "error: cannot read the ledger\n  because no such device\n  try: check the disk\n");
        assert_eq!(failure.to_json()["because"][0], "no such device");
        assert_eq!(failure.exit(), Exit::Failed);
    }

    #[test]
    fn longer_advice_stays_aligned() {
        let failure = Failure::from(Sample::Port);
        assert_eq!(failure.to_text(), "error: the port is taken\n  try: choose another one:\n       swarm up --listen …\n");
        assert_eq!(failure.exit(), Exit::Usage);
    }
}
