use blst::min_pk::{AggregateSignature, SecretKey};
use num_bigint::Sign;
use tycho_types::cell::CellBuilder;
use tycho_vm::{GasParams, OwnedCellSlice, StackValueType, VmVersion};

use super::curve::{G1, G2, Group, add, is_in_group, multiply, negate, order, zero};
use super::*;

const DOMAIN: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";
/// What one instruction of 24 bits and the end of the code cost.
const FRAME_GAS: u64 = 34 + 5;

fn slice(bytes: &[u8]) -> RcStackValue {
    let mut builder = CellBuilder::new();
    builder.store_raw(bytes, bytes.len() as u16 * 8).unwrap();
    RcStackValue::new_dyn_value(OwnedCellSlice::new_allow_exotic(builder.build().unwrap()))
}

fn int(value: i64) -> RcStackValue {
    RcStackValue::new_dyn_value(BigInt::from(value))
}

fn code(bytes: &[u8]) -> Cell {
    let mut builder = CellBuilder::new();
    builder.store_raw(bytes, bytes.len() as u16 * 8).unwrap();
    builder.build().unwrap()
}

/// What a machine leaves: exit code, gas used, values.
#[derive(Debug)]
struct End {
    exit_code: i32,
    gas: u64,
    stack: Vec<RcStackValue>,
}

fn run_code(bytes: &[u8], stack: Vec<RcStackValue>, gas: GasParams) -> End {
    let mut vm = VmState::builder()
        .with_version(VmVersion::LATEST_TON)
        .with_code(code(bytes))
        .with_raw_stack(SafeRc::new(Stack::with_items(stack)))
        .with_gas(gas)
        .build();
    let exit_code = run(&mut vm);
    End { exit_code, gas: vm.gas.consumed(), stack: vm.stack.items.clone() }
}

fn run_op(op: u8, stack: Vec<RcStackValue>) -> End {
    run_code(&[0xf9, 0x30, op], stack, GasParams::getter())
}

fn point(end: &End) -> Vec<u8> {
    assert_eq!((end.exit_code, end.stack.len()), (0, 1), "{end:?}");
    let slice = end.stack[0].as_cell_slice().unwrap().apply();
    let mut bytes = vec![0; usize::from(slice.size_bits() / 8)];
    slice.get_raw(0, &mut bytes, slice.size_bits()).unwrap();
    bytes
}

fn truth(end: &End) -> bool {
    assert_eq!((end.exit_code, end.stack.len()), (0, 1), "{end:?}");
    end.stack[0].as_int().unwrap().sign() != Sign::NoSign
}

fn times<G: Group>(generator: &[u8], factor: i64) -> Vec<u8> {
    multiply::<G>(generator, &(&BigInt::from(factor)).into()).unwrap()
}

fn g1() -> Vec<u8> {
    hex::decode("97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb").unwrap()
}

fn g2() -> Vec<u8> {
    let (high, low) = (
        "93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e",
        "024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8",
    );
    hex::decode([high, low].concat()).unwrap()
}

/// Bytes of a point of the curve that is not in the subgroup.
fn stray<G: Group>() -> Vec<u8> {
    (1..=255_u8)
        .map(|x| {
            let mut bytes = vec![0; G::BYTES];
            bytes[0] = 0x80;
            bytes[G::BYTES - 1] = x;
            bytes
        })
        .find(|bytes| G::uncompress(bytes).is_ok_and(|affine| !G::is_in_group(&affine)))
        .unwrap()
}

/// Bytes that are no point, each for another reason.
fn malformed<G: Group>(generator: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = generator.to_vec();
        change(&mut bytes);
        bytes
    };
    let off_curve = (1..=255_u8).map(|x| changed(&|bytes| *bytes.last_mut().unwrap() ^= x)).find(|bytes| G::uncompress(bytes).is_err());
    vec![
        ("all zeros", vec![0; G::BYTES]),
        ("all ones", vec![0xff; G::BYTES]),
        ("not marked as compressed", changed(&|bytes| bytes[0] &= 0x7f)),
        ("a coordinate beyond the field", changed(&|bytes| bytes[..48].fill(0x9f))),
        ("infinity with a coordinate", changed(&|bytes| bytes[0] |= 0x40)),
        (
            "infinity with a sign",
            changed(&|bytes| bytes.iter_mut().enumerate().for_each(|(n, byte)| *byte = if n == 0 { 0xe0 } else { 0 })),
        ),
        ("not on the curve", off_curve.unwrap()),
    ]
}

