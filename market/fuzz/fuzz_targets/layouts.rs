//! The statements of fixed layout: what is read has the bytes it was read from.
#![no_main]

use cocoon_market::{AuditorKey, Certificate, CooperativeClose, OperatorStatement, ReceiptHeader, Voucher};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(voucher) = Voucher::from_bytes(bytes) {
        assert_eq!(voucher.to_bytes(), bytes);
    }
    if let Ok(header) = ReceiptHeader::from_bytes(bytes) {
        assert_eq!(header.to_bytes(), bytes);
    }
    if let Ok(close) = CooperativeClose::from_bytes(bytes) {
        assert_eq!(close.to_bytes(), bytes);
    }
    if let Ok(statement) = OperatorStatement::from_bytes(bytes) {
        assert_eq!(statement.to_bytes(), bytes);
    }
    if let Ok(certificate) = Certificate::from_bytes(bytes) {
        assert_eq!(certificate.to_bytes(), bytes);
    }
    if let Ok(key) = AuditorKey::from_bytes(bytes) {
        assert_eq!(key.to_bytes(), bytes);
    }
});
