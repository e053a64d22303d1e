//! Requests of the operating system to stop.

/// Hears requests to stop, Ctrl-C or the signal that service managers send, from the moment it is made. One that comes between two
/// waits is not lost, so whoever says that it is ready makes this first.
#[derive(Debug)]
pub struct StopSignals {
    /// None where the system refuses: then the signal ends the process by itself, which is also what was asked for.
    #[cfg(unix)]
    heard: Option<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)>,
    #[cfg(windows)]
    heard: Option<tokio::signal::windows::CtrlC>,
}

impl StopSignals {
    /// Hears from now on. Call it within a tokio runtime.
    pub fn listen() -> Self {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let heard = signal(SignalKind::interrupt()).and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)));
            Self { heard: heard.ok() }
        }
        #[cfg(windows)]
        {
            Self { heard: tokio::signal::windows::ctrl_c().ok() }
        }
    }

    /// Waits for the next request.
    pub async fn requested(&mut self) {
        #[cfg(unix)]
        if let Some((interrupt, terminate)) = &mut self.heard {
            tokio::select! {
                _ = interrupt.recv() => return,
                _ = terminate.recv() => return,
            }
        }
        #[cfg(windows)]
        if let Some(heard) = &mut self.heard {
            heard.recv().await;
            return;
        }
        std::future::pending::<()>().await;
    }
}

/// Waits until the process is asked to stop, from now on.
pub async fn stop_requested() {
    StopSignals::listen().requested().await;
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_before_the_wait_is_heard() {
        let mut stop = StopSignals::listen();
        let pid = std::process::id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        stop.requested().await;
    }
}
