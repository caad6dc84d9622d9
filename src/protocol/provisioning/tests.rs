//! Messages there and back, and what a decoder does with damaged ones.

use super::*;
use proptest::prelude::*;

fn header() -> RequestHeader {
    RequestHeader {
        application_id: "6eb59a73-39b2-4c23-a70f-e2e3ce8965b1".to_owned(),
        bearer_token: "token".to_owned().into(),
        build: "2.4.21.0".to_owned(),
        message_id: "aaaaaaaa-bbbb-4ccc-8ddd-000000000001".to_owned(),
        to: "https://localhost/provisioningservice.svc".to_owned(),
        operation: String::new(),
    }
}

fn value() -> impl Strategy<Value = PropertyValue> {
    let text = "[^\\p{Cc}]{0,40}";
    let octets = || proptest::collection::vec(any::<u8>(), 0..400);
    let change =
        (text, any::<bool>(), any::<bool>()).prop_map(|(anchor, by_cloud_anchor, add)| ReferenceChange { anchor, by_cloud_anchor, add });
    prop_oneof![
        Just(PropertyValue::Null),
        text.prop_map(PropertyValue::Text),
        any::<bool>().prop_map(PropertyValue::Boolean),
        any::<i64>().prop_map(PropertyValue::Long),
        octets().prop_map(PropertyValue::Binary),
        proptest::collection::vec(text, 0..4).prop_map(PropertyValue::TextList),
        proptest::collection::vec(octets(), 0..3).prop_map(PropertyValue::BinaryList),
        proptest::collection::vec(change, 0..4).prop_map(PropertyValue::ReferenceChanges),
    ]
}

fn object() -> impl Strategy<Value = SyncObject> {
    proptest::collection::vec(("[A-Za-z]{1,12}", value()), 0..6).prop_map(|properties| SyncObject {
        properties,
        object_type: "User".to_owned(),
        operation: "Set".to_owned(),
    })
}

proptest! {
    #[test]
    fn objects_survive_the_wire(objects in proptest::collection::vec(object(), 0..4)) {
        let request = Request::ProvisionObjects { second: true, objects };
        let wire = encode_request(&header(), &request, Vec::new());
        let (read, decoded) = decode_request(&wire).unwrap();
        prop_assert_eq!(decoded, Some(request));
        prop_assert_eq!(read.operation, "ProvisionAzureADSyncObjects2");
        prop_assert_eq!(read.bearer_token.as_str(), "token");
    }

    #[test]
    fn read_back_survives_the_wire(objects in proptest::collection::vec(object(), 0..4), more: bool, cookie in proptest::option::of("[a-z]{1,9}")) {
        let page = Response::ReadBack(ReadBack { cookie, more, objects });
        let wire = encode_response("ReadBackAzureADSyncObjects2", "1", &page);
        prop_assert_eq!(decode_response("ReadBackAzureADSyncObjects2", &wire).unwrap(), Ok(page));
    }

    #[test]
    fn noise_is_an_error_and_never_a_panic(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(decode_request(&noise).is_err());
        prop_assert!(decode_response("Capabilities", &noise).is_err());
    }
}

#[test]
fn every_truncation_of_a_message_is_an_error() {
    let request = Request::ProvisionCredentials(vec![CredentialChange {
        change_date: "2024-01-02T03:04:05Z".to_owned(),
        cloud_anchor: None,
        credential_data: "v1;PPH1_MD4,00,1000,00;".to_owned().into(),
        force_change: true,
        source_anchor: Some("anchor".to_owned()),
    }]);
    let wire = encode_request(&header(), &request, Vec::new());
    assert_eq!(decode_request(&wire).unwrap().1, Some(request));
    // The envelope's two last ends come after everything that is read.
    for length in 0..wire.len() - 4 {
        assert!(decode_request(&wire[..length]).is_err(), "{length} of {}", wire.len());
    }
}

/// A buffer that had to grow would leave its content behind in memory that nobody wipes.
#[test]
fn messages_with_password_hashes_never_outgrow_their_buffer() {
    let header = RequestHeader { bearer_token: "x".repeat(5000).into(), to: "https://example.com/".repeat(20), ..header() };
    for (count, anchor) in [(0, 0), (1, 0), (50, 24), (50, 300), (50, 70_000)] {
        let item = CredentialChange {
            change_date: "2024-01-02T03:04:05.678901Z".to_owned(),
            cloud_anchor: (anchor > 0).then(|| "c".repeat(anchor)),
            credential_data: "d".repeat(200).into(),
            force_change: true,
            source_anchor: (anchor > 0).then(|| "s".repeat(anchor)),
        };
        let wire = encode_request(&header, &Request::ProvisionCredentials(vec![item; count]), Vec::new());
        let empty = encode_request(&header, &Request::ProvisionCredentials(Vec::new()), Vec::new());
        assert!(wire.len() < wire.capacity() && wire.capacity() < wire.len() + 4096 + count * 256, "{} of {}", wire.len(), wire.capacity());
        assert!(empty.len() <= wire.len());
    }
}

#[test]
fn a_result_without_a_number_is_no_success() {
    let wire = encode_response("ProvisionCredentials", "1", &Response::Credentials(vec![CredentialResult::default()]));
    // The element's name behind its length.
    let at = wire.windows(7).position(|window| window == b"\x06Result").expect("the element is there") + 1;
    let mut unnamed = wire.clone();
    unnamed[at..at + 6].copy_from_slice(b"Resulx");
    let Ok(Ok(Response::Credentials(results))) = decode_response("ProvisionCredentials", &unnamed) else { panic!("still an answer") };
    assert_eq!(results[0].result, CredentialResult::NO_RESULT);
}

#[test]
fn results_and_faults_keep_what_a_person_needs() {
    let result = SyncResult {
        cloud_anchor: None,
        error_details: vec![("ErrorCategory".to_owned(), "InvalidSoftMatch".to_owned()), ("ObjectIdInConflict".to_owned(), "7".to_owned())],
        object_type: "User".to_owned(),
        success: false,
        error_code: 16,
        error_description: Some("taken".to_owned()),
        source_anchor: Some("a".to_owned()),
        operation: "Set".to_owned(),
    };
    let answer = Response::Results(vec![result, SyncResult { success: true, ..SyncResult::default() }]);
    let wire = encode_response("ProvisionAzureADSyncObjects", "1", &answer);
    assert_eq!(decode_response("ProvisionAzureADSyncObjects", &wire).unwrap(), Ok(answer));
    let fault = Fault { code: Some(Fault::BUSY), tracking_id: Some("t".to_owned()), ..Fault::sender("busy") };
    let wire = encode_fault("FinalizeExport", "1", &fault);
    assert_eq!(decode_response("FinalizeExport", &wire).unwrap(), Err(fault));
    assert_eq!(ResultError::find(Some("LargeObject"), Some(15)), Some(ResultError::LargeObject), "the name goes before the number");
    assert_eq!(ResultError::find(None, Some(114)), Some(ResultError::DeleteNotAllowed));
}

#[test]
fn a_header_never_shows_its_token() {
    let shown = format!("{:?}", RequestHeader { bearer_token: "eyJsecret".to_owned().into(), ..header() });
    assert!(!shown.contains("eyJsecret"), "{shown}");
}
