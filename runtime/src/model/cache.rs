//! Keys and values of the tokens seen, kept on the device.

use burn::Tensor;
use burn::tensor::Device;

use super::config::Config;

/// Positions a cache starts with; it doubles when full, up to the context.
const CAPACITY_MIN: usize = 256;

/// The cache of one generation.
#[derive(Debug)]
pub(crate) struct KvCache {
    layers: Vec<LayerCache>,
    kv_heads: usize,
    head_size: usize,
    context: usize,
    capacity: usize,
    len: usize,
    device: Device,
}

/// Keys and values of one layer, `[kv_heads, 1, capacity, head_size]`; none only while being written.
///
/// The second dimension is there to be spread over a group of queries: adding it later would copy.
#[derive(Debug, Default)]
struct LayerCache {
    keys: Option<Tensor<4>>,
    values: Option<Tensor<4>>,
}

impl KvCache {
    /// An empty cache that will hold at most `positions`.
    pub(super) fn new(config: &Config, positions: usize, device: &Device) -> Self {
        let context = positions.min(config.context);
        Self {
            layers: (0..config.layers).map(|_| LayerCache::default()).collect(),
            kv_heads: config.kv_heads,
            head_size: config.head_size,
            context,
            capacity: 0,
            len: 0,
            device: device.clone(),
        }
    }

    /// Positions held.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Makes room for `positions` more. The caller keeps within the context.
    pub(super) fn reserve(&mut self, positions: usize) {
        let needed = self.len + positions;
        if needed <= self.capacity {
            return;
        }
        let capacity = needed.max(2 * self.capacity).max(CAPACITY_MIN).min(self.context.max(needed));
        let shape = [self.kv_heads, 1, capacity, self.head_size];
        for layer in &mut self.layers {
            layer.keys = Some(grown(layer.keys.take(), shape, self.len, &self.device));
            layer.values = Some(grown(layer.values.take(), shape, self.len, &self.device));
        }
        self.capacity = capacity;
    }

    /// Writes new keys and values of a layer behind those held, and gives all of them.
    ///
    /// # Shapes
    ///
    /// `[kv_heads, 1, new, head_size]` in, `[kv_heads, 1, held + new, head_size]` out.
    pub(super) fn append(&mut self, layer: usize, keys: Tensor<4>, values: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let (start, end) = (self.len, self.len + keys.dims()[2]);
        let layer = &mut self.layers[layer];
        (write(&mut layer.keys, keys, start, end), write(&mut layer.values, values, start, end))
    }

    /// Counts positions that every layer has written.
    pub(super) fn advance(&mut self, positions: usize) {
        self.len += positions;
    }
}

/// Writes in place: the slot is emptied first, so that the tensor has one owner.
fn write(slot: &mut Option<Tensor<4>>, new: Tensor<4>, start: usize, end: usize) -> Tensor<4> {
    let [heads, one, _, size] = new.dims();
    let held = slot.take().expect("reserve fills every slot before append");
    let written = held.slice_assign([0..heads, 0..one, start..end, 0..size], new);
    let view = written.clone().slice([0..heads, 0..one, 0..end, 0..size]);
    *slot = Some(written);
    view
}

fn grown(held: Option<Tensor<4>>, shape: [usize; 4], len: usize, device: &Device) -> Tensor<4> {
    let empty = Tensor::zeros(shape, device);
    match held {
        Some(held) if len > 0 => {
            let range = [0..shape[0], 0..shape[1], 0..len, 0..shape[3]];
            empty.slice_assign(range.clone(), held.slice(range))
        }
        _ => empty,
    }
}
