use super::*;
use proptest::prelude::*;
use serde::Deserialize;

/// What `tests/reference/fingerprint.py` found.
#[derive(Deserialize)]
struct Golden {
    chunks: Vec<Chunk>,
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Chunk {
    name: String,
    kind: String,
    seed: u64,
    rows: usize,
    width: usize,
    modulus: u16,
    fingerprint: String,
    ulps: u32,
    comparison: GoldenComparison,
}

#[derive(Deserialize)]
struct GoldenComparison {
    peaks: u32,
    exponent_matches: u32,
    /// Numerator and denominator.
    mean: Option<(u32, u32)>,
    median: Option<(u32, u32)>,
}

#[derive(Deserialize)]
struct Answer {
    seed: u64,
    width: usize,
    prompt_rows: usize,
    answer_rows: usize,
    fingerprints: usize,
    commitment: String,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../tests/reference/fingerprint.json")).unwrap()
}

/// SplitMix64.
fn words(mut seed: u64) -> impl Iterator<Item = u64> {
    std::iter::repeat_with(move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    })
}

/// Values of a kind, as the reference draws them.
fn draw(kind: &str, seed: u64, count: usize) -> Vec<f32> {
    let value = |word: u64| match kind {
        "spread" => ((word >> 40) as i32 - (1 << 23)) as f32 * 2f32.powi((word as u32 & 0xffff | 0x1_0000).trailing_zeros() as i32 - 23),
        "ties" => ((word >> 40) as i32 % 9 - 4) as f32 * 0.5,
        "halves" => {
            let bf16 = 0x3f00 + (word >> 40) as u32 % 0x180;
            f32::from_bits((word >> 63 << 31) as u32 | bf16 << 16 | (0x7fff + (word % 3) as u32))
        }
        "zeros" => f32::from_bits((word >> 63 << 31) as u32),
        kind => panic!("no recipe for {kind}"),
    };
    words(seed).take(count).map(value).collect()
}

/// Every value moved by up to `ulps` steps of its format, either way.
fn shake(values: &[f32], seed: u64, ulps: u32) -> Vec<f32> {
    let shaken = |(value, word): (&f32, u64)| {
        let bits = value.to_bits();
        let by = (word % u64::from(2 * ulps + 1)) as u32;
        if bits & 0x7fff_ffff <= ulps { *value } else { f32::from_bits(bits + by - ulps) }
    };
    values.iter().zip(words(seed)).map(shaken).collect()
}

/// A whole chunk of values like hidden states.
fn hidden(seed: u64, width: usize) -> Vec<f32> {
    draw("spread", seed, CHUNK_ROWS * width)
}

fn judge(fingerprint: &Fingerprint, rows: &[f32], width: usize) -> Verdict {
    Tolerance::PAPER.judge(&compare(fingerprint, rows, width).unwrap())
}

#[test]
fn fingerprints_equal_the_references() {
    for chunk in golden().chunks {
        let rows = draw(&chunk.kind, chunk.seed, chunk.rows * chunk.width);
        let fingerprint = Fingerprint::of(&rows, chunk.width).unwrap();
        assert_eq!(fingerprint.modulus(), chunk.modulus, "{}", chunk.name);
        assert_eq!(hex::encode(fingerprint.to_bytes()), chunk.fingerprint, "{}", chunk.name);
    }
}

