use super::*;
use proptest::prelude::*;
use safetensors::SafeTensorError;

/// Three tensors of the types that are dequantised, and one of another.
fn sample() -> SafetensorsWriter {
    SafetensorsWriter::new()
        .f32("one", &[2, 2], &[1., 2., 3., 4.])
        .tensor("half", &[2], Dtype::F16, &[0x00, 0x3c, 0x00, 0xb8])
        .tensor("brain", &[1, 2], Dtype::BF16, &[0x80, 0x3f, 0x00, 0xc0])
        .tensor("ids", &[1], Dtype::I64, &[7, 0, 0, 0, 0, 0, 0, 0])
}

/// A file of this header and as many zero bytes.
fn file(header: &str, data_bytes: usize) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.resize(out.len() + data_bytes, 0);
    out
}

fn parse(bytes: Vec<u8>) -> Result<Safetensors, SafetensorsError> {
    Safetensors::from_bytes(bytes)
}

fn refused(header: &str, data_bytes: usize) -> SafetensorsError {
    parse(file(header, data_bytes)).expect_err(header)
}

#[test]
fn what_the_writer_wrote_is_read_back() {
    let file = parse(sample().finish()).unwrap();
    assert_eq!(file.tensors().keys().collect::<Vec<_>>(), ["brain", "half", "ids", "one"]);
    assert_eq!(file.tensors()["one"].shape, [2, 2]);
    assert_eq!((file.tensors()["one"].dtype, file.tensors()["one"].elements()), (Dtype::F32, 4));
    assert_eq!(file.dequantise("one").unwrap(), [1., 2., 3., 4.]);
    assert_eq!(file.dequantise("half").unwrap(), [1.0, -0.5]);
    assert_eq!(file.dequantise("brain").unwrap(), [1.0, -2.0]);
    assert!(matches!(file.dequantise("two"), Err(SafetensorsError::NoSuchTensor { name }) if name == "two"));
}

#[test]
fn elements_of_other_types_are_named() {
    let error = parse(sample().finish()).unwrap().dequantise("ids").unwrap_err();
    assert!(matches!(error, SafetensorsError::UnsupportedDtype { dtype: Dtype::I64, .. }));
    assert!(error.to_string().contains("I64"), "{error}");
}

#[test]
fn scalars_empty_tensors_and_metadata_are_read() {
    let bytes = file(
        r#"{"__metadata__":{"format":"pt"},"scalar":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"none":{"dtype":"F32","shape":[0,7],"data_offsets":[4,4]}}"#,
        4,
    );
    let read = parse(bytes).unwrap();
    assert_eq!(read.dequantise("scalar").unwrap(), [0.0]);
    assert!(read.dequantise("none").unwrap().is_empty());
    assert_eq!(read.tensors().len(), 2);
    assert!(parse(file("{}", 0)).unwrap().tensors().is_empty());
}

#[test]
fn a_mapped_file_reads_as_its_bytes_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    std::fs::write(&path, sample().finish()).unwrap();
    assert_eq!(Safetensors::open(&path).unwrap().dequantise("one").unwrap(), [1., 2., 3., 4.]);
    std::fs::write(&path, []).unwrap();
    assert!(matches!(Safetensors::open(&path), Err(SafetensorsError::Truncated { left: 0, .. })));
    assert!(matches!(Safetensors::open(&dir.path().join("none")), Err(SafetensorsError::Io(_))));
}

#[test]
fn every_truncation_is_a_typed_error() {
    let whole = sample().finish();
    for len in 0..whole.len() {
        assert!(parse(whole[..len].to_vec()).is_err(), "{len} bytes of {} were accepted", whole.len());
    }
}

