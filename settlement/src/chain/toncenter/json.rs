//! The parts of toncenter's JSON that both sides write and read.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use num_bigint::{BigInt, BigUint, Sign};
use serde_json::{Value, json};
use tonlib_core::cell::ArcCell;

use crate::chain::codec::{CodecError, from_boc, to_boc};
use crate::chain::{Hash, StackItem};

/// The one shard of the masterchain, as toncenter writes it.
pub(super) const MASTERCHAIN_SHARD: &str = "-9223372036854775808";
/// How a get-method ends where there is no code to run, in toncenter's words.
pub(super) const EXIT_NO_CODE: i32 = -13;
/// Digits of the largest number that TVM knows, in decimal, with room for a sign and a prefix.
const INT_CHARS_MAX: usize = 96;
/// Values of a stack, those inside of tuples included: what fits into an answer of a million gas.
const STACK_ITEMS_MAX: usize = 100_000;
/// How deep tuples may be nested. JSON readers stop at 128 brackets, of which a tuple needs three.
const TUPLE_DEPTH_MAX: usize = 40;

pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads base64 of either alphabet.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

/// Reads a hash in hexadecimal or base64.
pub(super) fn from_hash(text: &str) -> Option<Hash> {
    let bytes = match text.len() {
        64 => hex::decode(text).ok()?,
        _ => from_base64(text)?,
    };
    bytes.try_into().ok()
}

pub(super) fn cell_base64(cell: &ArcCell) -> Result<String, CodecError> {
    Ok(base64(&to_boc(cell)?))
}

pub(super) fn from_cell_base64(text: &str) -> Option<ArcCell> {
    from_boc(&from_base64(text)?).ok()
}

/// A whole number from JSON, which may have it as a number or as a string.
pub(super) fn integer<T: std::str::FromStr>(value: &Value) -> Option<T> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A TVM number: decimal, or hexadecimal with `0x`, with or without a sign.
fn tvm_int(value: &Value) -> Option<BigInt> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    if text.len() > INT_CHARS_MAX {
        return None;
    }
    let (negative, digits) = text.strip_prefix('-').map_or((false, text.as_str()), |digits| (true, digits));
    let (digits, radix) = digits.strip_prefix("0x").map_or((digits, 10), |digits| (digits, 16));
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let magnitude = BigUint::parse_bytes(digits.as_bytes(), radix)?;
    Some(BigInt::from_biguint(if negative { Sign::Minus } else { Sign::Plus }, magnitude))
}

fn hex_int(value: &BigInt) -> String {
    match value.to_str_radix(16).strip_prefix('-') {
        Some(digits) => format!("-0x{digits}"),
        None => format!("0x{}", value.to_str_radix(16)),
    }
}

/// A stack as `runGetMethod` answers it.
pub(super) fn stack_to_json(stack: &[StackItem]) -> Result<Value, CodecError> {
    stack.iter().map(item_to_json).collect::<Result<Vec<_>, _>>().map(Value::Array)
}

fn item_to_json(item: &StackItem) -> Result<Value, CodecError> {
    Ok(match item {
        StackItem::Null => json!(["list", { "@type": "tvm.list", "elements": [] }]),
        StackItem::Int(value) => json!(["num", hex_int(value)]),
        StackItem::Cell(cell) => json!(["cell", { "bytes": cell_base64(cell)? }]),
        StackItem::Slice(cell) => json!(["slice", { "bytes": cell_base64(cell)? }]),
        StackItem::Tuple(items) => json!(["tuple", { "@type": "tvm.tuple", "elements": elements_to_json(items)? }]),
    })
}

fn elements_to_json(items: &[StackItem]) -> Result<Vec<Value>, CodecError> {
    items.iter().map(element_to_json).collect()
}

fn element_to_json(item: &StackItem) -> Result<Value, CodecError> {
    Ok(match item {
        StackItem::Null => json!({ "@type": "tvm.stackEntryList", "list": { "@type": "tvm.list", "elements": [] } }),
        StackItem::Int(value) => {
            json!({ "@type": "tvm.stackEntryNumber", "number": { "@type": "tvm.numberDecimal", "number": value.to_string() } })
        }
        StackItem::Cell(cell) => {
            json!({ "@type": "tvm.stackEntryCell", "cell": { "@type": "tvm.cell", "bytes": cell_base64(cell)? } })
        }
        StackItem::Slice(cell) => {
            json!({ "@type": "tvm.stackEntrySlice", "slice": { "@type": "tvm.slice", "bytes": cell_base64(cell)? } })
        }
        StackItem::Tuple(items) => {
            json!({ "@type": "tvm.stackEntryTuple", "tuple": { "@type": "tvm.tuple", "elements": elements_to_json(items)? } })
        }
    })
}

/// A stack as `runGetMethod` takes it; none if it has values that the call cannot carry.
#[cfg(feature = "http")]
pub(super) fn arguments_to_json(arguments: &[StackItem]) -> Result<Option<Value>, CodecError> {
    let mut array = Vec::new();
    for argument in arguments {
        array.push(match argument {
            StackItem::Int(value) => json!(["num", hex_int(value)]),
            StackItem::Cell(cell) => json!(["tvm.Cell", cell_base64(cell)?]),
            StackItem::Slice(cell) => json!(["tvm.Slice", cell_base64(cell)?]),
            StackItem::Null | StackItem::Tuple(_) => return Ok(None),
        });
    }
    Ok(Some(Value::Array(array)))
}

