//! One file over HTTP, in ranges, into a part that grows.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use ureq::Agent;
use ureq::http::{Response, StatusCode, header};
use ureq::tls::{RootCerts, TlsConfig};

use super::fetch::check;
use super::{FetchEvent, FetchOptions, Listener, SourceError};

/// Bytes read between two reports of progress.
const READ_BYTES: usize = 1 << 18;

/// How long to wait for a connection: a few lost packets on a far line.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// How long to wait for a server to begin its answer.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// A file to get.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// What people call what is in it.
    pub(super) name: &'a str,
    /// Its size; a file of another is not the one that is wanted.
    pub(super) size_bytes: u64,
}

fn agent(options: &FetchOptions) -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(RESPONSE_TIMEOUT))
        .timeout_recv_body(Some(options.request_timeout))
        // What the machine trusts, so that a company's own authority counts, as it does for pip.
        .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
        .user_agent(concat!("cocoon-swarm/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

/// The size of a file, from a server that serves ranges of it.
///
/// # Errors
/// [`SourceError::Range`] when the server serves no ranges; [`SourceError::Connection`], [`SourceError::Status`].
pub(super) fn size(url: &str, options: &FetchOptions) -> Result<u64, SourceError> {
    let response = agent(options).get(url).header(header::RANGE, "bytes=0-0").call().map_err(connection)?;
    match response.status() {
        StatusCode::PARTIAL_CONTENT => {
            text(&response, header::CONTENT_RANGE).and_then(content_range).map(|range| range.size).ok_or(SourceError::Range)
        }
        StatusCode::OK => Err(SourceError::Range),
        status => Err(SourceError::Status { status: status.as_u16() }),
    }
}

/// Appends to `part` until it has all bytes that are wanted, starting with those it has.
///
/// # Errors
/// [`SourceError`]; what arrived before stays in the part.
pub(super) fn fetch(url: &str, wanted: Wanted<'_>, part: &Path, options: &FetchOptions, listener: Listener<'_>) -> Result<(), SourceError> {
    let agent = agent(options);
    let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(part)?;
    let mut have = file.seek(SeekFrom::End(0))?;
    if have > wanted.size_bytes {
        have = restart(&mut file)?;
    }
    if have > 0 {
        listener(FetchEvent::Resuming { name: wanted.name, done: have, total: wanted.size_bytes });
    }
    while have < wanted.size_bytes {
        let last = wanted.size_bytes.min(have.saturating_add(options.request_bytes)) - 1;
        let request = agent.get(url).header(header::RANGE, format!("bytes={have}-{last}"));
        let response = request.call().map_err(connection)?;
        if body_start(&response, have, wanted.size_bytes)? != have {
            have = restart(&mut file)?;
        }
        have = append(response, &mut file, have, wanted, options, listener)?;
    }
    Ok(())
}

fn text<B>(response: &Response<B>, name: header::HeaderName) -> Option<&str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

/// Where in the file the answer's body begins: where it was asked to, or at zero when the server knows no ranges.
fn body_start<B>(response: &Response<B>, asked: u64, size: u64) -> Result<u64, SourceError> {
    let same_size = |found: u64| if found == size { Ok(()) } else { Err(SourceError::Size { found, expected: size }) };
    match response.status() {
        StatusCode::PARTIAL_CONTENT => {
            let range = text(response, header::CONTENT_RANGE).and_then(content_range).ok_or(SourceError::Range)?;
            same_size(range.size)?;
            if range.start == asked { Ok(asked) } else { Err(SourceError::Range) }
        }
        StatusCode::OK => {
            text(response, header::CONTENT_LENGTH).and_then(|length| length.parse().ok()).map_or(Ok(()), same_size)?;
            Ok(0)
        }
        // The server's file ends before the part does, so it is another file.
        StatusCode::RANGE_NOT_SATISFIABLE => {
            let found = text(response, header::CONTENT_RANGE).and_then(|range| range.strip_prefix("bytes */")?.parse().ok()).unwrap_or(0);
            Err(SourceError::Size { found, expected: size })
        }
        status => Err(SourceError::Status { status: status.as_u16() }),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct ContentRange {
    start: u64,
    size: u64,
}

/// Reads `bytes 0-9/100`.
fn content_range(text: &str) -> Option<ContentRange> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some(ContentRange { start: start.parse().ok()?, size: size.parse().ok()? })
}

/// Appends the answer's body, and never more than is wanted.
fn append(
    response: Response<ureq::Body>,
    file: &mut File,
    mut have: u64,
    wanted: Wanted<'_>,
    options: &FetchOptions,
    listener: Listener<'_>,
) -> Result<u64, SourceError> {
    let before = have;
    let mut body = response.into_body().into_reader().take(wanted.size_bytes - have);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = match body.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(connection(ureq::Error::from(error))),
        };
        if read == 0 {
            break;
        }
        file.write_all(&buffer[..read])?;
        have += read as u64;
        listener(FetchEvent::Bytes { name: wanted.name, done: have, total: wanted.size_bytes });
        check(&options.cancel)?;
    }
    if have == before {
        // An empty answer that calls itself a success would be asked for again for ever.
        return Err(connection(ureq::Error::from(io::Error::from(io::ErrorKind::UnexpectedEof))));
    }
    Ok(have)
}

fn restart(file: &mut File) -> io::Result<u64> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))
}

fn connection(error: ureq::Error) -> SourceError {
    SourceError::Connection(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_or_refused() {
        assert_eq!(content_range("bytes 5-9/100"), Some(ContentRange { start: 5, size: 100 }));
        for wrong in ["", "bytes */100", "bytes 5-9/*", "bytes 5/100", "items 5-9/100", "bytes -9/100"] {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }
}