struct Signer(SecretKey);

impl Signer {
    fn new(seed: u8) -> Self {
        Self(SecretKey::key_gen(&[seed; 32], &[]).unwrap())
    }

    fn key(&self) -> Vec<u8> {
        self.0.sk_to_pk().compress().to_vec()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message, DOMAIN, &[]).compress().to_vec()
    }
}

/// One group's instructions: the codes begin with `base`, the gas is that of add, negate, multiply, map and membership.
fn check_group<G: Group>(base: u8, generator: &[u8], [add_gas, negate_gas, multiply_gas, map_gas, in_group_gas]: [u64; 5]) {
    let (two, three) = (times::<G>(generator, 2), times::<G>(generator, 3));
    let minus = negate::<G>(generator).unwrap();
    let none = zero::<G>();
    assert_eq!((none[0], none[1..].iter().all(|byte| *byte == 0)), (0xc0, true));

    let op = |op: u8, stack: &[RcStackValue]| run_op(base | op, stack.to_vec());
    let sum = op(0, &[slice(generator), slice(&two)]);
    assert_eq!((point(&sum), sum.gas), (three.clone(), FRAME_GAS + add_gas));
    assert_eq!(point(&op(0, &[slice(generator), slice(&minus)])), none);
    let difference = op(1, &[slice(&three), slice(&two)]);
    assert_eq!((point(&difference), difference.gas), (generator.to_vec(), FRAME_GAS + add_gas));
    let negative = op(2, &[slice(generator)]);
    assert_eq!((point(&negative), negative.gas), (minus.clone(), FRAME_GAS + negate_gas));
    assert_eq!(point(&op(2, &[slice(&none)])), none);

    let product = op(3, &[slice(generator), int(3)]);
    assert_eq!((point(&product), product.gas), (three.clone(), FRAME_GAS + multiply_gas));
    assert_eq!(point(&op(3, &[slice(generator), int(-1)])), minus, "negative numbers count from the order down");
    let order = RcStackValue::new_dyn_value(order());
    assert_eq!(point(&op(3, &[slice(generator), order])), none);
    assert_eq!(point(&op(5, &[])), none);
    assert_eq!(op(5, &[]).gas, FRAME_GAS);

    let mapped = op(6, &[slice(&vec![7; G::FIELD_BYTES])]);
    assert_eq!(mapped.gas, FRAME_GAS + map_gas);
    assert!(is_in_group::<G>(&point(&mapped)));
    let member = op(7, &[slice(generator)]);
    assert_eq!((truth(&member), member.gas), (true, FRAME_GAS + in_group_gas));
    assert!(truth(&op(7, &[slice(&none)])) && !truth(&op(7, &[slice(&stray::<G>())])));
    assert_eq!((truth(&op(8, &[slice(&none)])), op(8, &[slice(&none)]).gas), (true, FRAME_GAS));
    assert!(!truth(&op(8, &[slice(generator)])));

    let terms = [slice(generator), int(2), slice(&two), int(3), slice(&three), int(-2), int(3)];
    assert_eq!(point(&op(4, &terms)), two, "2 + 6 - 6");
    assert_eq!(point(&op(4, &[int(0)])), none);
    assert_eq!(point(&op(4, &[slice(&three), int(1), int(1)])), three);
}

#[test]
fn the_first_groups_instructions_compute_and_cost() {
    check_group::<G1>(0x10, &g1(), [3_900, 750, 5_200, 2_350, 2_950]);
}

#[test]
fn the_second_groups_instructions_compute_and_cost() {
    check_group::<G2>(0x20, &g2(), [6_100, 1_550, 10_550, 7_950, 4_250]);
}

#[test]
fn sums_of_products_cost_less_each_the_more_there_are() {
    let gas = |base: u8, generator: &[u8], count: usize| {
        let mut stack: Vec<_> = (0..count).flat_map(|n| [slice(generator), int(n as i64 + 1)]).collect();
        stack.push(int(count as i64));
        let end = run_op(base | 4, stack);
        assert_eq!(end.exit_code, 0);
        end.gas - FRAME_GAS
    };
    for (count, first, second) in [
        (0, 11_375, 30_388),
        (1, 11_375 + 630 + 2_205, 30_388 + 1_280 + 5_710),
        (3, 11_375 + 1_890 + 6_615, 30_388 + 3_840 + 17_130),
        (32, 11_375 + 20_160 + 56_448, 30_388 + 40_960 + 146_176),
    ] {
        assert_eq!((gas(0x10, &g1(), count), gas(0x20, &g2(), count)), (first, second), "{count}");
    }
}

