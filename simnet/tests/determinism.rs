//! One seed, one trace.

use std::process::Command;

use cocoon_simnet::scenario::first_paid_job;

#[test]
fn three_nodes_find_each_other_negotiate_and_pay() {
    let trace = first_paid_job(1).expect("the story ends well").text();
    for expected in
        ["PeerConnected", "OfferSeen", "Proposed", "Accepted", "Funded", "Agreed", "chunk 0 ", "done Length", "chain      claimed"]
    {
        assert!(trace.contains(expected), "no `{expected}` in\n{trace}");
    }
}

#[test]
fn one_seed_gives_one_trace() {
    let (first, second) = (first_paid_job(7).expect("a run"), first_paid_job(7).expect("another"));
    assert_eq!(first.text(), second.text());
    assert_ne!(first.text(), first_paid_job(8).expect("a third").text(), "the seed must matter");
}

/// Another process has another memory layout and other hash keys of its own.
#[test]
fn the_trace_is_the_same_in_another_process() {
    let here = first_paid_job(7).expect("a run").text();
    let out = Command::new(env!("CARGO_BIN_EXE_cocoon-simnet")).args(["--seed", "7"]).output().expect("the binary runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(String::from_utf8_lossy(&out.stdout), here);
}
