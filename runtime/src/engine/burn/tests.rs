//! Adapters that fail. Skipped where there is no adapter; software ones do.

use std::sync::Arc;

use crate::device::Device;
use crate::engine::{EngineError, Host, TensorTooLarge, Weights};
use crate::generation::{Event, GenerateError, GenerationRequest, Prompt};
use crate::gguf::Gguf;
use crate::model::{Inspection, LoadError, Model};
use crate::serve::{Server, ServingLimits};
use crate::tiny::tiny_llama;
use crate::tokenizer::TokenId;

use super::guard::Guard;
use super::*;

fn file() -> Gguf {
    Gguf::from_bytes(tiny_llama(1)).unwrap()
}

fn request() -> GenerationRequest {
    GenerationRequest::new(Prompt::Tokens(vec![3, 50, 7]), 4)
}

fn answer(model: &Model) -> Result<Vec<TokenId>, GenerateError> {
    let events: Result<Vec<Event>, GenerateError> = model.start(&request())?.collect();
    let id = |event| if let Event::Token(token) = event { Some(token.id) } else { None };
    Ok(events?.into_iter().filter_map(id).collect())
}

#[test]
fn a_device_that_is_destroyed_is_lost_and_another_one_goes_on_in_its_place() {
    let Some(device) = Device::own() else { return eprintln!("skipped: there is no adapter") };
    let bystander = Device::own().unwrap();
    let (model, other) = (Model::from_gguf(&file(), &device).unwrap(), Model::from_gguf(&file(), &bystander).unwrap());
    let before = answer(&model).unwrap();
    let mut server = Server::new(Arc::new(model), ServingLimits::default());
    let [ran, after] = [0, 1].map(|_| server.admit(&request()).unwrap().ticket);
    server.step();
    device.destroy();
    let mut ends = Vec::new();
    while !server.is_idle() {
        ends.extend(server.step());
    }
    assert!(ends.iter().all(|served| matches!(served.event, Err(GenerateError::Lost))), "{ends:?}");
    assert_eq!(ends.iter().map(|served| served.ticket).collect::<Vec<_>>(), [ran, after]);
    assert!(server.is_lost() && device.is_lost());
    assert!(matches!(answer(server.model()), Err(GenerateError::Engine(EngineError::Lost { .. }))), "it stays lost");

    let anew = Model::from_gguf(&file(), &device.reopen().unwrap()).unwrap();
    assert_eq!(answer(&anew).unwrap(), before);
    assert!(!bystander.is_lost());
    assert_eq!(answer(&other).unwrap(), before, "another device of the same adapter has not noticed");
}

#[test]
fn a_driver_without_memory_refuses_the_model_with_the_figure_that_inspection_gives() {
    let Some(device) = Device::without_memory() else { return eprintln!("skipped: there is no adapter") };
    match Model::from_gguf(&file(), &device) {
        Err(LoadError::OutOfMemory { needed_bytes }) => assert_eq!(needed_bytes, Inspection::of(&file()).unwrap().adapter_weight_bytes()),
        Err(error) => panic!("{error}"),
        // The driver does not say how much is taken, so that wgpu cannot know.
        Ok(_) => eprintln!("skipped: this driver knows no budget of memory"),
    }
    assert!(!device.is_lost());
}

#[test]
fn a_tensor_above_the_limits_fails_and_the_device_goes_on() {
    let Some(device) = Device::own() else { return eprintln!("skipped: there is no adapter") };
    let guard = Guard::of(&device).unwrap();
    let engine = Burn::new(guard.clone());
    // Asked of burn itself: what engines know to be too large they do not ask for.
    let elements = usize::try_from(guard.tensor_bytes_max / 4 + 64).unwrap();
    assert!(engine.host().run(|| engine.read(Tensor::zeros([1, elements], &guard.device).slice([0..1, 0..1]))).is_err());
    assert!(!device.is_lost());
    let sum = Tensor::<2>::ones([1, 8], &guard.device) + 1.0;
    assert_eq!(engine.host().run(|| engine.read(sum)).unwrap(), [2.0; 8]);
}

fn bounded(tensor_bytes_max: u64) -> Guard {
    Guard::from(::burn::tensor::Device::flex()).within(tensor_bytes_max)
}

#[test]
fn matrices_above_the_limit_are_refused_before_they_are_tried() {
    let weights = Weights::new(8, 32, crate::engine::weights::Elements::Values(vec![0.5; 256]));
    assert!(Burn::new(bounded(1024)).matrix(&weights, MatrixRole::Inner).is_ok());
    let refused = Burn::new(bounded(1023)).matrix(&weights, MatrixRole::Inner).unwrap_err();
    assert_eq!(refused, WeightsError::TooLarge(TensorTooLarge { needed_bytes: 1024, limit_bytes: 1023 }));
}

#[test]
fn pages_grow_by_doubling_and_stop_at_the_limit() {
    let shape = CacheShape { layers: 1, keys: 2, size: 4 };
    let page = shape.tensor_bytes(1);
    assert_eq!((page, super::pages::page_bytes(shape)), (2 * 4 * 32 * 4, 2 * page));
    assert_eq!(shape.pages_within(20 * page + 5), 20);
    let burn = Burn::new(bounded(20 * page));
    let mut cache = burn.cache(shape);
    let held = |pages: u32, cache: &mut Pages<Float>| {
        let span = Span { rows: 0..1, start: 0, pages: vec![pages - 1] };
        cache.reserve(std::iter::once(&KeptSpan::new(&span, &burn.guard.device)), &burn.guard.device);
        cache.pages()
    };
    assert_eq!([1, 9, 17].map(|pages| held(pages, &mut cache)), [8, 16, 20]);
}

#[test]
fn batches_that_take_more_than_a_tensor_are_refused_with_the_figure() {
    let shape = CacheShape { layers: 1, keys: 2, size: 4 };
    let mut batch = Batch::default();
    batch.push(&[1; 10], 22, vec![2], false);
    // Three pages, as the last of them is the third; ten rows of four heads see 32 positions.
    let (pages, scores) = (3 * 1024, 4 * 10 * 32 * 4);
    assert_eq!(batch.check(shape, 4, scores), Ok(()));
    assert_eq!(batch.check(shape, 4, scores - 1), Err(TensorTooLarge { needed_bytes: scores, limit_bytes: scores - 1 }));
    assert_eq!(batch.check(shape, 1, pages - 1), Err(TensorTooLarge { needed_bytes: pages, limit_bytes: pages - 1 }));
}
