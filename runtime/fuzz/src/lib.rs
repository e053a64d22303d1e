//! The readers of the runtime, from its own sources, without its engines: those would be compiled a second time, with the
//! sanitizer, for half an hour, and none of them sees a byte of a stranger's.
#![allow(dead_code, unreachable_pub, unused_imports)]

#[path = "../../src/chat.rs"]
pub mod chat;
mod engine;
#[path = "../../src/file.rs"]
mod file;
#[path = "../../src/folder/mod.rs"]
pub mod folder;
#[path = "../../src/gguf/mod.rs"]
pub mod gguf;
#[path = "../../src/safetensors/mod.rs"]
pub mod safetensors;
#[path = "../../src/tokenizer/mod.rs"]
pub mod tokenizer;

/// How byte-level BPE spells a byte.
pub fn spell(byte: u8) -> char {
    tokenizer::spell(byte)
}
