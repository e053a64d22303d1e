use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;

/// Bytes of the test's model: several requests long.
const SIZE: usize = 10_000;

/// What a test's server does with a request for a range.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Sends it.
    Serve,
    /// Sends half of it and hangs up.
    CutShort,
    /// Sends the whole file, as servers without ranges do.
    IgnoreRange,
    /// Sends a range of other bytes.
    Lie,
    /// Sends a range of a file of another size.
    OtherFile,
    /// Answers with a status alone.
    Status(u16),
}

fn content() -> Vec<u8> {
    (0..SIZE).map(|i| (i * i % 251) as u8).collect()
}

fn model() -> Model {
    let content = content();
    Model {
        name: "toy".into(),
        id: ModelId(*blake3::hash(&content).as_bytes()),
        size_bytes: SIZE as u64,
        files: Vec::new(),
        origin: Origin::Own,
    }
}

/// Serves the content over HTTP: the first request by the first act and so on, the rest by the last. Gives the URL and the starts of
/// the ranges that were asked for.
fn server(acts: &[Act]) -> (String, Arc<Mutex<Vec<usize>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/model", listener.local_addr().unwrap());
    let starts = Arc::new(Mutex::new(Vec::new()));
    let (acts, seen) = (acts.to_vec(), Arc::clone(&starts));
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            answer(stream, acts[number.min(acts.len() - 1)], &seen);
        }
    });
    (url, starts)
}

fn answer(mut stream: TcpStream, act: Act, starts: &Mutex<Vec<usize>>) {
    let content = content();
    let lines: Vec<String> = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let range = lines.iter().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned)).unwrap();
    let (start, end) = range.split_once('-').map(|(a, b)| (a.parse::<usize>().unwrap(), b.parse::<usize>().unwrap() + 1)).unwrap();
    starts.lock().unwrap().push(start);
    let piece = content[start..end].to_vec();
    let (status, size, length, body) = match act {
        Act::Serve => (206, SIZE, piece.len(), piece),
        Act::CutShort => (206, SIZE, piece.len(), piece[..piece.len() / 2].to_vec()),
        Act::IgnoreRange => (200, SIZE, SIZE, content),
        Act::Lie => (206, SIZE, piece.len(), vec![0; piece.len()]),
        Act::OtherFile => (206, SIZE + 1, piece.len(), piece),
        Act::Status(status) => (status, SIZE, 0, Vec::new()),
    };
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nContent-Range: bytes {start}-{}/{size}\r\n", end - 1);
    // The client may have left, which is its right.
    let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).and_then(|()| stream.write_all(&body));
}

fn store(dir: &Path) -> ModelStore {
    let options = FetchOptions {
        pause: Duration::ZERO,
        request_bytes: 4_000,
        request_timeout: Duration::from_secs(60),
        ..FetchOptions::new("http://unused")
    };
    ModelStore { dir: dir.join("cache"), index: Index::at(dir.join("home/models.json")), options }
}

fn fetch(store: &ModelStore, urls: &[&str]) -> Result<PathBuf, ModelError> {
    let sources: Vec<Source> = urls.iter().map(|url| Source::Http { url: (*url).to_owned() }).collect();
    store.fetch(&model(), &sources, &mut |_| {})
}

/// The only failure of a fetch from one source.
fn failure(result: Result<PathBuf, ModelError>) -> SourceError {
    match result {
        Err(ModelError::Sources { mut failures, .. }) => failures.0.pop().unwrap().1,
        other => panic!("expected that the source fails, got {other:?}"),
    }
}

#[test]
fn a_file_comes_in_ranges_and_gets_its_name_when_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (url, starts) = server(&[Act::Serve]);
    let store = store(dir.path());
    assert_eq!(store.presence(&model()), Presence::Absent);
    let path = fetch(&store, &[&url]).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), content());
    assert_eq!(*starts.lock().unwrap(), [0, 4_000, 8_000]);
    assert_eq!(store.presence(&model()), Presence::Cached);
    assert!(!store.part_path(model().id).exists());
    store.verify(&model()).unwrap();
}

