use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::safetensors::{CheckpointError, SafetensorsWriter};
use crate::tokenizer::TokenizerFileError;

/// Llama 3.2's own configuration, made small.
fn llama() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": false,
        "bos_token_id": 1,
        "eos_token_id": [2, 3],
        "head_dim": 64,
        "hidden_act": "silu",
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "max_position_embeddings": 131072,
        "mlp_bias": false,
        "model_type": "llama",
        "num_attention_heads": 32,
        "num_hidden_layers": 16,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-5,
        "rope_scaling": {
            "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"
        },
        "rope_theta": 500000.0,
        "tie_word_embeddings": true,
        "vocab_size": 300,
    })
}

fn bert() -> Value {
    json!({
        "hidden_act": "gelu", "hidden_size": 384, "intermediate_size": 1536, "layer_norm_eps": 1e-12, "max_position_embeddings": 512,
        "model_type": "bert", "num_attention_heads": 12, "num_hidden_layers": 6, "position_embedding_type": "absolute",
        "type_vocab_size": 2, "vocab_size": 300,
    })
}

/// A table with one entry put in, or taken out by the word `absent`.
fn with(mut table: Value, key: &str, value: impl Into<Value>) -> Value {
    let (value, entries) = (value.into(), table.as_object_mut().unwrap());
    match value.as_str() {
        Some("absent") => entries.remove(key),
        _ => entries.insert(key.to_owned(), value),
    };
    table
}

fn all(table: Value, entries: &[(&str, Value)]) -> Value {
    entries.iter().fold(table, |table, (key, value)| with(table, key, value.clone()))
}

fn read(config: &Value) -> Result<FolderConfig, FolderError> {
    FolderConfig::from_json(config.to_string().as_bytes())
}

fn decoder(config: &Value) -> DecoderConfig {
    match read(config).unwrap() {
        FolderConfig::Decoder(config) => config,
        other => panic!("{other:?}"),
    }
}

