use super::*;
use proptest::prelude::*;

/// A small file with every metadata kind the writer has and two tensors.
fn sample() -> Vec<u8> {
    GgufWriter::new()
        .metadata("general.architecture", Value::String("llama".into()))
        .metadata("a.uint", Value::Uint(7))
        .metadata("a.long", Value::Uint(1 << 40))
        .metadata("a.int", Value::Int(-7))
        .metadata("a.float", Value::Float(0.5))
        .metadata("a.bool", Value::Bool(true))
        .metadata("a.strings", Value::Array(Array::String(vec!["x".into(), String::new(), "ß".into()])))
        .metadata("a.ints", Value::Array(Array::Int(vec![1, -1])))
        .tensor("one", &[2, 2], TensorType::F32, [1f32, 2., 3., 4.].iter().flat_map(|v| v.to_le_bytes()).collect())
        .tensor("two", &[32], TensorType::Q8_0, vec![1; 34])
        .finish()
}

fn parse(bytes: Vec<u8>) -> Result<Gguf, GgufError> {
    Gguf::from_bytes(bytes)
}

#[test]
fn what_the_writer_wrote_is_read_back() {
    let file = parse(sample()).unwrap();
    assert_eq!(file.version(), 3);
    assert_eq!(file.string("general.architecture").unwrap(), Some("llama"));
    assert_eq!(file.uint("a.uint").unwrap(), Some(7));
    assert_eq!(file.uint("a.long").unwrap(), Some(1 << 40));
    assert_eq!(file.get("a.int"), Some(&Value::Int(-7)));
    assert_eq!(file.float("a.float").unwrap(), Some(0.5));
    assert_eq!(file.bool("a.bool").unwrap(), Some(true));
    assert_eq!(file.strings("a.strings").unwrap().unwrap(), ["x", "", "ß"]);
    assert_eq!(file.get("a.ints"), Some(&Value::Array(Array::Int(vec![1, -1]))));
    assert_eq!(file.uint("missing").unwrap(), None);
    assert_eq!(file.tensors()["one"].dimensions, [2, 2]);
    assert_eq!(file.dequantise("one").unwrap(), [1., 2., 3., 4.]);
    assert_eq!(file.dequantise("two").unwrap().len(), 32);
    assert!(matches!(file.dequantise("three"), Err(GgufError::NoSuchTensor { .. })));
}

#[test]
fn a_mapped_file_reads_as_its_bytes_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sample.gguf");
    std::fs::write(&path, sample()).unwrap();
    assert_eq!(Gguf::open(&path).unwrap().dequantise("one").unwrap(), [1., 2., 3., 4.]);
    std::fs::write(&path, []).unwrap();
    assert!(matches!(Gguf::open(&path), Err(GgufError::Truncated { .. })));
    assert!(matches!(Gguf::open(&dir.path().join("none")), Err(GgufError::Io(_))));
}

#[test]
fn a_value_of_another_kind_is_named() {
    let file = parse(sample()).unwrap();
    assert!(matches!(file.uint("a.bool"), Err(GgufError::WrongKind { found: "a bool", .. })));
    assert!(matches!(file.uint("a.int"), Err(GgufError::WrongKind { .. })), "negative");
}

#[test]
fn every_truncation_is_a_typed_error() {
    let whole = sample();
    for len in 0..whole.len() {
        assert!(parse(whole[..len].to_vec()).is_err(), "{len} bytes of {} were accepted", whole.len());
    }
}

#[test]
fn foreign_bytes_and_versions_are_refused() {
    assert!(matches!(parse(b"PK\x03\x04aaaaaaaaaaaaaaaaaaaaaaaaa".to_vec()), Err(GgufError::NotGguf)));
    for version in [0u32, 1, 4, 0x0300_0000] {
        let mut bytes = sample();
        bytes[4..8].copy_from_slice(&version.to_le_bytes());
        assert!(matches!(parse(bytes), Err(GgufError::UnsupportedVersion { .. })));
    }
}

/// A header that claims these counts, with some bytes behind it.
fn claiming(tensors: u64, entries: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(tensors.to_le_bytes());
    bytes.extend(entries.to_le_bytes());
    bytes.extend([0; 64]);
    bytes
}

#[test]
fn claimed_counts_are_held_against_limit_and_file_size() {
    assert!(matches!(parse(claiming(0, u64::MAX)), Err(GgufError::AboveLimit { .. })));
    assert!(matches!(parse(claiming(u64::MAX, 0)), Err(GgufError::AboveLimit { .. })));
    assert!(matches!(parse(claiming(0, METADATA_ENTRIES_MAX)), Err(GgufError::Truncated { .. })));
    assert!(matches!(parse(claiming(TENSORS_MAX, 0)), Err(GgufError::Truncated { .. })));
}

