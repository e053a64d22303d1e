//! Development auditors, and the list that a registry takes of any.

use super::*;
use crate::attest::auditor::{DevelopmentAuditor, DevelopmentAuditorError};
use crate::attest::keyset::{KeySetError, PLACES};
use crate::attest::list::{AuditorList, AuditorListError};
use crate::attest::schnorr::{BindingError, KeyBinding};

fn development(number: u8) -> DevelopmentAuditor {
    DevelopmentAuditor::new(NetworkId::DEVNET, number).unwrap()
}

/// Development auditors of these numbers, each in its place.
fn places(numbers: &[Option<u8>]) -> Vec<Option<KeyBinding>> {
    numbers.iter().map(|number| number.map(|number| development(number).listed())).collect()
}

fn list(numbers: &[Option<u8>]) -> AuditorList {
    AuditorList::new(NetworkId::DEVNET, &places(numbers)).unwrap()
}

#[test]
fn a_development_auditor_is_always_the_same_and_nowhere_where_money_is_real() {
    assert_eq!(development(1).listed(), development(1).listed());
    assert_ne!(development(1).node_id(), development(2).node_id());
    assert_eq!(development(1).listed().verify(), Ok(*list(&[Some(1)]).keys().places()[0].as_ref().unwrap()));
    assert!(DevelopmentAuditor::new(NetworkId::TESTNET, 1).is_ok());
    let refused = DevelopmentAuditor::new(NetworkId::MAINNET, 1).unwrap_err();
    assert_eq!(refused, DevelopmentAuditorError::Refused(NetworkId::MAINNET));
    let abroad = development(1).certify(Certificate { network: NetworkId::MAINNET, ..certificate(1, 1) }).unwrap_err();
    assert_eq!(abroad, DevelopmentAuditorError::Network { certificate: NetworkId::MAINNET, auditor: NetworkId::DEVNET });
}

#[test]
fn what_listed_development_auditors_certify_is_proven() {
    let list = list(&[Some(1), None, Some(2)]);
    let certified = [(2, 7), (1, 8)].map(|(number, claim)| development(number).certify(certificate(claim, 3)).unwrap());
    assert_eq!(certified[0].certificate.verify(&development(2).node_id()), Ok(()));
    let evidence = Evidence::new(list.keys(), &certified.map(|one| one.audited)).unwrap();
    let proof = FOUR.prove_attestation(&evidence, THREADS, &[1; 32]).unwrap();
    assert_eq!(FOUR.verifying_key().verify_attestation(evidence.statement(), &proof), Ok(()));
}

#[test]
fn a_list_is_made_of_keys_that_are_tied_for_its_network() {
    let refused = |places: &[Option<KeyBinding>]| AuditorList::new(NetworkId::DEVNET, places).unwrap_err();
    assert!(matches!(refused(&[]), AuditorListError::Empty));
    assert!(matches!(refused(&[None; PLACES + 1]), AuditorListError::Keys(KeySetError::TooMany { got: 65 })));
    assert!(matches!(refused(&places(&[Some(1), Some(1)])), AuditorListError::Keys(KeySetError::Twice { place: 1 })));
    let abroad = DevelopmentAuditor::new(NetworkId::TESTNET, 2).unwrap().listed();
    let network = NetworkId::TESTNET;
    assert!(matches!(refused(&[None, Some(abroad)]), AuditorListError::Network { place: 1, network: said } if said == network));
    let stolen = KeyBinding { possession: development(1).listed().possession, ..development(2).listed() };
    let source = BindingError::Possession;
    assert!(matches!(refused(&[Some(stolen)]), AuditorListError::Binding { place: 0, source: said } if said == source));
}