fn encoder(config: &Value) -> EncoderConfig {
    match read(config).unwrap() {
        FolderConfig::Encoder(config) => config,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_llama_is_read_whole() {
    let expected = DecoderConfig {
        family: DecoderFamily::Llama,
        layers: 16,
        hidden: 2048,
        feed_forward: 8192,
        heads: 32,
        kv_heads: 8,
        head_size: 64,
        vocabulary: 300,
        context: 131_072,
        epsilon: 1e-5,
        rope_base: 500_000.0,
        rope_scaling: RopeScaling::Llama3 { factor: 32.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_context: 8192 },
        window: None,
        attention_bias: AttentionBias::None,
        qk_norm: false,
        tied: true,
        activation: Activation::Silu,
        end_tokens: vec![2, 3],
    };
    assert_eq!(decoder(&llama()), expected);
    assert_eq!(read(&llama()).unwrap().vocabulary(), 300);
}

#[test]
fn what_is_left_out_is_as_the_families_have_it() {
    let sparse = ["num_key_value_heads", "head_dim", "rope_theta", "rope_scaling", "tie_word_embeddings", "hidden_act", "eos_token_id"]
        .into_iter()
        .fold(llama(), |config, key| with(config, key, "absent"));
    let config = decoder(&sparse);
    assert_eq!((config.kv_heads, config.head_size, config.rope_base, config.tied), (32, 64, 10_000.0, false));
    assert_eq!((config.rope_scaling, config.activation, config.end_tokens.as_slice()), (RopeScaling::None, Activation::Silu, &[][..]));
    assert_eq!(decoder(&with(llama(), "head_dim", Value::Null)).head_size, 64);
    assert_eq!(decoder(&with(llama(), "head_dim", 128)).head_size, 128, "Mistral Nemo and Qwen3 have it apart from the width");
    assert_eq!(decoder(&with(llama(), "eos_token_id", 7)).end_tokens, [7]);
}

#[test]
fn the_sliding_window_is_as_each_family_has_it() {
    let family = |model_type: &str| with(with(llama(), "attention_bias", Value::Null), "model_type", model_type);
    let window = |model_type: &str, entries: &[(&str, Value)]| decoder(&all(family(model_type), entries)).window;
    let from = |tokens, first_layer| Some(Window { tokens, first_layer });
    assert_eq!(window("mistral", &[]), from(4096, 0), "by default");
    assert_eq!(window("mistral", &[("sliding_window", Value::Null)]), None);
    assert_eq!(window("mistral", &[("sliding_window", json!(1024))]), from(1024, 0));
    assert_eq!(window("llama", &[("sliding_window", json!(1024))]), None, "Llama has none");

    let tokens = ("sliding_window", json!(1024));
    let used = ("use_sliding_window", json!(true));
    let kinds =
        |full: usize, sliding: usize| ("layer_types", json!([vec!["full_attention"; full], vec!["sliding_attention"; sliding]].concat()));
    for name in ["qwen2", "qwen3"] {
        assert_eq!(window(name, std::slice::from_ref(&tokens)), None, "not used");
        assert_eq!(window(name, &[tokens.clone(), used.clone(), ("max_window_layers", json!(12))]), from(1024, 12));
        assert_eq!(window(name, &[tokens.clone(), used.clone(), ("max_window_layers", json!(0))]), from(1024, 0));
        assert_eq!(window(name, &[used.clone(), ("max_window_layers", json!(12))]), from(4096, 12));
        assert_eq!(window(name, &[tokens.clone(), used.clone()]), None, "the first with a window is beyond the last");
        assert_eq!(window(name, &[("sliding_window", Value::Null), used.clone(), ("max_window_layers", json!(12))]), None);
        assert_eq!(window(name, &[tokens.clone(), used.clone(), kinds(10, 6)]), from(1024, 10));
        assert_eq!(window(name, &[tokens.clone(), used.clone(), kinds(16, 0)]), None);
    }
    let config = decoder(&all(family("qwen2"), &[tokens.clone(), used.clone(), kinds(10, 6)]));
    assert_eq!((config.window_of(9), config.window_of(10)), (None, Some(1024)));

    let refused = |types: Value| read(&all(family("qwen2"), &[tokens.clone(), used.clone(), ("layer_types", types)]));
    assert!(matches!(refused(kinds(10, 5).1), Err(FolderError::Contradiction { key: "layer_types", .. })));
    let mixed = json!([["full_attention", "sliding_attention"]; 8].concat());
    assert!(matches!(refused(mixed), Err(FolderError::Unsupported { key: "layer_types", .. })));
    assert!(matches!(refused(json!(vec![7; 16])), Err(FolderError::Unsupported { key: "layer_types", .. })));
    let zero = with(with(llama(), "model_type", "mistral"), "sliding_window", 0);
    assert!(matches!(read(&zero), Err(FolderError::OutOfRange { key: "sliding_window", .. })));
}

#[test]
fn biases_and_norms_are_as_each_family_has_them() {
    let config = |model_type: &str, bias: Value| read(&all(llama(), &[("model_type", model_type.into()), ("attention_bias", bias)]));
    let bias = |model_type: &str, bias: Value| match config(model_type, bias).unwrap() {
        FolderConfig::Decoder(config) => (config.attention_bias, config.qk_norm),
        other => panic!("{other:?}"),
    };
    assert_eq!(bias("llama", json!(true)), (AttentionBias::All, false));
    assert_eq!(bias("llama", Value::Null), (AttentionBias::None, false));
    assert_eq!(bias("mistral", json!(false)), (AttentionBias::None, false));
    assert_eq!(bias("qwen2", Value::Null), (AttentionBias::Inputs, false));
    assert_eq!(bias("qwen2", json!(true)), (AttentionBias::Inputs, false));
    assert_eq!(bias("qwen3", json!(true)), (AttentionBias::All, true));
    assert_eq!(bias("qwen3", json!(false)), (AttentionBias::None, true));
    assert!(matches!(config("qwen2", json!(false)), Err(FolderError::Unsupported { key: "attention_bias", .. })));
    assert!(matches!(config("mistral", json!(true)), Err(FolderError::Unsupported { key: "attention_bias", .. })));
    let families = ["llama", "mistral", "qwen2", "qwen3"]
        .map(|name| decoder(&all(llama(), &[("model_type", name.into()), ("attention_bias", Value::Null)])).family);
    assert_eq!(families, [DecoderFamily::Llama, DecoderFamily::Mistral, DecoderFamily::Qwen2, DecoderFamily::Qwen3]);
}

#[test]
fn rotary_scaling_is_known_or_refused() {
    let scaling = |scaling: Value| {
        read(&with(llama(), "rope_scaling", scaling)).map(|config| match config {
            FolderConfig::Decoder(config) => config.rope_scaling,
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(scaling(Value::Null).unwrap(), RopeScaling::None);
    assert_eq!(scaling(json!({"type": "linear", "factor": 2})).unwrap(), RopeScaling::Linear { factor: 2.0 });
    assert_eq!(scaling(json!({"rope_type": "linear", "type": "linear", "factor": 2.5})).unwrap(), RopeScaling::Linear { factor: 2.5 });
    assert_eq!(scaling(json!({"rope_type": "default"})).unwrap(), RopeScaling::None);
    for kind in ["yarn", "dynamic", "longrope", "su"] {
        assert!(matches!(scaling(json!({"rope_type": kind, "factor": 2.0})), Err(FolderError::Unsupported { key: "rope_type", .. })));
    }
    assert!(matches!(scaling(json!({"type": "yarn"})), Err(FolderError::Unsupported { key: "type", .. })));
    assert!(matches!(scaling(json!({"factor": 2.0})), Err(FolderError::Missing { key: "rope_type", .. })));
    assert!(matches!(scaling(json!({"type": "linear"})), Err(FolderError::Missing { key: "factor", .. })));
    assert!(matches!(scaling(json!({"type": "linear", "factor": 0})), Err(FolderError::WrongKind { key: "factor", .. })));
    assert!(matches!(scaling(json!({"type": "linear", "factor": -1.0})), Err(FolderError::WrongKind { .. })));
    assert!(matches!(scaling(json!("linear")), Err(FolderError::WrongKind { key: "rope_scaling", .. })));
    for key in ["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"] {
        let lacking = with(llama()["rope_scaling"].clone(), key, "absent");
        assert!(matches!(scaling(lacking), Err(FolderError::Missing { key: found, .. }) if found == key));
    }
    let crossed = with(llama()["rope_scaling"].clone(), "high_freq_factor", 1.0);
    assert!(matches!(scaling(crossed), Err(FolderError::Contradiction { key: "high_freq_factor", .. })));

    let newer = json!({"rope_type": "linear", "factor": 4.0, "rope_theta": 1e6});
    let newer = decoder(&all(llama(), &[("rope_parameters", newer), ("rope_theta", "absent".into())]));
    assert_eq!((newer.rope_base, newer.rope_scaling), (1e6, RopeScaling::Linear { factor: 4.0 }));
}

#[test]
fn numbers_out_of_bounds_are_refused() {
    for (key, limit) in [
        ("hidden_size", WIDTH_MAX),
        ("intermediate_size", WIDTH_MAX),
        ("num_attention_heads", WIDTH_MAX),
        ("num_key_value_heads", WIDTH_MAX),
        ("head_dim", WIDTH_MAX),
        ("num_hidden_layers", LAYERS_MAX),
        ("max_position_embeddings", CONTEXT_MAX),
        ("vocab_size", crate::tokenizer::VOCABULARY_MAX),
    ] {
        for value in [json!(0), json!(limit + 1), json!(u64::MAX)] {
            let error = read(&with(llama(), key, value.clone())).unwrap_err();
            assert!(matches!(error, FolderError::OutOfRange { key: found, .. } if found == key), "{key} {value}: {error:?}");
        }
        for value in [json!(-1), json!(1.5), json!("1"), json!(true), json!([1])] {
            let error = read(&with(llama(), key, value.clone())).unwrap_err();
            assert!(matches!(error, FolderError::WrongKind { key: found, .. } if found == key), "{key} {value}: {error:?}");
        }
    }
    for key in ["rms_norm_eps", "rope_theta"] {
        for value in [json!(0), json!(-1e-5), json!("1e-5")] {
            let error = read(&with(llama(), key, value.clone())).unwrap_err();
            assert!(matches!(error, FolderError::WrongKind { key: found, .. } if found == key), "{key} {value}: {error:?}");
        }
    }
    let infinite = llama().to_string().replace("500000.0", "1e999");
    assert!(matches!(FolderConfig::from_json(infinite.as_bytes()), Err(FolderError::Json { .. })));
}

#[test]
fn entries_that_are_needed_are_named() {
    let both = ["hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "max_position_embeddings", "vocab_size"];
    let named = |config: Value, key: &str| {
        assert!(matches!(read(&with(config, key, "absent")), Err(FolderError::Missing { key: found, .. }) if found == key), "{key}");
    };
    both.iter().chain(&["model_type", "rms_norm_eps"]).for_each(|key| named(llama(), key));
    both.iter().chain(&["type_vocab_size"]).for_each(|key| named(bert(), key));
}

#[test]
fn what_would_be_computed_wrongly_is_refused() {
    for (config, key, value) in [
        (llama(), "model_type", json!("mixtral")),
        (llama(), "hidden_act", json!("gelu")),
        (llama(), "mlp_bias", json!(true)),
        (llama(), "quantization_config", json!({"quant_method": "gptq"})),
        (bert(), "hidden_act", json!("gelu_new")),
        (bert(), "position_embedding_type", json!("relative_key")),
        (bert(), "is_decoder", json!(true)),
        (bert(), "quantization_config", json!({})),
    ] {
        let error = read(&with(config, key, value)).unwrap_err();
        assert!(matches!(error, FolderError::Unsupported { key: found, .. } if found == key), "{key}: {error:?}");
    }
    let long = read(&with(llama(), "model_type", "m".repeat(1000))).unwrap_err();
    assert!(long.to_string().len() < 200, "{long}");
    assert!(matches!(read(&with(llama(), "model_type", 7)), Err(FolderError::WrongKind { .. })));
}

#[test]
fn numbers_that_contradict_each_other_are_refused() {
    let contradicts = |config: Value, entries: &[(&str, Value)]| match read(&all(config, entries)) {
        Err(FolderError::Contradiction { key, .. }) => key,
        other => panic!("{other:?}"),
    };
    assert_eq!(contradicts(llama(), &[("num_key_value_heads", json!(5))]), "num_key_value_heads");
    assert_eq!(contradicts(llama(), &[("num_key_value_heads", json!(64))]), "num_key_value_heads");
    assert_eq!(contradicts(llama(), &[("head_dim", json!(63))]), "head_dim");
    assert_eq!(contradicts(llama(), &[("head_dim", json!(WIDTH_MAX))]), "head_dim");
    assert_eq!(contradicts(llama(), &[("head_dim", Value::Null), ("hidden_size", json!(2047))]), "num_attention_heads");
    assert_eq!(contradicts(bert(), &[("num_attention_heads", json!(7))]), "num_attention_heads");
}

#[test]
fn end_tokens_are_of_the_vocabulary_and_few() {
    for value in [json!(300), json!([1, 300]), json!(-1), json!("2"), json!([[1]]), json!(u64::MAX), json!(vec![1; 65])] {
        let error = read(&with(llama(), "eos_token_id", value.clone())).unwrap_err();
        assert!(matches!(error, FolderError::WrongKind { key: "eos_token_id", .. }), "{value}: {error:?}");
    }
}

#[test]
fn files_that_are_no_table_or_too_long_are_refused() {
    for bytes in ["", "[]", "7", "{", "{\"a\":\"\u{1}\"}"] {
        assert!(matches!(FolderConfig::from_json(bytes.as_bytes()), Err(FolderError::Json { .. })), "{bytes}");
    }
    assert!(matches!(FolderConfig::from_json(&[b' '; 1 << 20]), Err(FolderError::Json { .. })));
    assert!(matches!(FolderConfig::from_json(&[b' '; (1 << 20) + 1]), Err(FolderError::File { .. })));
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(matches!(FolderConfig::from_json(deep.as_bytes()), Err(FolderError::Json { .. })));
}

#[test]
fn a_bert_is_read_whole() {
    let expected = EncoderConfig {
        layers: 6,
        hidden: 384,
        feed_forward: 1536,
        heads: 12,
        vocabulary: 300,
        context: 512,
        segments: 2,
        epsilon: 1e-12,
        activation: Activation::Gelu,
        sentence: SentenceConfig { pooling: Pooling::Mean, normalised: false, tokens_max: 512, lower_cased: false },
    };
    assert_eq!(encoder(&bert()), expected);
    assert_eq!(encoder(&with(bert(), "layer_norm_eps", "absent")).epsilon, 1e-12);
    assert_eq!(encoder(&with(bert(), "layer_norm_eps", 1e-5)).epsilon, 1e-5);
}

/// A folder of these files.
fn folder(files: &[(&str, Value)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = content.as_str().map_or_else(|| content.to_string(), str::to_owned);
        std::fs::write(path, text).unwrap();
    }
    dir
}

fn open(files: &[(&str, Value)]) -> Result<ModelFolder, FolderError> {
    ModelFolder::open(folder(files).path())
}

fn step(kind: &str, path: &str) -> Value {
    json!({"type": format!("sentence_transformers.models.{kind}"), "path": path})
}

fn pooling(mode: &str) -> Value {
    let modes = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"];
    let table = modes.iter().map(|other| (format!("pooling_mode_{other}"), Value::from(*other == mode)));
    with(Value::Object(table.collect()), "word_embedding_dimension", 384)
}

fn sentence(files: &[(&str, Value)]) -> Result<SentenceConfig, FolderError> {
    let files = [&[("config.json", bert())], files].concat();
    open(&files).map(|folder| match folder.config() {
        FolderConfig::Encoder(encoder) => encoder.sentence,
        FolderConfig::Decoder(_) => panic!("a decoder"),
    })
}

#[test]
fn pooling_and_normalising_are_read() {
    let default = SentenceConfig { pooling: Pooling::Mean, normalised: false, tokens_max: 512, lower_cased: false };
    assert_eq!(sentence(&[]).unwrap(), default);
    let steps = json!([step("Transformer", ""), step("Pooling", "1_Pooling"), step("Normalize", "2_Normalize")]);
    let cls = [("modules.json", steps), ("1_Pooling/config.json", pooling("cls_token"))];
    assert_eq!(sentence(&cls).unwrap(), SentenceConfig { pooling: Pooling::Cls, normalised: true, ..default });
    assert_eq!(sentence(&cls[1..]).unwrap(), SentenceConfig { pooling: Pooling::Cls, ..default }, "without a list of steps");
    assert_eq!(sentence(&cls[..1]).unwrap(), SentenceConfig { normalised: true, ..default }, "without ways of pooling");
    let elsewhere = json!([step("Transformer", ""), step("Pooling", "pool")]);
    let elsewhere =
        [("modules.json", elsewhere), ("pool/config.json", pooling("cls_token")), ("1_Pooling/config.json", pooling("mean_tokens"))];
    assert_eq!(sentence(&elsewhere).unwrap(), SentenceConfig { pooling: Pooling::Cls, ..default });
    assert_eq!(sentence(&[("1_Pooling/config.json", pooling("mean_tokens"))]).unwrap(), default);
    assert_eq!(sentence(&[("1_Pooling/config.json", json!({}))]).unwrap(), default);
}

#[test]
fn steps_and_ways_of_pooling_that_are_not_known_are_refused() {
    for steps in [
        json!([]),
        json!([step("Transformer", "")]),
        json!([step("Transformer", ""), step("Pooling", "1_Pooling"), step("Dense", "2_Dense")]),
        json!([step("Transformer", ""), step("Pooling", "1_Pooling"), step("Normalize", "2"), step("Normalize", "3")]),
        json!([step("Pooling", "1_Pooling"), step("Transformer", "")]),
        json!([step("Transformer", "0_Transformer"), step("Pooling", "1_Pooling")]),
        json!([step("Transformer", ""), step("Pooling", "..")]),
        json!([step("Transformer", ""), step("Pooling", "../other")]),
        json!([step("Transformer", ""), step("Pooling", "/etc")]),
        json!([step("Transformer", ""), step("Pooling", "")]),
        json!([7, "x"]),
    ] {
        let error = sentence(&[("modules.json", steps.clone())]).unwrap_err();
        assert!(matches!(error, FolderError::Unsupported { .. }), "{steps}: {error:?}");
    }
    assert!(matches!(sentence(&[("modules.json", json!({}))]), Err(FolderError::Json { .. })));
    let pooled = |content: Value| sentence(&[("1_Pooling/config.json", content)]);
    for mode in ["max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken", "none"] {
        assert!(matches!(pooled(pooling(mode)), Err(FolderError::Unsupported { .. })), "{mode}");
    }
    let both = with(pooling("mean_tokens"), "pooling_mode_cls_token", true);
    assert!(matches!(pooled(both), Err(FolderError::Contradiction { .. })));
    let wide = with(pooling("mean_tokens"), "word_embedding_dimension", 768);
    assert!(matches!(pooled(wide), Err(FolderError::Contradiction { key: "word_embedding_dimension", .. })));
    assert!(matches!(pooled(json!([])), Err(FolderError::Json { file, .. }) if file == "1_Pooling/config.json"));
}

#[test]
fn the_length_of_texts_is_the_first_that_a_file_states() {
    let tokens = |sentence_file: Value, tokenizer_file: Value| {
        sentence(&[("sentence_bert_config.json", sentence_file), ("tokenizer_config.json", tokenizer_file)])
            .map(|sentence| sentence.tokens_max)
    };
    assert_eq!(tokens(json!({"max_seq_length": 256}), json!({"model_max_length": 128})).unwrap(), 256);
    assert_eq!(tokens(json!({}), json!({"model_max_length": 128})).unwrap(), 128);
    assert_eq!(tokens(json!({"max_seq_length": null}), json!({"model_max_length": 1e30})).unwrap(), 512);
    assert_eq!(tokens(json!({}), json!({"model_max_length": 1024})).unwrap(), 512);
    assert!(matches!(
        tokens(json!({"max_seq_length": 513}), json!({})),
        Err(FolderError::OutOfRange { key: "max_seq_length", limit: 512, .. })
    ));
    assert!(sentence(&[("sentence_bert_config.json", json!({"do_lower_case": true}))]).unwrap().lower_cased);
}

#[test]
fn special_tokens_and_templates_are_read_in_each_form() {
    let read = |content: Value| TextConfig::from_json(content.to_string().as_bytes());
    let text = read(json!({
        "bos_token": "<s>", "eos_token": {"__type": "AddedToken", "content": "</s>", "lstrip": false}, "add_bos_token": true,
        "add_eos_token": false, "chat_template": "{{ messages }}", "model_max_length": 2048,
    }));
    let expected = TextConfig {
        chat_template: Some("{{ messages }}".into()),
        begin: Some("<s>".into()),
        end: Some("</s>".into()),
        adds_begin: Some(true),
        tokens_max: Some(2048),
    };
    assert_eq!(text.unwrap(), expected);
    assert_eq!(read(json!({"bos_token": null, "chat_template": null})).unwrap(), TextConfig::default());
    let named = json!({"chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]});
    assert_eq!(read(named).unwrap().chat_template.as_deref(), Some("d"));
    assert_eq!(read(json!({"chat_template": [{"name": "rag", "template": "r"}]})).unwrap().chat_template, None);
    for content in
        [json!({"chat_template": 7}), json!({"chat_template": [{"name": "default"}]}), json!({"bos_token": 7}), json!({"eos_token": {}})]
    {
        assert!(matches!(read(content), Err(FolderError::WrongKind { .. })));
    }
    assert!(matches!(read(json!({"add_eos_token": true})), Err(FolderError::Unsupported { .. })));
}

/// A byte-level tokenizer of all bytes and two special tokens.
fn tokenizer_json() -> Value {
    let bytes = (0..=u8::MAX).map(|byte| crate::tokenizer::spell(byte).to_string());
    let vocabulary: serde_json::Map<String, Value> = bytes.zip((0..).map(Value::from)).collect();
    json!({
        "added_tokens": [{"id": 256, "content": "<s>", "special": true}, {"id": 299, "content": "</s>", "special": true}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    })
}

fn decoder_files() -> Vec<(&'static str, Value)> {
    vec![
        ("config.json", llama()),
        ("generation_config.json", json!({"eos_token_id": [3, 9]})),
        ("tokenizer.json", tokenizer_json()),
        ("tokenizer_config.json", json!({"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true, "chat_template": "old"})),
        ("chat_template.jinja", "{{ bos_token }}".into()),
        ("README.md", "---\nlicense: mit\n---\n".into()),
    ]
}

#[test]
fn a_decoders_folder_is_read() {
    let dir = folder(&decoder_files());
    std::fs::write(dir.path().join("model.safetensors"), SafetensorsWriter::new().f32("a", &[1], &[1.0]).finish()).unwrap();
    let folder = ModelFolder::open(dir.path()).unwrap();
    assert_eq!(*folder.config(), read(&llama()).unwrap());
    assert_eq!((folder.licence(), folder.end_tokens()), (Some("mit"), &[2, 3, 9][..]));
    assert_eq!(folder.text().chat_template.as_deref(), Some("{{ bos_token }}"), "the file of its own wins");
    assert_eq!(folder.checkpoint().unwrap().dequantise("a").unwrap(), [1.0]);
    let tokenizer = folder.tokenizer().unwrap();
    assert_eq!(tokenizer.encode("a").unwrap(), [256, u32::from(b'a')]);
    assert_eq!((tokenizer.begin_text(), tokenizer.end_text()), ("<s>", "</s>"));
    assert!([2, 3, 9, 299].iter().all(|id| tokenizer.is_end(*id)) && !tokenizer.is_end(256));
    assert!(matches!(folder.text_encoder(), Err(FolderError::OtherKind { .. })));
}

#[test]
fn a_tokenizer_beyond_the_models_rows_is_refused() {
    let mut files = decoder_files();
    files[0].1 = with(llama(), "vocab_size", 299);
    let error = open_tokenizer(&files).unwrap_err();
    assert!(matches!(error, FolderError::Tokenizer(TokenizerFileError::BeyondModel { id: 299, vocabulary: 299, .. })), "{error:?}");
}

fn open_tokenizer(files: &[(&str, Value)]) -> Result<crate::tokenizer::Tokenizer, FolderError> {
    let dir = folder(files);
    ModelFolder::open(dir.path())?.tokenizer()
}

#[test]
fn files_that_are_missing_or_too_long_are_named() {
    assert!(matches!(open(&[]), Err(FolderError::MissingFile { file: "config.json" })));
    let lean = [("config.json", llama())];
    let dir = folder(&lean);
    let lean = ModelFolder::open(dir.path()).unwrap();
    assert!(matches!(lean.tokenizer(), Err(FolderError::MissingFile { file: "tokenizer.json" })));
    assert!(matches!(lean.checkpoint(), Err(FolderError::Checkpoint(CheckpointError::Missing))));
    assert_eq!((lean.licence(), lean.end_tokens()), (None, &[2, 3][..]));
    for (name, limit) in [
        ("config.json", CONFIG_BYTES_MAX),
        ("generation_config.json", SMALL_BYTES_MAX),
        ("tokenizer_config.json", TEXT_BYTES_MAX),
        ("chat_template.jinja", crate::chat::TEMPLATE_BYTES_MAX as u64),
        ("README.md", CARD_BYTES_MAX),
    ] {
        let dir = folder(&decoder_files());
        std::fs::File::create(dir.path().join(name)).unwrap().set_len(limit + 1).unwrap();
        assert!(matches!(ModelFolder::open(dir.path()), Err(FolderError::File { file, .. }) if file == name), "{name}");
    }
    for name in ["sentence_bert_config.json", "modules.json", "1_Pooling/config.json"] {
        let dir = folder(&[("config.json", bert()), (name, json!({}))]);
        std::fs::File::create(dir.path().join(name)).unwrap().set_len(SMALL_BYTES_MAX + 1).unwrap();
        assert!(matches!(ModelFolder::open(dir.path()), Err(FolderError::File { file, .. }) if file == name), "{name}");
    }
    let dir = folder(&decoder_files());
    std::fs::File::create(dir.path().join("tokenizer.json")).unwrap().set_len(TOKENIZER_BYTES_MAX + 1).unwrap();
    assert!(matches!(ModelFolder::open(dir.path()).unwrap().tokenizer(), Err(FolderError::File { .. })));
}

/// The files of a folder of either kind, and the changed bytes of one of them.
fn changed(index: prop::sample::Index, changes: &[(prop::sample::Index, u8)], end: Option<prop::sample::Index>) -> tempfile::TempDir {
    let encoder = [
        ("config.json", bert()),
        ("modules.json", json!([step("Transformer", ""), step("Pooling", "1_Pooling"), step("Normalize", "2_Normalize")])),
        ("1_Pooling/config.json", pooling("cls_token")),
        ("sentence_bert_config.json", json!({"max_seq_length": 256, "do_lower_case": false})),
    ];
    let files = if index.index(2) == 0 { decoder_files() } else { encoder.to_vec() };
    let dir = folder(&files);
    let path = dir.path().join(files[index.index(files.len())].0);
    let mut bytes = std::fs::read(&path).unwrap();
    for (at, byte) in changes {
        let at = at.index(bytes.len());
        bytes[at] = *byte;
    }
    bytes.truncate(end.map_or(bytes.len(), |end| end.index(bytes.len())));
    std::fs::write(path, bytes).unwrap();
    dir
}

proptest! {
    #[test]
    fn changed_folders_never_panic(
        index in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        end in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        if let Ok(folder) = ModelFolder::open(changed(index, &changes, end).path()) {
            prop_assert!(folder.config().vocabulary() <= crate::tokenizer::VOCABULARY_MAX);
            prop_assert!(folder.end_tokens().iter().all(|id| (*id as usize) < folder.config().vocabulary()));
        }
    }

    #[test]
    fn every_truncation_of_a_configuration_is_a_typed_error(end in any::<prop::sample::Index>()) {
        let bytes = llama().to_string();
        let truncated = FolderConfig::from_json(&bytes.as_bytes()[..end.index(bytes.len())]);
        let refused = matches!(truncated, Err(FolderError::Json { .. }));
        prop_assert!(refused);
    }
}
