//! Where a node listens for questions, and how a caller finds it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::durable::{self, Existing};
use crate::home::Home;

/// Longest a caller waits for a connection on its own machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes of the file that names port and token: they are some hundred.
const FILE_BYTES_MAX: u64 = 1024;

/// How a caller reaches a node.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// A Unix socket.
    #[cfg(unix)]
    Socket(PathBuf),
    /// A port of this machine, for whoever can read a file.
    Loopback(Port),
}

/// What stands in the file.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Port {
    pub(super) port: u16,
    pub(super) token: String,
}

impl std::fmt::Debug for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port").field("port", &self.port).finish_non_exhaustive()
    }
}

/// Both ends of a connection are read and written.
pub(super) trait Stream: io::Read + io::Write {}

impl<T: io::Read + io::Write> Stream for T {}

impl Place {
    /// The places where the node of a home may be, the usual one first.
    pub(super) fn all(home: &Home) -> Vec<Self> {
        let mut places = Vec::new();
        #[cfg(unix)]
        places.push(Self::Socket(home.control_socket()));
        places.extend(Port::read(&home.control_file()).map(Self::Loopback));
        places
    }

    /// What a caller has to show there.
    pub(super) fn token(&self) -> Option<&str> {
        match self {
            #[cfg(unix)]
            Self::Socket(_) => None,
            Self::Loopback(port) => Some(&port.token),
        }
    }

    /// Connects; whatever goes wrong means that nobody is there.
    pub(super) fn connect(&self, patience: Duration) -> io::Result<Box<dyn Stream>> {
        match self {
            #[cfg(unix)]
            Self::Socket(path) => {
                let stream = std::os::unix::net::UnixStream::connect(path)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                Ok(Box::new(stream))
            }
            Self::Loopback(port) => {
                let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port.port)), CONNECT_TIMEOUT)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                Ok(Box::new(stream))
            }
        }
    }
}

impl Port {
    fn read(file: &Path) -> Option<Self> {
        let bytes = std::fs::metadata(file).ok()?.len();
        let text = (bytes <= FILE_BYTES_MAX).then(|| std::fs::read(file).ok()).flatten()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes it for its owner alone.
    pub(super) fn write(&self, file: &Path) -> io::Result<()> {
        durable::write(file, &serde_json::to_vec(self)?, Existing::Replace)
    }
}
