//! What a model folder says about its model and its texts: the first byte chooses which.
#![no_main]

use cocoon_runtime::FolderConfig;
use cocoon_runtime::folder::{LAYERS_MAX, TextConfig, WIDTH_MAX};
use libfuzzer_sys::fuzz_target;

/// What is read is within the limits, so that products of two widths do not overflow.
fn config(bytes: &[u8]) {
    let Ok(config) = FolderConfig::from_json(bytes) else { return };
    let (layers, widths) = match &config {
        FolderConfig::Decoder(config) => (config.layers, [config.hidden, config.feed_forward, config.heads * config.head_size]),
        FolderConfig::Encoder(config) => (config.layers, [config.hidden, config.feed_forward, config.segments]),
    };
    assert!(layers <= LAYERS_MAX && widths.iter().all(|width| (1..=WIDTH_MAX).contains(width)));
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    match choice % 2 {
        0 => config(bytes),
        _ => drop(TextConfig::from_json(bytes)),
    }
});
