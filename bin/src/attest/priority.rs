//! The least priority among the processes of a machine.

use std::io;

/// Lets everything else on this machine go first. On Linux this is said of the calling thread and of those that it starts from now on;
/// elsewhere on Unix, of the whole process. Windows is not asked: there it changes nothing.
///
/// # Errors
/// What the system says; then the priority is as before.
pub fn lowest() -> io::Result<()> {
    #[cfg(unix)]
    rustix::process::nice(LEAST)?;
    Ok(())
}

/// Steps down from any priority to the least, beyond which none counts.
#[cfg(unix)]
const LEAST: i32 = 19;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// The nice value of the calling thread: the nineteenth field of its line, counted from one, its name in brackets being the second.
    fn niceness() -> i32 {
        let line = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        line.rsplit(") ").next().unwrap().split(' ').nth(16).unwrap().parse().unwrap()
    }

    #[test]
    fn the_thread_and_those_it_starts_have_the_least_priority_and_others_keep_theirs() {
        let before = niceness();
        let within = std::thread::spawn(|| {
            lowest().unwrap();
            (niceness(), std::thread::spawn(niceness).join().unwrap())
        });
        assert_eq!(within.join().unwrap(), (19, 19));
        assert_eq!(niceness(), before);
    }
}
