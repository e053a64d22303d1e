//! What file formats call the tensors of a decoder.

/// The names of one format. Those of layers are followed by `.weight` or `.bias`.
#[derive(Debug)]
pub(super) struct Naming {
    /// In full, as are `norm`, `head` and `divisors`.
    pub(super) embedding: &'static str,
    pub(super) norm: &'static str,
    pub(super) head: &'static str,
    /// Stretches of single rotary frequencies, where a format has them as a tensor.
    pub(super) divisors: Option<&'static str>,
    /// What the names of a layer begin with, before its number.
    pub(super) layers: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) query: &'static str,
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    pub(super) query_norm: &'static str,
    pub(super) key_norm: &'static str,
    pub(super) attention_out: &'static str,
    pub(super) feed_forward_norm: &'static str,
    pub(super) gate: &'static str,
    pub(super) up: &'static str,
    pub(super) down: &'static str,
    /// Whether Llamas have rows of queries and keys so that neighbours turn together, not halves.
    pub(super) pairs_neighbours: bool,
    /// Ends of names of tensors that are no weights: they repeat what hyperparameters say.
    pub(super) ignored: &'static [&'static str],
}

/// GGUF files.
///
/// # Source
///
/// `gguf-py/gguf/constants.py` and `convert_hf_to_gguf.py` of llama.cpp.
pub(super) const GGUF: Naming = Naming {
    embedding: "token_embd.weight",
    norm: "output_norm.weight",
    head: "output.weight",
    divisors: Some("rope_freqs.weight"),
    layers: "blk",
    attention_norm: "attn_norm",
    query: "attn_q",
    key: "attn_k",
    value: "attn_v",
    query_norm: "attn_q_norm",
    key_norm: "attn_k_norm",
    attention_out: "attn_output",
    feed_forward_norm: "ffn_norm",
    gate: "ffn_gate",
    up: "ffn_up",
    down: "ffn_down",
    pairs_neighbours: true,
    ignored: &[],
};

/// Model folders.
///
/// # Source
///
/// The modelling files of the transformers library for Llama, Mistral, Qwen2 and Qwen3.
pub(super) const FOLDER: Naming = Naming {
    embedding: "model.embed_tokens.weight",
    norm: "model.norm.weight",
    head: "lm_head.weight",
    divisors: None,
    layers: "model.layers",
    attention_norm: "input_layernorm",
    query: "self_attn.q_proj",
    key: "self_attn.k_proj",
    value: "self_attn.v_proj",
    query_norm: "self_attn.q_norm",
    key_norm: "self_attn.k_norm",
    attention_out: "self_attn.o_proj",
    feed_forward_norm: "post_attention_layernorm",
    gate: "mlp.gate_proj",
    up: "mlp.up_proj",
    down: "mlp.down_proj",
    pairs_neighbours: false,
    // Llama checkpoints of before 2023 carry the rotary frequencies of each layer.
    ignored: &[".rotary_emb.inv_freq"],
};

impl Naming {
    /// The name of a layer's weights.
    pub(super) fn weight(&self, layer: usize, part: &str) -> String {
        format!("{}.{layer}.{part}.weight", self.layers)
    }

    /// The name of a layer's bias.
    pub(super) fn bias(&self, layer: usize, part: &str) -> String {
        format!("{}.{layer}.{part}.bias", self.layers)
    }
}
