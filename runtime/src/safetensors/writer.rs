//! Writes safetensors files, for tests and tools.

use super::Dtype;

/// Builds a file in memory. Equal calls give equal bytes; nothing is checked.
#[derive(Debug, Default)]
pub struct SafetensorsWriter {
    rows: Vec<String>,
    data: Vec<u8>,
}

impl SafetensorsWriter {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a tensor whose bytes are already stored as `dtype` has it; the slowest dimension first.
    #[must_use]
    pub fn tensor(mut self, name: &str, shape: &[u64], dtype: Dtype, bytes: &[u8]) -> Self {
        let start = self.data.len();
        self.data.extend_from_slice(bytes);
        let name = serde_json::Value::from(name);
        let offsets = [start, self.data.len()];
        self.rows.push(format!(r#"{name}:{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":{offsets:?}}}"#));
        self
    }

    /// Appends a tensor of single-precision elements.
    #[must_use]
    pub fn f32(self, name: &str, shape: &[u64], elements: &[f32]) -> Self {
        let bytes: Vec<u8> = elements.iter().flat_map(|element| element.to_le_bytes()).collect();
        self.tensor(name, shape, Dtype::F32, &bytes)
    }

    /// The file.
    pub fn finish(&self) -> Vec<u8> {
        let mut header = format!("{{{}}}", self.rows.join(","));
        while header.len() % 8 != 0 {
            header.push(' ');
        }
        let mut out = (header.len() as u64).to_le_bytes().to_vec();
        out.extend(header.as_bytes());
        out.extend(&self.data);
        out
    }
}