#[test]
fn a_file_that_is_there_is_not_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let (url, starts) = server(&[Act::Serve]);
    let store = store(dir.path());
    fetch(&store, &[&url]).unwrap();
    fetch(&store, &[&url]).unwrap();
    store.ensure(&model(), &mut |_| {}).unwrap();
    assert_eq!(starts.lock().unwrap().len(), 3);
}

#[test]
fn an_interrupted_download_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    std::fs::create_dir_all(store.dir()).unwrap();
    std::fs::write(store.part_path(model().id), &content()[..1_234]).unwrap();
    assert_eq!(store.presence(&model()), Presence::Partial { bytes: 1_234 });
    let (url, starts) = server(&[Act::Serve]);
    let path = fetch(&store, &[&url]).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), content());
    assert_eq!(*starts.lock().unwrap(), [1_234, 5_234, 9_234]);
}

#[test]
fn a_broken_connection_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (url, starts) = server(&[Act::CutShort, Act::Status(503), Act::Serve]);
    let path = fetch(&store(dir.path()), &[&url]).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), content());
    assert_eq!(starts.lock().unwrap()[..3], [0, 2_000, 2_000]);
}

#[test]
fn an_interrupted_fetch_keeps_what_arrived_and_tries_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (url, starts) = server(&[Act::Serve]);
    let first = store(dir.path());
    let cancel = first.cancel().clone();
    let sources = [Source::Http { url: url.clone() }, Source::Http { url: url.clone() }];
    let error = first.fetch(&model(), &sources, &mut |event| {
        if matches!(event, FetchEvent::Bytes { .. }) {
            cancel.cancel();
        }
    });
    let Err(ModelError::Interrupted { kept_bytes }) = error else { panic!("{error:?}") };
    assert!(kept_bytes > 0 && kept_bytes <= 4_000, "{kept_bytes}");
    assert_eq!(first.presence(&model()), Presence::Partial { bytes: kept_bytes });
    assert_eq!(*starts.lock().unwrap(), [0]);
    assert_eq!(std::fs::read(fetch(&store(dir.path()), &[&url]).unwrap()).unwrap(), content());
}

#[test]
fn a_server_without_ranges_sends_everything_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    std::fs::create_dir_all(store.dir()).unwrap();
    std::fs::write(store.part_path(model().id), b"left by another server").unwrap();
    let (url, _) = server(&[Act::IgnoreRange]);
    assert_eq!(std::fs::read(fetch(&store, &[&url]).unwrap()).unwrap(), content());
}

#[test]
fn wrong_bytes_are_refused_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let (url, _) = server(&[Act::Lie]);
    assert!(matches!(failure(fetch(&store, &[&url])), SourceError::Hash { expected, .. } if expected == model().id));
    assert_eq!(store.presence(&model()), Presence::Absent);
    assert!(!store.path(&model()).exists());
}

#[test]
fn a_part_with_wrong_bytes_does_not_spoil_a_good_source() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    std::fs::create_dir_all(store.dir()).unwrap();
    std::fs::write(store.part_path(model().id), b"wrong").unwrap();
    let (url, starts) = server(&[Act::Serve]);
    assert_eq!(std::fs::read(fetch(&store, &[&url]).unwrap()).unwrap(), content());
    assert_eq!(starts.lock().unwrap()[..4], [5, 4_005, 8_005, 0]);
}

#[test]
fn another_file_is_noticed_by_its_size_before_it_is_fetched() {
    let dir = tempfile::tempdir().unwrap();
    let (url, starts) = server(&[Act::OtherFile]);
    let found = failure(fetch(&store(dir.path()), &[&url]));
    assert!(matches!(found, SourceError::Size { found: 10_001, expected: 10_000 }), "{found}");
    assert_eq!(starts.lock().unwrap().len(), 1);
}

