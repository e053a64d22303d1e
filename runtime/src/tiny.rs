//! A tiny Llama, generated from a seed: a real model file for tests, soaks and fault injection.
//!
//! It has everything a large file has (byte-level BPE, chat template, quantised tensors, grouped
//! attention) in some 100 KB, and talks nonsense. Equal seeds give equal bytes on every platform.
//! Its control tokens have score zero, so greedy answers go on to their length limit.
//!
//! [`tiny_llama_of_pieces`] has the same weights and SentencePiece's tokens. [`tiny_bert`] is the like for vectors of texts.

pub(crate) mod bert;
mod pieces;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::gguf::{Array, GgufWriter, TensorType, Value};
use crate::tokenizer::spell;

pub use bert::{CONTEXT as BERT_CONTEXT_TOKENS, HIDDEN as BERT_WIDTH, tiny_bert};

/// Most tokens of prompt and answer together.
pub const CONTEXT_TOKENS: u64 = 2_048;

const HIDDEN: u64 = 64;
const FEED_FORWARD: u64 = 128;
const LAYERS: u64 = 2;
const HEADS: u64 = 4;
const KV_HEADS: u64 = 2;
const HEAD_SIZE: u64 = HIDDEN / HEADS;

const CONTROL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

/// Pairs joined beyond single bytes, in order; `Ġ` spells a space.
const MERGES: [(&str, &str); 29] = [
    ("Ġ", "t"),
    ("Ġ", "a"),
    ("i", "n"),
    ("h", "e"),
    ("r", "e"),
    ("o", "n"),
    ("e", "r"),
    ("Ġt", "he"),
    ("a", "t"),
    ("Ġ", "s"),
    ("e", "n"),
    ("Ġ", "c"),
    ("e", "s"),
    ("Ġ", "w"),
    ("n", "d"),
    ("i", "t"),
    ("o", "r"),
    ("i", "s"),
    ("Ġ", "o"),
    ("Ġ", "b"),
    ("Ġ", "p"),
    ("Ġ", "f"),
    ("in", "g"),
    ("Ġa", "nd"),
    ("Ġo", "f"),
    ("l", "l"),
    ("o", "u"),
    ("a", "l"),
    ("Ġ", "m"),
];

const VOCABULARY: u64 = 3 + 256 + MERGES.len() as u64;

const TEMPLATE: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// The file of the tiny Llama of a seed.
pub fn tiny_llama(seed: u64) -> Vec<u8> {
    with_tokenizer(seed, tokenizer)
}

/// The like with the tokens of SentencePiece's byte pairs, as Llama 2 has them.
pub fn tiny_llama_of_pieces(seed: u64) -> Vec<u8> {
    with_tokenizer(seed, pieces::tokenizer)
}

fn with_tokenizer(seed: u64, tokenizer: impl FnOnce(GgufWriter) -> GgufWriter) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut file = tokenizer(hyperparameters(GgufWriter::new()));
    file = file.tensor("token_embd.weight", &[HIDDEN, VOCABULARY], TensorType::Q8_0, q8_0(&mut random, HIDDEN * VOCABULARY));
    for layer in 0..LAYERS {
        file = attention(feed_forward(file, &mut random, layer), &mut random, layer);
    }
    let mut scores = q8_0(&mut random, HIDDEN * VOCABULARY);
    scores[..CONTROL.len() * row_bytes()].fill(0);
    file.tensor("output_norm.weight", &[HIDDEN], TensorType::F32, ones())
        .tensor("output.weight", &[HIDDEN, VOCABULARY], TensorType::Q8_0, scores)
        .finish()
}

/// Bytes of one Q8_0 row of the hidden size.
fn row_bytes() -> usize {
    (HIDDEN / TensorType::Q8_0.block_elements() * TensorType::Q8_0.block_bytes()) as usize
}

fn hyperparameters(file: GgufWriter) -> GgufWriter {
    file.metadata("general.architecture", Value::String("llama".into()))
        .metadata("general.name", Value::String("Tiny Llama of a seed".into()))
        .metadata("llama.block_count", Value::Uint(LAYERS))
        .metadata("llama.context_length", Value::Uint(CONTEXT_TOKENS))
        .metadata("llama.embedding_length", Value::Uint(HIDDEN))
        .metadata("llama.feed_forward_length", Value::Uint(FEED_FORWARD))
        .metadata("llama.attention.head_count", Value::Uint(HEADS))
        .metadata("llama.attention.head_count_kv", Value::Uint(KV_HEADS))
        .metadata("llama.attention.layer_norm_rms_epsilon", Value::Float(1e-5))
        .metadata("llama.rope.dimension_count", Value::Uint(HEAD_SIZE))
        .metadata("llama.rope.freq_base", Value::Float(10_000.0))
}