fn check_bad_points<G: Group>(base: u8, generator: &[u8]) {
    for (what, bad) in malformed::<G>(generator) {
        let op = |op: u8, stack: &[RcStackValue]| run_op(base | op, stack.to_vec()).exit_code;
        let (bad, good) = (slice(&bad), slice(generator));
        assert_eq!(op(0, &[bad.clone(), good.clone()]), 11, "{what}");
        assert_eq!(op(0, &[good.clone(), bad.clone()]), 11, "{what}");
        assert_eq!(op(1, &[bad.clone(), good.clone()]), 11, "{what}");
        assert_eq!(op(1, &[good.clone(), bad.clone()]), 11, "{what}");
        assert_eq!(op(2, std::slice::from_ref(&bad)), 11, "{what}");
        assert_eq!(op(3, &[bad.clone(), int(5)]), 11, "{what}");
        assert_eq!(op(3, &[bad.clone(), int(0)]), 0, "{what}: times zero, nobody looks");
        assert_eq!(op(4, &[good.clone(), int(1), bad.clone(), int(1), int(2)]), 11, "{what}");
        assert!(!truth(&run_op(base | 7, vec![bad.clone()])), "{what}");
        assert!(!truth(&run_op(base | 8, vec![bad])), "{what}");
    }
}

#[test]
fn bytes_that_are_no_point_are_refused() {
    check_bad_points::<G1>(0x10, &g1());
    check_bad_points::<G2>(0x20, &g2());
}

fn check_stray_points<G: Group>(base: u8, generator: &[u8]) {
    let (stray, good) = (slice(&stray::<G>()), slice(generator));
    let op = |op: u8, stack: &[RcStackValue]| run_op(base | op, stack.to_vec()).exit_code;
    assert_eq!(op(0, &[stray.clone(), good.clone()]), 0);
    assert_eq!(op(0, &[good.clone(), stray.clone()]), 11, "the second of a sum is checked");
    assert_eq!(op(1, &[stray.clone(), good.clone()]), 11, "the first of a difference is checked");
    assert_eq!(op(1, &[good.clone(), stray.clone()]), 0);
    assert_eq!(op(2, std::slice::from_ref(&stray)), 0);
    assert_eq!(op(3, &[stray.clone(), int(5)]), 0);
    assert_eq!(op(4, &[stray, int(5), good, int(6), int(2)]), 0);
}

#[test]
fn points_outside_of_the_subgroup_are_refused_where_ton_refuses_them() {
    check_stray_points::<G1>(0x10, &g1());
    check_stray_points::<G2>(0x20, &g2());
}

#[test]
fn a_signature_is_verified() {
    let signer = Signer::new(1);
    let verify = |key: &[u8], message: &[u8], signature: &[u8]| run_op(0, vec![slice(key), slice(message), slice(signature)]);
    let end = verify(&signer.key(), b"hello", &signer.sign(b"hello"));
    assert_eq!((truth(&end), end.gas), (true, FRAME_GAS + 61_000));
    assert!(truth(&verify(&signer.key(), b"", &signer.sign(b""))));
    assert!(!truth(&verify(&signer.key(), b"hullo", &signer.sign(b"hello"))));
    assert!(!truth(&verify(&Signer::new(2).key(), b"hello", &signer.sign(b"hello"))));
    assert!(!truth(&verify(&zero::<G1>(), b"hello", &zero::<G2>())), "infinity is nobody's key");
    assert!(!truth(&verify(&stray::<G1>(), b"hello", &signer.sign(b"hello"))));
    assert!(!truth(&verify(&signer.key(), b"hello", &stray::<G2>())));
    for (what, bad) in malformed::<G1>(&g1()) {
        assert!(!truth(&verify(&bad, b"hello", &signer.sign(b"hello"))), "{what}");
    }
    for (what, bad) in malformed::<G2>(&g2()) {
        assert!(!truth(&verify(&signer.key(), b"hello", &bad)), "{what}");
    }
}

