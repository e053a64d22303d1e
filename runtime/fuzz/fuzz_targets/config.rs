//! `config.json`: what is read is within the limits, so that products of two widths do not overflow.
#![no_main]

use cocoon_runtime_fuzz::folder::{FolderConfig, LAYERS_MAX, WIDTH_MAX};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(config) = FolderConfig::from_json(bytes) else { return };
    let (layers, widths) = match &config {
        FolderConfig::Decoder(config) => (config.layers, [config.hidden, config.feed_forward, config.heads * config.head_size]),
        FolderConfig::Encoder(config) => (config.layers, [config.hidden, config.feed_forward, config.segments]),
    };
    assert!(layers <= LAYERS_MAX && widths.iter().all(|width| (1..=WIDTH_MAX).contains(width)));
});