/// Reads a stack from an answer or a request, in any of the forms in use.
pub(super) fn stack_from_json(value: &Value) -> Option<Vec<StackItem>> {
    let mut budget = STACK_ITEMS_MAX;
    value.as_array()?.iter().map(|item| item_from_json(item, &mut budget)).collect()
}

fn item_from_json(item: &Value, budget: &mut usize) -> Option<StackItem> {
    *budget = budget.checked_sub(1)?;
    let kind = item.get(0)?.as_str()?;
    let value = item.get(1).unwrap_or(&Value::Null);
    match kind {
        "null" => Some(StackItem::Null),
        "num" | "int" => tvm_int(value).map(StackItem::Int),
        "cell" | "tvm.Cell" | "builder" | "tvm.Builder" => bytes_cell(value).map(StackItem::Cell),
        "slice" | "tvm.Slice" => bytes_cell(value).map(StackItem::Slice),
        "list" | "tuple" => elements_from_json(kind == "list", value, budget, 0),
        _ => None,
    }
}

/// Base64 of a bag, bare or as `{"bytes": ..}`.
fn bytes_cell(value: &Value) -> Option<ArcCell> {
    from_cell_base64(value.as_str().or_else(|| value.get("bytes")?.as_str())?)
}

/// An empty list is how an endpoint says null.
fn elements_from_json(list: bool, value: &Value, budget: &mut usize, depth: usize) -> Option<StackItem> {
    if depth >= TUPLE_DEPTH_MAX {
        return None;
    }
    let elements = value.get("elements")?.as_array()?;
    if list && elements.is_empty() {
        return Some(StackItem::Null);
    }
    let depth = depth.checked_add(1)?;
    elements.iter().map(|element| element_from_json(element, budget, depth)).collect::<Option<_>>().map(StackItem::Tuple)
}

fn element_from_json(element: &Value, budget: &mut usize, depth: usize) -> Option<StackItem> {
    *budget = budget.checked_sub(1)?;
    match element.get("@type")?.as_str()? {
        "tvm.stackEntryNumber" => tvm_int(element.get("number")?.get("number")?).map(StackItem::Int),
        "tvm.stackEntryCell" => bytes_cell(element.get("cell")?).map(StackItem::Cell),
        "tvm.stackEntrySlice" => bytes_cell(element.get("slice")?).map(StackItem::Slice),
        "tvm.stackEntryTuple" => elements_from_json(false, element.get("tuple")?, budget, depth),
        "tvm.stackEntryList" => elements_from_json(true, element.get("list")?, budget, depth),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tonlib_core::cell::CellBuilder;

    fn cell() -> impl Strategy<Value = ArcCell> {
        any::<u64>().prop_map(|value| {
            let mut builder = CellBuilder::new();
            builder.store_u64(64, value).unwrap();
            builder.build().unwrap().to_arc()
        })
    }

    fn item() -> impl Strategy<Value = StackItem> {
        let leaf = prop_oneof![
            Just(StackItem::Null),
            any::<i128>().prop_map(StackItem::int),
            cell().prop_map(StackItem::Cell),
            cell().prop_map(StackItem::Slice),
        ];
        leaf.prop_recursive(4, 16, 4, |inner| proptest::collection::vec(inner, 0..4).prop_map(StackItem::Tuple))
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let word = prop_oneof![
            Just("num"),
            Just("cell"),
            Just("list"),
            Just("tuple"),
            Just("elements"),
            Just("@type"),
            Just("bytes"),
            Just("number"),
            Just("tvm.stackEntryTuple"),
            Just("tvm.stackEntryNumber"),
            Just("0x"),
            Just("-"),
            Just("-0x-1"),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            word.clone().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 64, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                proptest::collection::vec((word.clone(), inner), 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
            ]
        })
    }

    #[test]
    fn numbers_come_in_four_forms() {
        for (text, value) in [("0x1f", 31), ("-0x1f", -31), ("31", 31), ("-31", -31)] {
            assert_eq!(tvm_int(&Value::from(text)), Some(BigInt::from(value)), "{text}");
        }
        for bad in ["", "-", "0x", "1f", "--1", "+1", "1_0", "1.5"] {
            assert_eq!(tvm_int(&Value::from(bad)), None, "{bad}");
        }
        assert_eq!(tvm_int(&Value::from("9".repeat(200))), None);
    }

    #[test]
    fn tuples_nested_without_end_are_refused() {
        let empty = json!({ "@type": "tvm.stackEntryTuple", "tuple": { "elements": [] } });
        let deep = (0..100).fold(empty, |inner, _| json!({ "@type": "tvm.stackEntryTuple", "tuple": { "elements": [inner] } }));
        assert_eq!(stack_from_json(&json!([["tuple", { "elements": [deep] }]])), None);
    }

    proptest! {
        #[test]
        fn a_stack_round_trips(stack in proptest::collection::vec(item(), 0..5)) {
            prop_assert_eq!(stack_from_json(&stack_to_json(&stack).unwrap()), Some(stack));
        }

        #[test]
        fn no_json_panics(value in json_value()) {
            let _ = stack_from_json(&value);
            let _ = integer::<u64>(&value);
            let _ = tvm_int(&value);
        }

        #[test]
        fn a_hash_is_read_in_either_form(hash in any::<Hash>()) {
            prop_assert_eq!(from_hash(&hex::encode(hash)), Some(hash));
            prop_assert_eq!(from_hash(&base64(&hash)), Some(hash));
            prop_assert_eq!(from_hash(&URL_SAFE.encode(hash)), Some(hash));
        }
    }
}