#[test]
fn signatures_are_summed_up() {
    let signatures: Vec<Vec<u8>> = (1..4).map(|seed| Signer::new(seed).sign(&[seed])).collect();
    let mut stack: Vec<_> = signatures.iter().map(|signature| slice(signature)).collect();
    stack.push(int(3));
    let end = run_op(1, stack);
    let expected = add::<G2>(&add::<G2>(&signatures[0], &signatures[1]).unwrap(), &signatures[2]).unwrap();
    assert_eq!((point(&end), end.gas), (expected, FRAME_GAS + 3 * 4_350 - 2_650));
    assert_eq!(run_op(1, vec![int(0)]).exit_code, 5);
    assert_eq!(run_op(1, vec![slice(&stray::<G2>()), int(1)]).exit_code, 0, "the first is not checked");
    assert_eq!(run_op(1, vec![slice(&g2()), slice(&stray::<G2>()), int(2)]).exit_code, 11, "the others are");
    for (what, bad) in malformed::<G2>(&g2()) {
        assert_eq!(run_op(1, vec![slice(&g2()), slice(&bad), int(2)]).exit_code, 11, "{what}");
    }
}

fn aggregated(signatures: &[Vec<u8>]) -> Vec<u8> {
    let signatures: Vec<_> = signatures.iter().map(|bytes| blst::min_pk::Signature::uncompress(bytes).unwrap()).collect();
    AggregateSignature::aggregate(&signatures.iter().collect::<Vec<_>>(), true).unwrap().to_signature().compress().to_vec()
}

#[test]
fn one_message_signed_by_many_is_verified() {
    let signers: Vec<Signer> = (1..4).map(Signer::new).collect();
    let signature = aggregated(&signers.iter().map(|signer| signer.sign(b"all")).collect::<Vec<_>>());
    let verify = |keys: &[Vec<u8>], message: &[u8], signature: &[u8]| {
        let mut stack: Vec<_> = keys.iter().map(|key| slice(key)).collect();
        stack.extend([int(keys.len() as i64), slice(message), slice(signature)]);
        run_op(2, stack)
    };
    let keys: Vec<Vec<u8>> = signers.iter().map(Signer::key).collect();
    let end = verify(&keys, b"all", &signature);
    assert_eq!((truth(&end), end.gas), (true, FRAME_GAS + 58_000 + 9_000));
    assert!(!truth(&verify(&keys[1..], b"all", &signature)));
    assert!(!truth(&verify(&keys, b"one", &signature)));
    let none = verify(&[], b"all", &signature);
    assert_eq!((truth(&none), none.gas), (false, FRAME_GAS + 58_000));
    for (what, bad) in malformed::<G1>(&g1()) {
        assert!(!truth(&verify(&[keys[0].clone(), bad], b"all", &signature)), "{what}");
    }
    assert!(!truth(&verify(&[keys[0].clone(), stray::<G1>()], b"all", &signature)));
    assert!(!truth(&verify(&[keys[0].clone(), zero::<G1>()], b"all", &signature)));
}

#[test]
fn a_message_each_is_verified() {
    let signers: Vec<Signer> = (1..4).map(Signer::new).collect();
    let messages: Vec<Vec<u8>> = vec![b"one".to_vec(), b"two".to_vec(), vec![3; 127]];
    let signatures: Vec<Vec<u8>> = signers.iter().zip(&messages).map(|(signer, message)| signer.sign(message)).collect();
    let signature = aggregated(&signatures);
    let verify = |keys: &[Vec<u8>], messages: &[Vec<u8>], signature: &[u8]| {
        let mut stack: Vec<_> = keys.iter().zip(messages).flat_map(|(key, message)| [slice(key), slice(message)]).collect();
        stack.extend([int(keys.len() as i64), slice(signature)]);
        run_op(3, stack)
    };
    let keys: Vec<Vec<u8>> = signers.iter().map(Signer::key).collect();
    let end = verify(&keys, &messages, &signature);
    assert_eq!((truth(&end), end.gas), (true, FRAME_GAS + 38_500 + 67_500));
    let mut swapped = messages.clone();
    swapped.swap(0, 1);
    assert!(!truth(&verify(&keys, &swapped, &signature)));
    assert!(!truth(&verify(&[], &[], &signature)));
    assert!(!truth(&verify(&keys, &messages, &stray::<G2>())));
    for (what, bad) in malformed::<G1>(&g1()) {
        assert!(!truth(&verify(&[keys[0].clone(), bad], &messages[..2], &signature)), "{what}");
    }
    for (what, bad) in malformed::<G2>(&g2()) {
        assert!(!truth(&verify(&keys, &messages, &bad)), "{what}");
    }
}