#[test]
fn a_node_of_the_list_has_both_keys_a_signature_and_the_next_node() {
    let (list, [first, third]) = (list(&[Some(1), None, Some(3)]), [1, 3].map(|number| development(number).listed()));
    let node = |of: &KeyBinding| [&of.statement.auditor.0[..], &of.statement.x.0, &of.statement.y.0].concat();
    let cell = list.cell();
    assert_eq!((cell.data(), cell.references().len()), (&node(&first)[..], 2));
    assert_eq!(cell.reference(0).unwrap().data(), first.owner.0);
    let nobody = cell.reference(1).unwrap();
    assert_eq!((nobody.data(), nobody.references().len()), (&[0; 96][..], 1));
    let last = nobody.reference(0).unwrap();
    assert_eq!((last.data(), last.references().len()), (&node(&third)[..], 1));
    assert_eq!(last.reference(0).unwrap().data(), third.owner.0);
}

#[cfg(feature = "embedded")]
mod registry {
    use std::collections::BTreeMap;

    use cocoon_market::Amount;

    use super::*;
    use crate::attest::groth16::Proof;
    use crate::chain::embedded::Blocks;
    use crate::chain::testing::{chain, ton};
    use crate::chain::{Address, Bounce, Chain, Faucet};
    use crate::contract::{AuditorSet, CellError, Contract, Exit, RegistryData, RegistryTerms};
    use crate::wallet::{Outgoing, OwnerWallet};

    static KEY_SET: LazyLock<ProvingKey> = LazyLock::new(|| setup(Circuit::KeySet, &development_seed(), THREADS).unwrap());

    fn proof(of: &AuditorList) -> Proof {
        KEY_SET.prove_key_set(NetworkId::DEVNET, of.keys(), &of.listed(), THREADS, &[1; 32]).unwrap()
    }

    /// A registry that has the key of the auditors' circuit, and waits for the proof of a list.
    fn waiting(set: AuditorSet) -> RegistryData {
        let verifying = KEY_SET.verifying_key().to_cell().unwrap();
        let terms = RegistryTerms {
            network: NetworkId::DEVNET,
            governor: ContractAddress([1; 32]),
            founder: ContractAddress([2; 32]),
            auditors: AuditorSet::NOBODY,
            keys: BTreeMap::from([(Circuit::KeySet.number(), verifying)]),
        };
        RegistryData { pending: Some(set), ..RegistryData::new(terms) }
    }

    /// Deploys a registry that waits for the pending list, brings it another or the same, and gives the exit code and what it has then.
    fn brought(pending: &AuditorList, list: &AuditorList, proof: &Proof) -> Result<(Option<i32>, RegistryData), CellError> {
        let (chain, _) = chain(Blocks::Instant);
        let anyone = OwnerWallet::from_seed(&[11; 32]).unwrap();
        chain.fund(&anyone.address(), ton(100)).unwrap();
        let state_init = Contract::Registry.state_init(&waiting(pending.set()).to_cell()?)?;
        let registry = Address::from(ContractAddress(crate::contract::cells::hash_of(&state_init)));
        let outgoing = Outgoing {
            to: registry,
            value: Amount::from_nano(2_000_000_000),
            bounce: Bounce::Yes,
            body: Some(list.message(proof).to_cell(7)?),
            state_init: Some(state_init),
        };
        chain.send_boc(&anyone.sign(0, u32::MAX, &[outgoing]).unwrap().boc).unwrap();
        let transaction = chain.transactions(&registry, crate::chain::Page::newest(1)).unwrap().pop().unwrap();
        let data = RegistryData::from_cell(&chain.account(&registry).unwrap().data.unwrap())?;
        Ok((transaction.exit_code, data))
    }

    #[test]
    fn the_contract_takes_the_list_of_development_auditors_with_its_proof() {
        let list = list(&[Some(1), None, Some(2), Some(3)]);
        let (code, data) = brought(&list, &list, &proof(&list)).unwrap();
        assert_eq!((code, data.auditors, data.pending), (Some(0), list.set(), None));
    }

    #[test]
    fn the_contract_takes_no_other_list_and_no_proof_of_another() {
        let (one, other) = (list(&[Some(1), Some(2)]), list(&[Some(2), Some(1)]));
        for (list, proof, exit) in [(&other, &proof(&other), Exit::OtherList), (&one, &proof(&other), Exit::BadProof)] {
            let (code, data) = brought(&one, list, proof).unwrap();
            assert_eq!((code, data.auditors), (Some(exit.code()), AuditorSet::NOBODY));
        }
    }
}