#[test]
fn a_refusal_is_final_and_a_sick_server_is_given_up() {
    let attempts = |status| {
        let dir = tempfile::tempdir().unwrap();
        let (url, starts) = server(&[Act::Status(status)]);
        assert!(matches!(failure(fetch(&store(dir.path()), &[&url])), SourceError::Status { status: said } if said == status));
        starts.lock().unwrap().len()
    };
    assert_eq!((attempts(404), attempts(503)), (1, 6));
}

#[test]
fn the_next_source_is_tried_and_all_failures_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let ((bad, _), (good, _)) = (server(&[Act::Status(404)]), server(&[Act::Serve]));
    fetch(&store(dir.path()), &[&bad, &good]).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let (worse, _) = server(&[Act::Lie]);
    let error = fetch(&store(dir.path()), &[&bad, &worse]).unwrap_err();
    let text = crate::failure::chain_text(&error);
    assert!(text.contains("404") && text.contains("hash"), "{text}");
}

#[test]
fn two_fetches_of_one_model_do_the_work_once() {
    let dir = tempfile::tempdir().unwrap();
    let (url, starts) = server(&[Act::Serve]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| fetch(&store(dir.path()), &[&url]).unwrap());
        }
    });
    assert_eq!(starts.lock().unwrap().len(), 3);
}

#[test]
fn a_damaged_file_is_found_by_verification() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    std::fs::create_dir_all(store.dir()).unwrap();
    std::fs::write(store.path(&model()), vec![0; SIZE]).unwrap();
    assert!(matches!(store.verify(&model()), Err(ModelError::Damaged { .. })));
}

#[test]
fn a_file_of_ones_own_is_copied_named_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let file = dir.path().join("mine.gguf");
    std::fs::write(&file, [b"GGUF".as_slice(), &content()].concat()).unwrap();

    let added = store.add(&file, "mine", &mut |_| {}).unwrap();
    assert_eq!(store.find("MINE").unwrap(), added);
    store.verify(&added).unwrap();
    assert!(file.exists(), "the original stays");
    assert!(matches!(store.add(&file, "mine", &mut |_| {}), Err(ModelError::NameTaken { .. })));
    assert!(matches!(store.add(&file, "smollm2", &mut |_| {}), Err(ModelError::NameTaken { .. })));

    assert_eq!(store.remove(&added).unwrap(), SIZE as u64 + 4);
    assert!(matches!(store.find("mine"), Err(ModelError::Unknown { .. })));
    assert_eq!(std::fs::read_dir(store.dir()).unwrap().count(), 0);
}

#[test]
fn a_file_that_is_no_model_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let file = dir.path().join("notes.txt");
    for content in [b"".as_slice(), b"GGU", b"not a model"] {
        std::fs::write(&file, content).unwrap();
        assert!(matches!(store.add(&file, "mine", &mut |_| {}), Err(ModelError::NotGguf { .. })));
    }
    assert_eq!(std::fs::read_dir(store.dir()).unwrap().count(), 0, "nothing is left");
}

#[test]
fn a_model_of_ones_own_without_its_file_says_so() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(store(dir.path()).ensure(&model(), &mut |_| {}), Err(ModelError::NoSource { .. })));
}

#[test]
fn hugging_face_urls_follow_the_mirror() {
    let source = catalogue::Source::HuggingFace { repository: "owner/name", revision: "abc", path: "dir/file.gguf" };
    let options = FetchOptions::new("https://mirror.example/");
    let url = "https://mirror.example/owner/name/resolve/abc/dir/file.gguf".to_owned();
    assert_eq!(Source::new(&source, &options), Source::Http { url });
}

/// A model of two files with the same content, one of them in a folder inside.
fn folder_model() -> Model {
    let file = |path: &'static str| FolderFile { path: path.into(), size_bytes: SIZE as u64, blake3: model().id.0 };
    let files = vec![file("a.json"), file("inside/b.json")];
    let id = ModelId(*catalogue::folder_id(&files).as_bytes());
    Model { name: "toys".into(), id, size_bytes: 2 * SIZE as u64, files, origin: Origin::Own }
}