#[test]
fn claimed_array_and_string_lengths_are_held_against_the_file_size() {
    let entry = |kind: u32, claim: &[u8]| {
        let mut bytes = claiming(0, 1);
        bytes.truncate(24);
        bytes.extend(1u64.to_le_bytes());
        bytes.push(b'k');
        bytes.extend(kind.to_le_bytes());
        bytes.extend(claim);
        bytes
    };
    let array = |element: u32, count: u64| [&element.to_le_bytes()[..], &count.to_le_bytes()].concat();
    assert!(matches!(parse(entry(9, &array(8, ARRAY_ELEMENTS_MAX))), Err(GgufError::Truncated { .. })));
    assert!(matches!(parse(entry(9, &array(0, u64::MAX))), Err(GgufError::AboveLimit { .. })));
    assert!(matches!(parse(entry(9, &array(9, 1))), Err(GgufError::NestedArray)));
    assert!(matches!(parse(entry(9, &array(77, 1))), Err(GgufError::UnknownValueKind { code: 77 })));
    assert!(matches!(parse(entry(8, &u64::MAX.to_le_bytes())), Err(GgufError::AboveLimit { .. })));
    assert!(matches!(parse(entry(8, &STRING_BYTES_MAX.to_le_bytes())), Err(GgufError::Truncated { .. })));
    assert!(matches!(parse(entry(7, &[2])), Err(GgufError::BadBool { value: 2 })));
}

#[test]
fn duplicate_names_are_refused() {
    let twice = GgufWriter::new().metadata("k", Value::Uint(1)).metadata("k", Value::Uint(2)).finish();
    assert!(matches!(parse(twice), Err(GgufError::DuplicateKey { .. })));
    let twice = GgufWriter::new().tensor("t", &[1], TensorType::F32, vec![0; 4]).tensor("t", &[1], TensorType::F32, vec![0; 4]).finish();
    assert!(matches!(parse(twice), Err(GgufError::DuplicateTensor { .. })));
}

#[test]
fn tensors_must_lie_whole_and_apart_inside_the_file() {
    let claim = |dimensions: &[u64], kind: TensorType| GgufWriter::new().tensor("t", dimensions, kind, vec![0; 64]).finish();
    assert!(matches!(parse(claim(&[17], TensorType::F32)), Err(GgufError::TensorOutsideFile { .. })));
    assert!(matches!(parse(claim(&[u64::MAX, u64::MAX], TensorType::F32)), Err(GgufError::TensorOutsideFile { .. })));
    assert!(matches!(parse(claim(&[1 << 62], TensorType::F32)), Err(GgufError::TensorOutsideFile { .. })));
    assert!(matches!(parse(claim(&[16, 2], TensorType::Q8_0)), Err(GgufError::PartialBlock { .. })));
    assert!(matches!(parse(claim(&[1, 1, 1, 1, 1], TensorType::F32)), Err(GgufError::TooManyDimensions { rank: 5, .. })));

    let mut overlapping = GgufWriter::new();
    for index in 0..64 {
        overlapping = overlapping.tensor(&format!("t{index}"), &[1024], TensorType::F32, Vec::new());
    }
    let mut bytes = overlapping.finish();
    bytes.resize(bytes.len() + 4096 + 32, 0);
    assert!(matches!(parse(bytes), Err(GgufError::OverlappingTensors)));
}

#[test]
fn alignment_must_be_a_power_of_two() {
    for alignment in [0u64, 3, 1 << 20] {
        let bytes = GgufWriter::new().metadata("general.alignment", Value::Uint(alignment)).finish();
        assert!(matches!(parse(bytes), Err(GgufError::BadAlignment)));
    }
}

#[test]
fn an_unknown_tensor_type_is_named() {
    let mut bytes = GgufWriter::new().tensor("t", &[1], TensorType::F32, vec![0; 4]).finish();
    // Header 24, name 8 + 1, rank 4, one dimension 8.
    bytes[45..49].copy_from_slice(&9u32.to_le_bytes());
    assert!(matches!(parse(bytes), Err(GgufError::UnsupportedTensorType { code: 9, .. })));
}

const HALF_ONE: [u8; 2] = 0x3c00u16.to_le_bytes();
const HALF_TWO: [u8; 2] = 0x4000u16.to_le_bytes();
const HALF_MINUS_HALF: [u8; 2] = 0xb800u16.to_le_bytes();