#[test]
fn pairings_multiply() {
    let pairing = |pairs: &[(Vec<u8>, Vec<u8>)]| {
        let mut stack: Vec<_> = pairs.iter().flat_map(|(first, second)| [slice(first), slice(second)]).collect();
        stack.push(int(pairs.len() as i64));
        run_op(0x30, stack)
    };
    let (first, second) = (g1(), g2());
    let balanced = [(times::<G1>(&first, 6), second.clone()), (times::<G1>(&first, -2), times::<G2>(&second, 3))];
    let end = pairing(&balanced);
    assert_eq!((truth(&end), end.gas), (true, FRAME_GAS + 20_000 + 23_600));
    assert!(!truth(&pairing(&balanced[..1])));
    assert!(truth(&pairing(&[(zero::<G1>(), second.clone())])));
    for (what, bad) in malformed::<G1>(&first) {
        assert_eq!(pairing(&[(bad, second.clone())]).exit_code, 11, "{what}");
    }
    for (what, bad) in malformed::<G2>(&second) {
        assert_eq!(pairing(&[(first.clone(), bad)]).exit_code, 11, "{what}");
    }
    assert_eq!(pairing(&[(stray::<G1>(), second)]).exit_code, 0, "membership is for the code to ask");
}

#[test]
fn the_order_is_pushed() {
    let end = run_op(0x31, Vec::new());
    assert_eq!((end.exit_code, end.gas), (0, FRAME_GAS));
    assert_eq!(end.stack[0].as_int().unwrap().to_string(), "52435875175126190479447740508185965837690552500527637822603658699938581184513");
}

#[test]
fn too_little_on_the_stack_is_noticed_before_gas_is_taken() {
    for (op, takes) in [(0x00, 3), (0x02, 3), (0x03, 2), (0x10, 2), (0x11, 2), (0x13, 2), (0x20, 2), (0x21, 2), (0x23, 2)] {
        let end = run_op(op, vec![int(1); takes - 1]);
        assert_eq!((end.exit_code, end.gas), (2, 34 + 50), "{op:02x}");
    }
    for op in [0x01, 0x14, 0x24, 0x30, 0x18, 0x28] {
        assert_eq!(run_op(op, Vec::new()).exit_code, 2, "{op:02x}");
    }
    for (op, gas) in [(0x12, 750), (0x16, 2_350), (0x17, 2_950), (0x22, 1_550), (0x26, 7_950), (0x27, 4_250)] {
        let end = run_op(op, Vec::new());
        assert_eq!((end.exit_code, end.gas), (2, 34 + gas + 50), "{op:02x}: these take gas first");
    }
}

#[test]
fn counts_and_types_and_lengths_are_checked() {
    for (op, stack, expected) in [
        (0x14, vec![slice(&g1()), int(1), int(2)], 5),
        (0x14, vec![slice(&g1()), int(1), int(-1)], 5),
        (0x14, vec![slice(&g1()), int(1), Stack::make_nan()], 5),
        (0x30, vec![int(1)], 5),
        (0x03, vec![slice(b"x"), int(1), slice(&g2())], 5),
        (0x10, vec![int(1), int(2)], 7),
        (0x13, vec![int(1), int(2)], 7),
        (0x13, vec![slice(&g1()), slice(&g1())], 7),
        (0x13, vec![slice(&g1()), Stack::make_nan()], 4),
        (0x02, vec![slice(&g1()), slice(b"m"), slice(b"m"), slice(&g2())], 7),
        (0x12, vec![slice(&g1()[..47])], 9),
        (0x22, vec![slice(&g2()[..95])], 9),
        (0x16, vec![slice(&[0; 47])], 9),
        (0x26, vec![slice(&[0; 95])], 9),
    ] {
        assert_eq!(run_op(op, stack).exit_code, expected, "{op:02x}");
    }
    let mut builder = CellBuilder::new();
    builder.store_raw(&[0xff; 2], 9).unwrap();
    let odd = RcStackValue::new_dyn_value(OwnedCellSlice::new_allow_exotic(builder.build().unwrap()));
    assert_eq!(run_op(0x00, vec![slice(&g1()), odd, slice(&g2())]).exit_code, 9, "a fraction of bytes is no message");
    let longer = [g1(), vec![1, 2, 3]].concat();
    assert_eq!(run_op(0x12, vec![slice(&longer)]).exit_code, 0, "what follows a point does not matter");
}