fn fetch_folder(store: &ModelStore, url: &str) -> Result<PathBuf, ModelError> {
    store.fetch(&folder_model(), &[Source::Http { url: url.to_owned() }], &mut |_| {})
}

#[test]
fn a_folder_is_fetched_file_by_file_and_gets_its_name_when_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (url, starts) = server(&[Act::Serve, Act::CutShort, Act::Status(404)]);
    let store = store(dir.path());
    assert!(fetch_folder(&store, &url).is_err());
    let kept = match store.presence(&folder_model()) {
        Presence::Partial { bytes } => bytes,
        other => panic!("{other:?}"),
    };
    assert!((4_000..10_000).contains(&kept), "{kept}");
    assert!(!store.path(&folder_model()).exists());
    let (url, more) = server(&[Act::Serve]);
    let path = fetch_folder(&store, &url).unwrap();
    assert_eq!((std::fs::read(path.join("a.json")).unwrap(), std::fs::read(path.join("inside/b.json")).unwrap()), (content(), content()));
    assert_eq!((starts.lock().unwrap()[0], more.lock().unwrap()[0] as u64), (0, kept), "it goes on where it stopped");
    assert_eq!(store.presence(&folder_model()), Presence::Cached);
    store.verify(&folder_model()).unwrap();
    std::fs::write(path.join("a.json"), vec![0; SIZE]).unwrap();
    assert!(matches!(store.verify(&folder_model()), Err(ModelError::Damaged { .. })));
    std::fs::remove_file(path.join("a.json")).unwrap();
    assert_eq!(store.presence(&folder_model()), Presence::Absent);
    fetch_folder(&store, &url).unwrap();
    store.verify(&folder_model()).unwrap();
    assert_eq!(store.remove(&folder_model()).unwrap(), 2 * SIZE as u64);
    assert_eq!(std::fs::read_dir(store.dir()).unwrap().count(), 0);
}

#[test]
fn a_folder_with_one_wrong_file_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    // Three ranges of the first file, and then the second.
    let (url, _) = server(&[Act::Serve, Act::Serve, Act::Serve, Act::Lie]);
    let error = fetch_folder(&store, &url).unwrap_err();
    assert!(matches!(failure(Err(error)), SourceError::Hash { expected, .. } if expected == model().id));
    assert_eq!(store.presence(&folder_model()), Presence::Partial { bytes: SIZE as u64 }, "the right file is kept");
}

#[test]
fn a_folder_of_ones_own_is_copied_named_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let own = dir.path().join("bert");
    for (path, bytes) in cocoon_runtime::tiny::tiny_bert(1) {
        std::fs::create_dir_all(own.join("1_Pooling")).unwrap();
        std::fs::write(own.join(path), bytes).unwrap();
    }
    std::fs::write(own.join("1_Pooling/config.json"), r#"{"pooling_mode_mean_tokens": true}"#).unwrap();
    std::fs::write(own.join("pytorch_model.bin"), "not read").unwrap();

    let added = store.add(&own, "mine", &mut |_| {}).unwrap();
    let paths: Vec<_> = added.files.iter().map(|file| &*file.path).collect();
    assert_eq!(paths, ["1_Pooling/config.json", "config.json", "model.safetensors", "modules.json", "tokenizer.json"]);
    assert_eq!(store.find("mine").unwrap(), added);
    store.verify(&added).unwrap();
    cocoon_runtime::Embedder::open(store.path(&added), &cocoon_runtime::Device::cpu()).unwrap();
    assert_eq!(store.add(&own, "twice", &mut |_| {}).unwrap().id, added.id, "of the same content");
    assert!(store.remove(&added).unwrap() > 0);
    assert!(matches!(store.find("mine"), Err(ModelError::Unknown { .. })));

    std::fs::remove_file(own.join("config.json")).unwrap();
    assert!(matches!(store.add(&own, "third", &mut |_| {}), Err(ModelError::NoModelFolder { .. })));
}