fn tokenizer(file: GgufWriter) -> GgufWriter {
    let bytes = (0..=u8::MAX).map(|byte| spell(byte).to_string());
    let joined = MERGES.iter().map(|(left, right)| format!("{left}{right}"));
    let tokens: Vec<String> = CONTROL.iter().map(|text| (*text).to_owned()).chain(bytes).chain(joined).collect();
    let kinds = (0..tokens.len()).map(|id| if id < CONTROL.len() { 3 } else { 1 }).collect();
    let merges = MERGES.iter().map(|(left, right)| format!("{left} {right}")).collect();
    file.metadata("tokenizer.ggml.model", Value::String("gpt2".into()))
        .metadata("tokenizer.ggml.pre", Value::String("gpt-2".into()))
        .metadata("tokenizer.ggml.tokens", Value::Array(Array::String(tokens)))
        .metadata("tokenizer.ggml.token_type", Value::Array(Array::Int(kinds)))
        .metadata("tokenizer.ggml.merges", Value::Array(Array::String(merges)))
        .metadata("tokenizer.ggml.bos_token_id", Value::Uint(1))
        .metadata("tokenizer.ggml.eos_token_id", Value::Uint(2))
        .metadata("tokenizer.ggml.add_bos_token", Value::Bool(false))
        .metadata("tokenizer.chat_template", Value::String(TEMPLATE.into()))
}

fn attention(file: GgufWriter, random: &mut ChaCha8Rng, layer: u64) -> GgufWriter {
    let name = |part: &str| format!("blk.{layer}.{part}.weight");
    let kv = KV_HEADS * HEAD_SIZE;
    file.tensor(&name("attn_norm"), &[HIDDEN], TensorType::F32, ones())
        .tensor(&name("attn_q"), &[HIDDEN, HIDDEN], TensorType::Q8_0, q8_0(random, HIDDEN * HIDDEN))
        .tensor(&name("attn_k"), &[HIDDEN, kv], TensorType::Q8_0, q8_0(random, HIDDEN * kv))
        .tensor(&name("attn_v"), &[HIDDEN, kv], TensorType::Q8_0, q8_0(random, HIDDEN * kv))
        .tensor(&name("attn_output"), &[HIDDEN, HIDDEN], TensorType::F32, f32s(random, HIDDEN * HIDDEN))
}

fn feed_forward(file: GgufWriter, random: &mut ChaCha8Rng, layer: u64) -> GgufWriter {
    let name = |part: &str| format!("blk.{layer}.{part}.weight");
    let wide = HIDDEN * FEED_FORWARD;
    file.tensor(&name("ffn_norm"), &[HIDDEN], TensorType::F32, ones())
        .tensor(&name("ffn_gate"), &[HIDDEN, FEED_FORWARD], TensorType::Q4_0, q4_0(random, wide))
        .tensor(&name("ffn_up"), &[HIDDEN, FEED_FORWARD], TensorType::Q4_0, q4_0(random, wide))
        .tensor(&name("ffn_down"), &[FEED_FORWARD, HIDDEN], TensorType::Q4_0, q4_0(random, wide))
}

fn ones() -> Vec<u8> {
    1f32.to_le_bytes().repeat(HIDDEN as usize)
}

/// Random multiples of 2^-9 up to 127 of them, which is about what trained matrices have.
fn f32s(random: &mut ChaCha8Rng, elements: u64) -> Vec<u8> {
    (0..elements).flat_map(|_| (f32::from(small(random)) / 512.0).to_le_bytes()).collect()
}

fn small(random: &mut ChaCha8Rng) -> i8 {
    random.next_u32().to_le_bytes()[0].cast_signed().max(-127)
}

/// Blocks of scale 2^-8 with random signed bytes.
fn q8_0(random: &mut ChaCha8Rng, elements: u64) -> Vec<u8> {
    const SCALE: [u8; 2] = 0x1c00u16.to_le_bytes();
    let mut bytes = Vec::new();
    for _ in 0..elements / TensorType::Q8_0.block_elements() {
        bytes.extend(SCALE);
        bytes.extend((0..32).map(|_| small(random).cast_unsigned()));
    }
    bytes
}

/// Blocks of scale 2^-5 with random nibbles.
fn q4_0(random: &mut ChaCha8Rng, elements: u64) -> Vec<u8> {
    const SCALE: [u8; 2] = 0x2800u16.to_le_bytes();
    let mut bytes = Vec::new();
    for _ in 0..elements / TensorType::Q4_0.block_elements() {
        bytes.extend(SCALE);
        bytes.extend((0..16).map(|_| random.next_u32().to_le_bytes()[0]));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_file_on_every_platform() {
        let file = tiny_llama(1);
        assert!(file.len() < 1 << 20);
        assert_eq!(blake3::hash(&file).to_hex().as_str(), PINNED);
        assert_ne!(tiny_llama(2), file);
    }

    const PINNED: &str = "5fbcd8922eca68c84d2674a0506020743105aa4037abb6e7108c58ce9828b772";
}