#[test]
fn what_only_the_library_knows_is_invalid() {
    for word in [0x6f90_u16, 0x6f97, 0xf802, 0xf804, 0xf805, 0xf917, 0xf918, 0xed46, 0xed48, 0xed4f, 0xedcf] {
        let end = run_code(&word.to_be_bytes(), vec![int(1); 5], GasParams::getter());
        assert_eq!((end.exit_code, end.gas), (6, 10 + 50), "{word:04x}");
    }
    assert_eq!(run_code(&[0xed, 0x47], Vec::new(), GasParams::getter()).exit_code, 0, "the register that there is");
}

#[test]
fn what_is_negative_is_not_stored_as_if_it_were_not() {
    let store = |program: &[u8], value: i64| run_code(program, vec![int(value)], GasParams::getter()).exit_code;
    // NEWC, and SWAP where the builder comes first: STU, STUR, STUX, STUXR, STGRAMS, STVARUINT32.
    for program in [
        &[0xc8, 0xcb, 0xff][..],
        &[0xc8, 0x01, 0xcf, 0x0b, 0xff],
        &[0xc8, 0x80, 0x40, 0xcf, 0x01],
        &[0xc8, 0x01, 0x80, 0x40, 0xcf, 0x03],
        &[0xc8, 0x01, 0xfa, 0x02],
        &[0xc8, 0x01, 0xfa, 0x06],
    ] {
        assert_eq!((store(program, -1), store(program, 1)), (5, 0), "{program:02x?}");
    }
    // NEWC, 8 STUQ: the number stays.
    let quiet = run_code(&[0xc8, 0xcf, 0x0d, 0x07], vec![int(-3)], GasParams::getter());
    assert_eq!(quiet.exit_code, 0, "{quiet:?}");
    assert_eq!(quiet.stack[0].as_int(), Some(&BigInt::from(-3)), "{quiet:?}");
}

#[test]
fn a_key_that_does_not_fit_is_out_of_range() {
    // A slice, a key, an empty dictionary, 8 bits, and the instruction.
    let end = |op: u8, key: i64| run_code(&[0x6d, 0x78, 0xf4, op], vec![slice(b"x"), int(key)], GasParams::getter()).exit_code;
    for (op, lowest, highest) in [(0x14, -128, 127), (0x16, 0, 255), (0x5a, -128, 127), (0x5b, 0, 255), (0x64, -128, 127), (0x66, 0, 255)] {
        let found: Vec<i32> = [lowest - 1, lowest, highest, highest + 1].map(|key| end(op, key)).into();
        assert_eq!(found, [5, 0, 0, 5], "{op:02x}");
    }
}

#[test]
fn a_jump_by_a_bit_costs_what_it_costs_on_ton() {
    let jump = |word: u16, value: i64| {
        let mut builder = CellBuilder::new();
        builder.store_u16(word).unwrap();
        builder.store_reference(code(&[])).unwrap();
        let mut vm = VmState::builder()
            .with_version(VmVersion::LATEST_TON)
            .with_code(builder.build().unwrap())
            .with_raw_stack(SafeRc::new(Stack::with_items(vec![int(value)])))
            .with_gas(GasParams::getter())
            .build();
        assert_eq!((run(&mut vm), vm.stack.depth()), (0, 1));
        vm.gas.consumed()
    };
    let (taken, not_taken) = (26 + 100 + 5, 26 + 5);
    assert_eq!((jump(0xe3c0, 1), jump(0xe3c0, 2), jump(0xe3c1, 2)), (taken, not_taken, taken));
    assert_eq!((jump(0xe3e0, 1), jump(0xe3e0, 2), jump(0xe3ff, -1)), (not_taken, taken, not_taken));
}

#[test]
fn codes_between_the_instructions_are_invalid() {
    for op in [0x04, 0x0f, 0x19, 0x1f, 0x29, 0x2f, 0x32, 0x40, 0xff] {
        assert_eq!(run_op(op, Vec::new()).exit_code, 6, "{op:02x}");
    }
    let cut = run_code(&[0xf9, 0x30], Vec::new(), GasParams::getter());
    assert_eq!((cut.exit_code, cut.gas), (6, 34 + 50), "an instruction cut short costs what it would cost");
}

