//! A line to a server that can be cut and restored.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Result;

/// Passes connections on to a port of this machine, until it is cut. While it is cut, connections break off as soon as they are made.
#[derive(Debug)]
pub struct Line {
    port: u16,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: State,
    /// Both ends of each connection that was passed on, also of those that have ended since.
    open: Vec<TcpStream>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Whole,
    Cut,
    Gone,
}

impl Line {
    /// A line to `server`.
    ///
    /// # Errors
    /// When there is no port for it.
    pub fn to(server: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::<Mutex<Shared>>::default();
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for caller in listener.incoming().map_while(io::Result::ok) {
                let mut shared = lock(&of_thread);
                match shared.state {
                    // Dropped, the connection breaks off. A server that is not there looks the same.
                    State::Cut => {}
                    State::Whole => drop(pass_on(caller, server, &mut shared.open)),
                    State::Gone => return,
                }
            }
        });
        Ok(Self { port, shared })
    }

    /// Where it begins.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Cuts it: what was connected breaks off, and nothing connects any more.
    pub fn cut(&self) {
        self.turn(State::Cut);
    }

    /// Makes it whole again.
    pub fn restore(&self) {
        self.turn(State::Whole);
    }

    fn turn(&self, state: State) {
        let mut shared = lock(&self.shared);
        shared.state = state;
        for stream in shared.open.drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.turn(State::Gone);
        // Wakes the thread that waits for callers.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn pass_on(caller: TcpStream, server: u16, open: &mut Vec<TcpStream>) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", server))?;
    open.push(caller.try_clone()?);
    open.push(server.try_clone()?);
    for (mut from, mut to) in [(caller.try_clone()?, server.try_clone()?), (server, caller)] {
        thread::spawn(move || {
            // However it ends, the other side should hear of it.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