#[test]
fn comparisons_equal_the_references() {
    for Chunk { name, kind, seed, rows, width, fingerprint, ulps, comparison, .. } in golden().chunks {
        let rows = draw(&kind, seed, rows * width);
        let fingerprint = Fingerprint::from_bytes(&hex::decode(fingerprint).unwrap()).unwrap();
        let found = compare(&fingerprint, &shake(&rows, seed + 1, ulps), width).unwrap();
        let error = comparison.mean.zip(comparison.median).map(|(mean, median)| MantissaError {
            mean_milli: (mean.0 * 1_000).div_ceil(mean.1),
            median_milli: median.0 * 1_000 / median.1,
        });
        let expected = Comparison { peaks: comparison.peaks, exponent_matches: comparison.exponent_matches, mantissa_error: error };
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn the_vectors_hold_the_rare_cases() {
    let chunks = golden().chunks;
    assert!(chunks.iter().filter(|chunk| chunk.width == 4_096).any(|chunk| chunk.modulus < MODULUS_MAX), "positions that coincide");
    assert!(chunks.iter().any(|chunk| chunk.rows * chunk.width < TOP_VALUES), "fewer values than peaks");
    assert!(chunks.iter().any(|chunk| chunk.comparison.exponent_matches < 90), "a failure");
    assert!(chunks.iter().any(|chunk| chunk.ulps > 0 && chunk.comparison.exponent_matches >= 90), "noise that passes");
}

#[test]
fn commitments_to_answers_equal_the_references() {
    for answer in golden().answers {
        let prompt = draw("spread", answer.seed, answer.prompt_rows * answer.width);
        let rows = draw("spread", answer.seed + 1, answer.answer_rows * answer.width);
        let mut builder = FingerprintBuilder::new(&prompt, answer.width).unwrap();
        rows.chunks(answer.width).for_each(|row| builder.push(row).unwrap());
        let fingerprints = builder.fingerprints().unwrap();
        assert_eq!(fingerprints.as_slice().len(), answer.fingerprints);
        assert_eq!(fingerprint_count(answer.answer_rows), answer.fingerprints);
        assert_eq!(hex::encode(fingerprints.commitment()), answer.commitment, "seed {}", answer.seed);
    }
}

/// Here comparing at the position itself, and not modulo `m`, would find other values.
#[test]
fn positions_are_reduced_in_comparisons_too() {
    let golden = golden();
    let chunk = golden.chunks.iter().find(|chunk| chunk.width == 4_096 && chunk.modulus < MODULUS_MAX).unwrap();
    let rows = draw(&chunk.kind, chunk.seed, chunk.rows * chunk.width);
    let fingerprint = Fingerprint::of(&rows, chunk.width).unwrap();
    let perfect = Comparison { peaks: 128, exponent_matches: 128, mantissa_error: Some(MantissaError { mean_milli: 0, median_milli: 0 }) };
    assert_eq!(compare(&fingerprint, &rows, chunk.width), Ok(perfect));

    let mut other = fingerprint;
    other.modulus = MODULUS_MAX;
    assert_ne!(compare(&other, &rows, chunk.width), Ok(perfect));
}

#[test]
fn the_greatest_modulus_that_tells_positions_apart_is_found() {
    let modulus = |positions: &[u32]| {
        let peaks: Vec<Peak> = positions.iter().map(|position| Peak { position: *position, bits: 0 }).collect();
        injective_modulus(&peaks)
    };
    assert_eq!(modulus(&[0, 65_496]), Some(65_497));
    assert_eq!(modulus(&[0, 65_497]), Some(65_496));
    assert_eq!(modulus(&[3, 65_500, 65_499, 131_000]), Some(65_495));
    assert_eq!(modulus(&[]), Some(65_497));
    assert_eq!(modulus(&[5, 5]), None);
    // Apart by the least common multiple of 32,769 and 65,497 alone: modulo both they coincide.
    assert_eq!(modulus(&[0, 32_769 * 65_497]), Some(65_496));
}

#[test]
fn rows_of_other_shapes_are_refused() {
    let row = [1.0; 8];
    assert_eq!(Fingerprint::of(&row, 0), Err(FingerprintError::Width { width: 0 }));
    assert_eq!(Fingerprint::of(&row, WIDTH_MAX + 1), Err(FingerprintError::Width { width: WIDTH_MAX + 1 }));
    assert_eq!(Fingerprint::of(&row, 3), Err(FingerprintError::RowLength { values: 8, width: 3 }));
    assert_eq!(Fingerprint::of(&[], 3), Err(FingerprintError::ChunkRows { rows: 0 }));
    assert_eq!(Fingerprint::of(&[1.0; 33], 1), Err(FingerprintError::ChunkRows { rows: 33 }));
    assert_eq!(FingerprintBuilder::new(&[], 4).unwrap_err(), FingerprintError::ChunkRows { rows: 0 });
    assert_eq!(FingerprintBuilder::new(&row, 0).unwrap_err(), FingerprintError::Width { width: 0 });
    let mut builder = FingerprintBuilder::new(&row, 4).unwrap();
    assert_eq!(builder.push(&row), Err(FingerprintError::RowLength { values: 8, width: 4 }));
    assert_eq!(builder.push(&[f32::NAN; 4]), Err(FingerprintError::NotFinite { row: 0, column: 0 }));
    assert_eq!(builder.fingerprints().unwrap().as_slice().len(), 1, "nothing was taken");
}

#[test]
fn malformed_bytes_say_what_is_wrong() {
    let good = Fingerprint::of(&hidden(1, 8), 8).unwrap().to_bytes();
    let with = |at: usize, value: u16| {
        let mut bytes = good;
        bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
        Fingerprint::from_bytes(&bytes)
    };
    assert_eq!(Fingerprint::from_bytes(&good[1..]), Err(FingerprintParseError::Length { bytes: 257 }));
    assert_eq!(Fingerprint::from_bytes(&[&good[..], &[0]].concat()), Err(FingerprintParseError::Length { bytes: 259 }));
    assert_eq!(with(0, 0), Err(FingerprintParseError::ZeroModulus));
    for modulus in [1, 32_768, 65_498, 65_535] {
        assert_eq!(with(0, modulus), Err(FingerprintParseError::Modulus { modulus }));
    }
    for modulus in [32_769, 65_497] {
        assert_eq!(with(0, modulus).map(|fingerprint| fingerprint.modulus()), Ok(modulus));
    }
    for (index, value) in [(0, 65_497), (127, 65_535)] {
        assert_eq!(with(2 + 2 * index, value), Err(FingerprintParseError::Coefficient { index, value }));
    }
    assert_eq!(with(256, 65_496).map(|fingerprint| fingerprint.coefficients[127]), Ok(65_496));
}

#[test]
fn malformed_sequences_say_what_is_wrong() {
    let good = Fingerprint::of(&hidden(1, 8), 8).unwrap().to_bytes();
    assert_eq!(Fingerprints::from_bytes(&[]), Err(FingerprintsParseError::Length { bytes: 0 }));
    assert_eq!(Fingerprints::from_bytes(&good[..257]), Err(FingerprintsParseError::Length { bytes: 257 }));
    assert_eq!(Fingerprints::from_bytes(&[&good[..], &good[..9]].concat()), Err(FingerprintsParseError::Length { bytes: 267 }));
    let source = FingerprintParseError::ZeroModulus;
    let second = [&good[..], &[0; FINGERPRINT_BYTES]].concat();
    assert_eq!(Fingerprints::from_bytes(&second), Err(FingerprintsParseError::Fingerprint { index: 1, source }));
    assert_eq!(Fingerprints::from_bytes(&good.repeat(FINGERPRINTS_MAX)).map(|all| all.as_slice().len()), Ok(FINGERPRINTS_MAX));
    let count = FINGERPRINTS_MAX + 1;
    assert_eq!(Fingerprints::from_bytes(&good.repeat(count)), Err(FingerprintsParseError::TooMany { count }));
}

#[test]
fn an_answer_longer_than_any_is_refused() {
    let mut builder = FingerprintBuilder::new(&[1.0], 1).unwrap();
    for _ in 0..(FINGERPRINTS_MAX - 1) * CHUNK_ROWS {
        builder.push(&[1.0]).unwrap();
    }
    assert_eq!(builder.push(&[1.0]), Err(FingerprintError::AnswerTooLong));
    assert_eq!(builder.fingerprints().unwrap().as_slice().len(), FINGERPRINTS_MAX);
}

#[test]
fn an_answer_is_compared_chunk_by_chunk() {
    let width = 96;
    let (prompt, answer) = (draw("spread", 1, 50 * width), draw("spread", 2, 70 * width));
    let mut builder = FingerprintBuilder::new(&prompt, width).unwrap();
    answer.chunks(width).for_each(|row| builder.push(row).unwrap());
    let fingerprints = builder.fingerprints().unwrap();

    let tail = &prompt[18 * width..];
    for prompt in [&prompt[..], tail] {
        let comparisons = fingerprints.compare(prompt, &answer, width).unwrap();
        assert_eq!(comparisons.len(), 4);
        assert_eq!(Tolerance::PAPER.first_rejected(&comparisons), None);
    }
    let mut other = answer.clone();
    other[32 * width..64 * width].copy_from_slice(&hidden(3, width));
    let comparisons = fingerprints.compare(&prompt, &other, width).unwrap();
    assert_eq!(Tolerance::PAPER.first_rejected(&comparisons).map(|(chunk, verdict)| (chunk, verdict.is_accepted())), Some((2, false)));

    let shorter = fingerprints.compare(&prompt, &answer[..64 * width], width);
    assert_eq!(shorter, Err(CompareError::Count { expected: 3, found: 4 }));
    assert_eq!(
        fingerprints.compare(&prompt, &answer[1..], width),
        Err(FingerprintError::RowLength { values: 70 * width - 1, width }.into())
    );
    assert_eq!(fingerprints.compare(&[], &[], 0), Err(FingerprintError::Width { width: 0 }.into()));
    other[65 * width] = f32::INFINITY;
    assert_eq!(fingerprints.compare(&prompt, &other, width), Err(FingerprintError::NotFinite { row: 1, column: 0 }.into()));
}

#[test]
fn verdicts_name_the_bound_at_its_edge() {
    let comparison = |exponent_matches, mean_milli, median_milli| Comparison {
        peaks: 128,
        exponent_matches,
        mantissa_error: Some(MantissaError { mean_milli, median_milli }),
    };
    let judge = |comparison| Tolerance::default().judge(&comparison);
    assert_eq!(judge(comparison(90, 10_000, 8_000)), Verdict::Accepted);
    assert_eq!(judge(comparison(89, 99_000, 99_000)), Verdict::ExponentMatches { found: 89, peaks: 128, least: 90 });
    assert_eq!(judge(comparison(90, 10_001, 99_000)), Verdict::MantissaMean { found_milli: 10_001, most_milli: 10_000 });
    assert_eq!(judge(comparison(90, 10_000, 8_500)), Verdict::MantissaMedian { found_milli: 8_500, most_milli: 8_000 });
    let nothing = Comparison { peaks: 128, exponent_matches: 0, mantissa_error: None };
    assert_eq!(judge(nothing), Verdict::ExponentMatches { found: 0, peaks: 128, least: 90 });
    // 22 of 32 are less than 90 of 128, 23 are more.
    assert!(!judge(Comparison { peaks: 32, ..comparison(22, 0, 0) }).is_accepted());
    assert!(judge(Comparison { peaks: 32, ..comparison(23, 0, 0) }).is_accepted());
    assert_eq!(judge(comparison(128, 10_001, 0)).to_string(), "mean mantissa error 10.001 is above 10.000");
}

#[test]
fn bounds_that_decide_nothing_are_refused() {
    for exponent_matches_min in [0, 129] {
        assert_eq!(Tolerance::new(exponent_matches_min, 1, 1), Err(ToleranceError::ExponentMatches { exponent_matches_min }));
    }
    assert_eq!(Tolerance::new(1, 127_000, 1), Err(ToleranceError::Mantissa { milli: 127_000 }));
    assert_eq!(Tolerance::new(1, 1, 127_001), Err(ToleranceError::Mantissa { milli: 127_001 }));
    assert_eq!(Tolerance::new(90, 10_000, 8_000), Ok(Tolerance::PAPER));
}

#[test]
fn a_value_of_the_other_sign_does_not_match() {
    let rows = hidden(4, 64);
    let fingerprint = Fingerprint::of(&rows, 64).unwrap();
    let negated: Vec<f32> = rows.iter().map(|value| -value).collect();
    assert_eq!(compare(&fingerprint, &negated, 64).unwrap().exponent_matches, 0);
}

/// All values of the fingerprint move by one place, which is within tolerance, and is seen.
#[test]
fn a_raised_constant_term_is_an_error_of_one() {
    let rows = hidden(5, 64);
    let mut fingerprint = Fingerprint::of(&rows, 64).unwrap();
    fingerprint.coefficients[0] = (fingerprint.coefficients[0] + 1) % MODULUS_MAX;
    let comparison = compare(&fingerprint, &rows, 64).unwrap();
    assert_eq!(comparison.mantissa_error, Some(MantissaError { mean_milli: 1_000, median_milli: 1_000 }));
    assert!(comparison.exponent_matches < 128, "fractions of all ones go to the next exponent");
}

proptest! {
    #[test]
    fn bytes_go_round(seed in any::<u64>(), width in 1usize..200, rows in 1usize..=CHUNK_ROWS) {
        let fingerprint = Fingerprint::of(&draw("spread", seed, rows * width), width).unwrap();
        prop_assert_eq!(Fingerprint::from_bytes(&fingerprint.to_bytes()), Ok(fingerprint));
        let two = Fingerprints::from_bytes(&fingerprint.to_bytes().repeat(2)).unwrap();
        prop_assert_eq!(Fingerprints::from_bytes(&two.to_bytes()), Ok(two));
    }

    #[test]
    fn a_fingerprint_holds_the_values_of_its_peaks(seed in any::<u64>(), width in 1usize..5_000, rows in 1usize..=CHUNK_ROWS) {
        let selection = Selection::of(&draw("spread", seed, rows * width), width).unwrap();
        let peaks = selection.peaks();
        prop_assert_eq!(peaks.len(), TOP_VALUES.min(rows * width));
        let values: Vec<u16> = peaks.iter().map(|peak| peak.bits).collect();
        prop_assert_eq!(Fingerprint::of_selection(&selection).unwrap().values_at(&peaks), values);
    }

    #[test]
    fn a_tampered_coefficient_is_rejected(seed in any::<u64>(), index in 1..TOP_VALUES, by in 1..MODULUS_MAX) {
        let rows = hidden(seed, 64);
        let mut fingerprint = Fingerprint::of(&rows, 64).unwrap();
        prop_assert_eq!(judge(&fingerprint, &rows, 64), Verdict::Accepted);
        let sum = u32::from(fingerprint.coefficients[index]) + u32::from(by);
        fingerprint.coefficients[index] = (sum % u32::from(MODULUS_MAX)) as u16;
        prop_assert!(!judge(&fingerprint, &rows, 64).is_accepted());
    }

    /// Up to one place of bf16, which is what rounding elsewhere makes of a value.
    #[test]
    fn small_noise_is_accepted(seed in any::<u64>(), width in 64usize..1_024) {
        let rows = hidden(seed, width);
        let fingerprint = Fingerprint::of(&rows, width).unwrap();
        let verdict = judge(&fingerprint, &shake(&rows, seed ^ 1, 1 << 16), width);
        prop_assert!(verdict.is_accepted(), "{verdict}");
    }

    #[test]
    fn other_hidden_states_are_rejected(seed in any::<u64>(), width in 64usize..1_024) {
        let fingerprint = Fingerprint::of(&hidden(seed, width), width).unwrap();
        prop_assert!(!judge(&fingerprint, &hidden(seed ^ 1, width), width).is_accepted());
    }

    #[test]
    fn rows_one_place_off_are_rejected(seed in any::<u64>(), width in 64usize..1_024) {
        let rows = hidden(seed, width);
        let fingerprint = Fingerprint::of(&rows, width).unwrap();
        let moved: Vec<f32> = std::iter::once(0.0).chain(rows.iter().copied()).take(rows.len()).collect();
        prop_assert!(!judge(&fingerprint, &moved, width).is_accepted());
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), modulus in any::<u16>()) {
        let _ = Fingerprint::from_bytes(&bytes);
        let _ = Fingerprints::from_bytes(&bytes);
        // Words below 2^15 are coefficients, so that what follows parsing is reached.
        let mut bytes: Vec<u8> = bytes.iter().chain([0; FINGERPRINT_BYTES].iter()).map(|byte| byte & 0x7f).take(FINGERPRINT_BYTES).collect();
        bytes[..2].copy_from_slice(&modulus.to_be_bytes());
        let parsed = Fingerprint::from_bytes(&bytes);
        prop_assert_eq!(parsed.is_ok(), modulus > MODULUS_ABOVE && modulus <= MODULUS_MAX);
        if let Ok(fingerprint) = parsed {
            prop_assert_eq!(&fingerprint.to_bytes()[..], &bytes[..]);
            compare(&fingerprint, &hidden(1, 64), 64).unwrap();
        }
    }

    #[test]
    fn no_values_panic(bits in proptest::collection::vec(any::<u32>(), 1..400), width in 1usize..50) {
        let values: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        let _ = Fingerprint::of(&values, width);
        let _ = FingerprintBuilder::new(&values, width);
    }
}