#[test]
fn gas_runs_out_within_an_instruction() {
    let gas = GasParams { max: 1_000, limit: 1_000, credit: 0, price: 1 };
    let end = run_code(&[0xf9, 0x30, 0x10], vec![slice(&g1()), slice(&g1())], gas);
    assert_eq!(end.exit_code, !13);
    assert_eq!(end.stack[0].as_int().unwrap(), &BigInt::from(34 + 3_900));
}

#[test]
fn an_exception_is_caught_and_the_code_goes_on() {
    // <{ BLS_G1_NEG }> PUSHCONT, <{ NIP }> PUSHCONT, TRY, <{ BLS_G1_ZERO }>
    let program = [&[0x93, 0xf9, 0x30, 0x12][..], &[0x91, 0x31], &[0xf2, 0xff], &[0xf9, 0x30, 0x15]].concat();
    let end = run_code(&program, vec![slice(&[0; 48])], GasParams::getter());
    assert_eq!(end.exit_code, 0);
    assert_eq!(end.stack[0].as_int().unwrap(), &BigInt::from(11));
    assert!(end.stack[1].as_cell_slice().is_some());
}

#[test]
fn a_machine_within_the_machine_knows_the_instructions() {
    let inner = RcStackValue::new_dyn_value(OwnedCellSlice::new_allow_exotic(code(&[0xf9, 0x30, 0x12])));
    // RUNVM 0: stack of the inner machine, its depth, its code.
    let runvm = [0xdb, 0x40, 0x00];
    let end = run_code(&runvm, vec![slice(&g1()), int(1), inner.clone()], GasParams::getter());
    assert_eq!((end.exit_code, end.stack.len()), (0, 2));
    assert_eq!(end.stack[1].as_int().unwrap(), &BigInt::from(0));
    assert_eq!(end.stack[0].raw_ty(), StackValueType::Slice as u8);
    let failed = run_code(&runvm, vec![slice(&[0; 48]), int(1), inner], GasParams::getter());
    assert_eq!((failed.exit_code, failed.stack.len()), (0, 2));
    assert_eq!(failed.stack[1].as_int().unwrap(), &BigInt::from(11));
}

/// Programs of ordinary instructions, machines within machines among them: this loop and the library's own must not differ.
#[test]
fn what_is_not_ours_runs_as_in_the_library() {
    let inner = |bytes: &[u8]| RcStackValue::new_dyn_value(OwnedCellSlice::new_allow_exotic(code(bytes)));
    let programs: Vec<(Vec<u8>, Vec<RcStackValue>)> = vec![
        (vec![0x71, 0x72, 0xa0], vec![]),
        (vec![0xa0], vec![int(1)]),
        (vec![0xf2, 0x65], vec![]),
        (vec![0xdb, 0x40, 0x00], vec![int(5), int(1), inner(&[0x71, 0xa0])]),
        (vec![0xdb, 0x40, 0x00], vec![int(0), inner(&[0xf2, 0x65])]),
        (vec![0xdb, 0x40, 0x88], vec![int(0), inner(&[0xe3, 0x01]), int(50)]),
        (vec![0xdb, 0x41, 0x00], vec![int(0), inner(&[0x71]), int(3)]),
        (vec![0xdb, 0x40, 0x40], vec![int(0), inner(&[0x71])]),
        (vec![0xe3, 0x00], vec![]),
    ];
    for (program, stack) in programs {
        let gas = GasParams { max: 5_000, limit: 5_000, credit: 0, price: 1 };
        let mut library = VmState::builder()
            .with_version(VmVersion::LATEST_TON)
            .with_code(code(&program))
            .with_raw_stack(SafeRc::new(Stack::with_items(stack.clone())))
            .with_gas(gas)
            .build();
        let exit_code = !library.run();
        let ours = run_code(&program, stack, gas);
        assert_eq!((ours.exit_code, ours.gas), (exit_code, library.gas.consumed()), "{program:02x?}");
        let shown = |items: &[RcStackValue]| Stack::with_items(items.to_vec()).display_dump(true).to_string();
        assert_eq!(shown(&ours.stack), shown(&library.stack.items), "{program:02x?}");
    }
}
