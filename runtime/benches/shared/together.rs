//! Answers written at once, timed: for `../generate.rs` and `../../examples/compare.rs`.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::{Duration, Instant};

use cocoon_runtime::{Event, GenerationRequest, Prompt, Server};

/// How long jobs that are served together took, until the first has ended.
///
/// Reading ends when every job has its first token; tokens that others wrote until then count as
/// read, since each went through the model too. Writing is measured from there, so that all are at it.
pub(crate) struct Together {
    pub(crate) reading: Duration,
    pub(crate) tokens_read: usize,
    pub(crate) writing: Duration,
    pub(crate) tokens_written: usize,
}

impl Together {
    /// Has a server without jobs answer so many prompts of so many tokens with up to `tokens` each,
    /// and leaves it without jobs.
    pub(crate) fn measure(server: &mut Server, jobs: usize, prompt: usize, tokens: u32) -> Result<Self, Box<dyn Error>> {
        let mut tickets = Vec::with_capacity(jobs);
        for job in 0..jobs {
            // Any tokens will do, so long as jobs differ: the work does not depend on them.
            let ids = (0..prompt).map(|at| (1_000 + (at + 97 * job) % 1_000) as u32).collect();
            tickets.push(server.admit(&GenerationRequest::new(Prompt::Tokens(ids), tokens))?.ticket);
        }
        let start = Instant::now();
        let (mut begun, mut written, mut all_write, mut ended) = (BTreeSet::new(), 0, None, false);
        while !ended {
            for served in server.step() {
                match served.event? {
                    // The first token is chosen from what the prompt's last row gave; only the others go through the model.
                    Event::Token(_) => written += usize::from(!begun.insert(served.ticket)),
                    Event::Finished(_) => ended = true,
                }
            }
            if begun.len() == jobs && all_write.is_none() {
                all_write = Some((Instant::now(), written));
            }
        }
        let until = Instant::now();
        tickets.into_iter().for_each(|ticket| server.forget(ticket));
        let (since, before) = all_write.ok_or("an answer ended before all had begun: ask for longer ones")?;
        Ok(Self { reading: since - start, tokens_read: jobs * prompt + before, writing: until - since, tokens_written: written - before })
    }
}