#[test]
fn plain_types_are_read_in_order() {
    assert_eq!(TensorType::F16.elements(&[HALF_ONE, HALF_MINUS_HALF].concat()).values(), [1.0, -0.5]);
    assert_eq!(TensorType::Bf16.elements(&[0x80, 0x3f, 0x00, 0xc0]).values(), [1.0, -2.0]);
}

#[test]
fn q8_0_scales_signed_bytes() {
    let mut block = HALF_MINUS_HALF.to_vec();
    block.extend((0..32u8).map(|i| i.wrapping_sub(16)));
    let expected: Vec<f32> = (0..32).map(|i| -0.5 * (i as f32 - 16.0)).collect();
    assert_eq!(TensorType::Q8_0.elements(&block).values(), expected);
}

#[test]
fn q4_0_has_its_first_half_in_the_low_nibbles() {
    let mut block = HALF_TWO.to_vec();
    block.extend((0..16u8).map(|i| i | (15 - i) << 4));
    let expected: Vec<f32> = (0..16).map(|i| 2.0 * (i as f32 - 8.0)).chain((0..16).map(|i| 2.0 * (7.0 - i as f32))).collect();
    assert_eq!(TensorType::Q4_0.elements(&block).values(), expected);
}

#[test]
fn q4_1_adds_its_minimum() {
    let mut block = [HALF_TWO, HALF_MINUS_HALF].concat();
    block.extend((0..16u8).map(|i| i | (15 - i) << 4));
    let expected: Vec<f32> = (0..16).map(|i| 2.0 * i as f32 - 0.5).chain((0..16).map(|i| 2.0 * (15.0 - i as f32) - 0.5)).collect();
    assert_eq!(TensorType::Q4_1.elements(&block).values(), expected);
}

/// Packs eight six-bit scales and minima as the format has them, from its description alone.
fn pack_pairs(scales: [u8; 8], minima: [u8; 8]) -> [u8; 12] {
    let mut packed = [0; 12];
    for i in 0..4 {
        packed[i] = scales[i] | (scales[i + 4] >> 4) << 6;
        packed[i + 4] = minima[i] | (minima[i + 4] >> 4) << 6;
        packed[i + 8] = (scales[i + 4] & 15) | (minima[i + 4] & 15) << 4;
    }
    packed
}

#[test]
fn q4_k_scales_eight_sub_blocks_of_nibbles() {
    let scales = [1, 2, 3, 63, 16, 33, 47, 62];
    let minima = [0, 5, 63, 1, 17, 32, 15, 48];
    let nibble = |at: usize| ((at * 7 + at / 32) % 16) as u8;
    let mut block = [HALF_TWO, HALF_ONE].concat();
    block.extend(pack_pairs(scales, minima));
    for pair in 0..4 {
        block.extend((0..32).map(|at| nibble(64 * pair + at) | nibble(64 * pair + 32 + at) << 4));
    }
    let expected: Vec<f32> =
        (0..256).map(|at| 2.0 * f32::from(scales[at / 32]) * f32::from(nibble(at)) - f32::from(minima[at / 32])).collect();
    assert_eq!(TensorType::Q4K.elements(&block).values(), expected);
}

#[test]
fn q6_k_joins_low_nibbles_with_high_pairs() {
    let value = |at: usize| ((at * 11 + at / 64) % 64) as u8;
    let scales: [i8; 16] = std::array::from_fn(|i| (i as i32 * 15 - 120) as i8);
    let mut block = vec![0u8; 210];
    for at in 0..256 {
        let (part, within) = (at / 128, at % 128);
        let (run, lane) = (within / 32, within % 32);
        block[64 * part + 32 * (run % 2) + lane] |= (value(at) & 15) << (4 * (run / 2));
        block[128 + 32 * part + lane] |= (value(at) >> 4) << (2 * run);
    }
    for (slot, scale) in block[192..208].iter_mut().zip(scales) {
        *slot = scale.cast_unsigned();
    }
    block[208..].copy_from_slice(&HALF_MINUS_HALF);
    let expected: Vec<f32> = (0..256).map(|at| -0.5 * f32::from(scales[at / 16]) * (f32::from(value(at)) - 32.0)).collect();
    assert_eq!(TensorType::Q6K.elements(&block).values(), expected);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = parse(bytes.clone());
        let _ = parse([&sample()[..24], &bytes].concat());
    }

    #[test]
    fn flipped_bits_never_panic(flips in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..8)) {
        let mut bytes = sample();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if let Ok(file) = parse(bytes) {
            for name in file.tensors().keys() {
                let _ = file.dequantise(name);
            }
        }
    }
}