#[test]
fn a_claimed_header_is_held_against_limit_and_file() {
    let claiming = |claim: u64| parse([&claim.to_le_bytes()[..], &[b' '; 64]].concat()).unwrap_err();
    assert!(matches!(claiming(u64::MAX), SafetensorsError::AboveLimit { claimed: u64::MAX, limit: HEADER_BYTES_MAX, .. }));
    assert!(matches!(claiming(HEADER_BYTES_MAX + 1), SafetensorsError::AboveLimit { .. }));
    assert!(matches!(claiming(HEADER_BYTES_MAX), SafetensorsError::Truncated { needed: HEADER_BYTES_MAX, left: 64, .. }));
    assert!(matches!(claiming(65), SafetensorsError::Truncated { needed: 65, left: 64, .. }));
}

#[test]
fn headers_that_are_no_table_are_refused() {
    let long_number = format!(r#"{{"a":{{"dtype":"F32","shape":[{}],"data_offsets":[0,4]}}}}"#, "9".repeat(30));
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    for header in [
        "",
        "7",
        "[]",
        "{",
        "{} {}",
        r#"{"a":7}"#,
        r#"{"a":{"dtype":"F32","shape":[1]}}"#,
        r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,6]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":[]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}"#,
        &long_number,
        &deep,
    ] {
        assert!(matches!(refused(header, 4), SafetensorsError::Header(_)), "{header}");
    }
    let mut bytes = file(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 4);
    bytes[10] = 0xff;
    assert!(matches!(parse(bytes), Err(SafetensorsError::Header(_))), "not UTF-8");
    assert!(matches!(refused(r#"{"__metadata__":{"a":1}}"#, 0), SafetensorsError::Layout(_)), "metadata of numbers");
}

#[test]
fn one_name_for_two_tensors_is_refused() {
    let same = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    assert!(matches!(refused(same, 4), SafetensorsError::DuplicateTensor { name } if name == "a"));
    let escaped = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"\u0061":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    assert!(matches!(refused(escaped, 8), SafetensorsError::DuplicateTensor { .. }));
}

#[test]
fn tensors_must_fill_the_file_one_behind_the_other() {
    let two = |first: [u64; 2], second: [u64; 2], data_bytes| {
        let header = format!(
            r#"{{"a":{{"dtype":"F32","shape":[2],"data_offsets":{first:?}}},"b":{{"dtype":"F32","shape":[2],"data_offsets":{second:?}}}}}"#
        );
        parse(file(&header, data_bytes))
    };
    assert!(two([0, 8], [8, 16], 16).is_ok());
    assert!(two([8, 16], [0, 8], 16).is_ok(), "in any order");
    let layout = |read: Result<Safetensors, SafetensorsError>| match read.unwrap_err() {
        SafetensorsError::Layout(source) => source,
        other => panic!("{other:?}"),
    };
    assert!(matches!(layout(two([0, 8], [0, 8], 8)), SafeTensorError::InvalidOffset(_)), "the same bytes");
    assert!(matches!(layout(two([0, 8], [4, 12], 12)), SafeTensorError::InvalidOffset(_)), "overlap");
    assert!(matches!(layout(two([0, 8], [12, 20], 20)), SafeTensorError::InvalidOffset(_)), "gap");
    assert!(matches!(layout(two([4, 12], [12, 20], 20)), SafeTensorError::InvalidOffset(_)), "gap at the start");
    assert!(matches!(layout(two([0, 8], [8, 0], 16)), SafeTensorError::InvalidOffset(_)), "backwards");
    assert!(matches!(layout(two([0, 8], [8, 16], 15)), SafeTensorError::MetadataIncompleteBuffer), "beyond the end");
    assert!(matches!(layout(two([0, 8], [8, 16], 17)), SafeTensorError::MetadataIncompleteBuffer), "bytes of nobody");
    assert!(matches!(layout(two([0, 8], [8, 12], 12)), SafeTensorError::TensorInvalidInfo), "fewer bytes than elements");
    assert!(matches!(layout(two([0, 8], [8, u64::MAX], 16)), SafeTensorError::TensorInvalidInfo));
}

#[test]
fn shapes_whose_product_overflows_are_refused() {
    for shape in [[1u64 << 32, 1 << 32, 1], [u64::MAX, u64::MAX, 0], [1 << 62, 1, 1], [u64::MAX, 1, 1]] {
        let header = format!(r#"{{"a":{{"dtype":"F32","shape":{shape:?},"data_offsets":[0,0]}}}}"#);
        assert!(matches!(refused(&header, 0), SafetensorsError::Layout(SafeTensorError::ValidationOverflow)), "{shape:?}");
    }
}

#[test]
fn ranks_names_and_counts_are_bounded() {
    let ones = |rank: usize| format!(r#"{{"a":{{"dtype":"F32","shape":{:?},"data_offsets":[0,4]}}}}"#, vec![1; rank]);
    assert!(parse(file(&ones(DIMENSIONS_MAX), 4)).is_ok());
    assert!(matches!(refused(&ones(DIMENSIONS_MAX + 1), 4), SafetensorsError::TooManyDimensions { limit: DIMENSIONS_MAX, .. }));

    let named = |bytes: u64| {
        let name = "n".repeat(bytes as usize);
        parse(SafetensorsWriter::new().f32(&name, &[0], &[]).finish())
    };
    assert!(named(NAME_BYTES_MAX).is_ok());
    assert!(matches!(named(NAME_BYTES_MAX + 1), Err(SafetensorsError::AboveLimit { .. })));

    let empty = |tensors: u64| {
        let rows: Vec<String> = (0..tensors).map(|at| format!(r#""{at}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#)).collect();
        parse(file(&format!("{{{}}}", rows.join(",")), 0))
    };
    assert_eq!(empty(TENSORS_MAX).unwrap().tensors().len() as u64, TENSORS_MAX);
    assert!(matches!(empty(TENSORS_MAX + 1), Err(SafetensorsError::AboveLimit { limit: TENSORS_MAX, .. })));
}

#[test]
fn unknown_types_of_elements_are_named() {
    let header = r#"{"a":{"dtype":"Q4","shape":[1],"data_offsets":[0,4]}}"#;
    assert!(matches!(refused(header, 4), SafetensorsError::UnknownDtype { dtype, .. } if dtype == "Q4"));
}

/// A folder of two files and an index over their tensors.
fn sharded(index: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("model-1.safetensors"), SafetensorsWriter::new().f32("a", &[1], &[1.0]).finish()).unwrap();
    let second = SafetensorsWriter::new().f32("b", &[1], &[2.0]).f32("left", &[1], &[3.0]).finish();
    std::fs::write(dir.path().join("model-2.safetensors"), second).unwrap();
    std::fs::write(dir.path().join(INDEX_FILE), index).unwrap();
    dir
}

const INDEX: &str =
    r#"{"metadata":{"total_size":8},"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors","left":"model-2.safetensors"}}"#;

fn open_sharded(index: &str) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::open(sharded(index).path())
}

#[test]
fn an_index_joins_its_files() {
    let checkpoint = open_sharded(INDEX).unwrap();
    assert_eq!(checkpoint.tensors().map(|(name, entry)| (name, entry.elements())).collect::<Vec<_>>(), [("a", 1), ("b", 1), ("left", 1)]);
    assert_eq!((checkpoint.dequantise("a").unwrap(), checkpoint.dequantise("b").unwrap()), (vec![1.0], vec![2.0]));
    assert_eq!(checkpoint.get("b").unwrap().shape, [1]);
    assert!(checkpoint.get("c").is_none());
    assert!(matches!(checkpoint.dequantise("c"), Err(SafetensorsError::NoSuchTensor { .. })));
}

#[test]
fn a_tensor_outside_the_index_is_left_out() {
    let checkpoint = open_sharded(r#"{"weight_map":{"b":"model-2.safetensors"}}"#).unwrap();
    assert_eq!(checkpoint.tensors().count(), 1);
    assert!(checkpoint.get("left").is_none());
}

#[test]
fn a_checkpoint_in_one_file_needs_no_index() {
    let dir = sharded("not read");
    std::fs::write(dir.path().join(CHECKPOINT_FILE), sample().finish()).unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(checkpoint.dequantise("one").unwrap(), [1., 2., 3., 4.]);
    std::fs::write(dir.path().join(CHECKPOINT_FILE), "broken").unwrap();
    assert!(matches!(Checkpoint::open(dir.path()), Err(CheckpointError::File { file, .. }) if file == CHECKPOINT_FILE));
    assert!(matches!(Checkpoint::open(tempfile::tempdir().unwrap().path()), Err(CheckpointError::Missing)));
}

#[test]
fn an_index_cannot_name_files_elsewhere() {
    for file in [
        "../model-1.safetensors",
        "/etc/model.safetensors",
        "sub/model-1.safetensors",
        "sub\\\\model-1.safetensors",
        "C:model-1.safetensors",
        ".safetensors",
        "..safetensors",
        "model-1.bin",
        "model\\u0000-1.safetensors",
        "",
    ] {
        let index = format!(r#"{{"weight_map":{{"a":"{file}"}}}}"#);
        assert!(matches!(open_sharded(&index), Err(CheckpointError::BadFileName { .. })), "{file}");
    }
    let long = format!(r#"{{"weight_map":{{"a":"{}.safetensors"}}}}"#, "m".repeat(255));
    assert!(matches!(open_sharded(&long), Err(CheckpointError::BadFileName { .. })));
}

#[test]
fn an_index_that_says_what_is_not_so_is_refused() {
    let index = |map: &str| open_sharded(&format!(r#"{{"weight_map":{map}}}"#)).unwrap_err();
    assert!(matches!(index(r#"{"b":"model-1.safetensors"}"#), CheckpointError::NotInFile { name, .. } if name == "b"));
    assert!(matches!(index(r#"{"a":"model-3.safetensors"}"#), CheckpointError::File { source: SafetensorsError::Io(_), .. }));
    let twice = index(r#"{"a":"model-1.safetensors","a":"model-2.safetensors"}"#);
    assert!(matches!(twice, CheckpointError::IndexTable(SafetensorsError::DuplicateTensor { .. })));
    assert!(matches!(index("[]"), CheckpointError::Index(_)));
    assert!(matches!(index(r#"{"a":7}"#), CheckpointError::Index(_)));
    let files: Vec<String> = (0..=FILES_MAX).map(|at| format!(r#""{at}":"{at}.safetensors""#)).collect();
    assert!(matches!(index(&format!("{{{}}}", files.join(","))), CheckpointError::TooManyFiles { limit: FILES_MAX }));
    let tensors: Vec<String> = (0..TENSORS_MAX + 2).map(|at| format!(r#""{at}":"a.safetensors""#)).collect();
    assert!(matches!(index(&format!("{{{}}}", tensors.join(","))), CheckpointError::Index(_)));
    let long = format!("{INDEX}{}", " ".repeat(INDEX_BYTES_MAX as usize));
    assert!(matches!(open_sharded(&long), Err(CheckpointError::IndexFile(_))));
}

/// Reads all there is to read.
fn exhaust(bytes: Vec<u8>) {
    if let Ok(file) = parse(bytes) {
        for name in file.tensors().keys() {
            let _ = file.dequantise(name);
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        exhaust(bytes.clone());
        exhaust([&(bytes.len() as u64).to_le_bytes()[..], &bytes].concat());
    }

    #[test]
    fn changed_bytes_and_truncations_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = sample().finish();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        exhaust(bytes.clone());
        bytes.truncate(end.index(bytes.len()));
        exhaust(bytes);
    }

    #[test]
    fn a_changed_index_never_panics(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut index = INDEX.as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(index.len());
            index[at] = byte;
        }
        let dir = sharded(INDEX);
        std::fs::write(dir.path().join(INDEX_FILE), index).unwrap();
        if let Ok(checkpoint) = Checkpoint::open(dir.path()) {
            prop_assert!(checkpoint.tensors().all(|(name, _)| checkpoint.dequantise(name).is_ok()));
        }
    }
}
