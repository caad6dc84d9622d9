//! The LDIF reader and writer: every construct of RFC 2849, every kind of damage, and their being each other's inverse.

use proptest::prelude::*;
use syncline::model::ObjectErrorCode;
use syncline::protocol::ldif::{LdifError, Limits, ModifyOperation, Reader, Record, RecordKind, Writer};

fn read(text: &str) -> Vec<Result<Record, LdifError>> {
    Reader::new(text.as_bytes()).collect()
}

fn one(text: &str) -> Record {
    let mut records = read(text);
    assert_eq!(records.len(), 1, "{records:?}");
    records.remove(0).unwrap()
}

fn problem(text: &str) -> (ObjectErrorCode, u64, String) {
    match read(text).remove(0) {
        Err(LdifError::Record(error)) => (error.code, error.line, error.detail),
        other => panic!("{other:?}"),
    }
}

fn fatal(text: &[u8]) -> (u64, String) {
    match Reader::new(text).last() {
        Some(Err(LdifError::File { line, detail })) => (line, detail),
        other => panic!("{other:?}"),
    }
}

fn values(record: &Record) -> Vec<(String, String)> {
    record.values().map(|value| (value.name.to_owned(), String::from_utf8_lossy(value.octets).into_owned())).collect()
}

#[test]
fn content_records_with_folds_comments_base64_and_either_line_end() {
    let text = "\u{feff}version: 1\r\n# a comment\r\n  that goes on\r\ndn: CN=a,\r\n DC=x\r\ncn:a\r\n# inside\r\ndescription:: SMOpIGxs\r\n w7Y=\r\nempty:\r\n\r\n\r\n\
                dn:: Q049w6Q=\ncn:    blanks \n\n";
    let records: Vec<Record> = read(text).into_iter().map(Result::unwrap).collect();
    assert_eq!((records[0].dn.as_str(), records[0].line), ("CN=a,DC=x", 4));
    assert_eq!(values(&records[0]), [("cn".into(), "a".into()), ("description".into(), "Hé llö".into()), ("empty".into(), String::new())]);
    assert_eq!(records[0].values().map(|value| value.line).collect::<Vec<_>>(), [6, 8, 10]);
    assert_eq!(records[1].dn, "CN=ä");
    assert_eq!(values(&records[1]), [("cn".into(), "blanks ".into())]);
}

#[test]
fn change_records_of_every_kind() {
    let add = one("dn: CN=a\nchangetype: add\ncn: a\n\n");
    assert_eq!((add.kind.clone(), values(&add)), (RecordKind::Add, vec![("cn".into(), "a".into())]));
    assert_eq!(one("dn: CN=a\ncontrol: 1.2.840.113556.1.4.805 false\nchangetype: delete\n\n").kind, RecordKind::Delete);
    let modify = one("dn: CN=a\nchangetype: modify\nadd: mail\nmail: 1\nmail: 2\n-\ndelete: fax\n-\nreplace: sn\nsn:: w6Q=\n-\n\n");
    let changes: Vec<_> = modify.changes().map(|change| (change.operation, change.name, change.values().count())).collect();
    assert_eq!(changes, [(ModifyOperation::Add, "mail", 2), (ModifyOperation::Delete, "fax", 0), (ModifyOperation::Replace, "sn", 1)]);
    let rename = one("dn: CN=a,DC=x\nchangetype: modrdn\nnewrdn: CN=b\ndeleteoldrdn: 1\nnewsuperior: OU=y,DC=x\n\n");
    assert_eq!(rename.kind, RecordKind::Rename { new_rdn: "CN=b".into(), delete_old_rdn: true, new_superior: Some("OU=y,DC=x".into()) });
}

#[test]
fn a_damaged_record_is_named_and_the_next_one_is_read() {
    let cases = [
        ("dn: CN=a\ncn:: !!\nsn: b\n", ObjectErrorCode::INVALID_BASE64_VALUE, 2, "cn"),
        ("dn: CN=a\njpegPhoto:< file:///etc/passwd\n", ObjectErrorCode::PARSE_ERROR, 2, "not followed"),
        ("dn: CN=a\nno colon here\n", ObjectErrorCode::PARSE_ERROR, 2, "':'"),
        ("cn: a\n", ObjectErrorCode::MISSING_DN, 1, "'cn'"),
        ("dn: CN=a\n", ObjectErrorCode::PARSE_ERROR, 1, "without attributes"),
        ("dn: CN=a\nchangetype: destroy\n", ObjectErrorCode::INVALID_CHANGE_TYPE, 2, "destroy"),
        ("dn: CN=a\nchangetype: modify\nadd: cn\ncn: a\n", ObjectErrorCode::PARSE_ERROR, 1, "cut off"),
        ("dn: CN=a\nchangetype: modify\nadd: cn\nsn: a\n-\n", ObjectErrorCode::PARSE_ERROR, 4, "'sn'"),
        ("dn: CN=a\nchangetype: modrdn\nnewrdn: CN=b\n", ObjectErrorCode::PARSE_ERROR, 1, "deleteoldrdn"),
        ("dn: CN=a\nchangetype: delete\ncn: a\n", ObjectErrorCode::PARSE_ERROR, 3, "delete record"),
        ("dn: CN=a\ncontrol: 1.2.3 true\nchangetype: delete\n", ObjectErrorCode::PARSE_ERROR, 2, "1.2.3"),
        ("dn:: /w==\ncn: a\n", ObjectErrorCode::INVALID_DN, 1, "UTF-8"),
        ("dn: CN=a\nc n: a\n", ObjectErrorCode::PARSE_ERROR, 2, "'c n'"),
    ];
    for (text, code, line, part) in cases {
        let whole = format!("{text}\ndn: CN=next\ncn: next\n\n");
        let (found, at, detail) = problem(&whole);
        assert_eq!((found, at), (code, line), "{text}");
        assert!(detail.contains(part), "{text}: {detail}");
        let records = read(&whole);
        assert_eq!(records.len(), 2, "{text}: {records:?}");
        assert_eq!(records[1].as_ref().unwrap().dn, "CN=next", "{text}");
    }
}

/// Without a blank line between them nobody knows whose lines are whose: both are told, by their names, and what can be read.
#[test]
fn records_without_a_separator_are_told_both() {
    let separators = ["", " \n", "\t\n", "\u{a0}\n", "#\n", "-\n", "# an entry\n"];
    let names = [
        "dn: CN=b",
        "DN:: Q049Yg==",
        "dn : CN=b",
        "\tdn: CN=b",
        "-dn: CN=b",
        "\u{a0}dn: CN=b",
        " dn: CN=b",
        "# dn: CN=b",
        "#dn:: Q049Yg==",
    ];
    for separator in separators {
        for name in names {
            let text = format!("dn: CN=a\ncn: a\nuid: 1\n{separator}{name}\ncn: b\nmail: 2\n\ndn: CN=c\ncn: c\n\n");
            let records = read(&text);
            assert_eq!(records.len(), 3, "{text}: {records:?}");
            let errors: Vec<_> = records[..2]
                .iter()
                .map(|record| match record {
                    Err(LdifError::Record(error)) => error,
                    other => panic!("{text}: {other:?}"),
                })
                .collect();
            assert_eq!(errors.iter().map(|error| error.dn.as_deref()).collect::<Vec<_>>(), [Some("CN=a"), Some("CN=b")], "{text}");
            assert!(errors.iter().all(|error| error.merged && error.code == ObjectErrorCode::PARSE_ERROR), "{text}: {errors:?}");
            assert!(errors[1].detail.contains("separate records by a blank line"), "{text}: {errors:?}");
            assert!(errors[1].values.contains(&("mail".to_owned(), b"2".to_vec())), "{text}: {errors:?}");
            assert!(errors[0].values.contains(&("cn".to_owned(), b"a".to_vec())), "{text}: {errors:?}");
            assert!(records[2].is_ok(), "{text}");
        }
    }
    // A whole record that is a comment, words that go on in the next line, and a comment above a record are none.
    for text in [
        "dn: CN=a\ncn: a\n# dn: CN=b\n# cn: b\n\n# dn: CN=c\ndn: CN=c\ncn: c\n\n",
        "dn: CN=a\ndescription: the\n dn: is what names it\n\ndn: CN=c\ndnQualifier: c\n\n",
    ] {
        assert!(read(text).len() == 2 && read(text).iter().all(Result::is_ok), "{text}: {:?}", read(text));
    }
}

#[test]
fn what_is_cut_off_or_no_ldif_ends_the_reading() {
    assert_eq!(fatal(b"dn: CN=a\ncn: a").0, 2);
    assert!(fatal(b"version: 2\n\ndn: CN=a\ncn: a\n").1.contains("version 2"));
    assert!(fatal(b"\xff\xfed\0n\0:\0\n\0").1.contains("UTF-16"));
    // Without a line break, and with octets that are one by chance.
    for (text, part) in [
        (&b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b\xc9"[..], "gunzip"),
        (b"\x1f\x8b\x08\0\0\n\0\0\0\x03\x4b\n", "gunzip"),
        (b"PK\x03\x04\x14\0", "unzip"),
        (b"version: 1\r\rdn: CN=a\rcn: a\r\rdn: CN=b\rcn: b\r", "CR alone"),
        (b"dn: CN=a\rcn: a\r\n", "CR alone"),
    ] {
        let (line, detail) = fatal(text);
        assert!(line == 1 && detail.contains(part) && !detail.contains("cut off"), "{text:?}: {detail}");
    }
    assert!(fatal(b"dn: CN=a\ncn: a").1.contains("cut off"));
    let (line, detail) = fatal(b"dn: CN=a\ncn: a\n\n# search result\nsearch: 2\nresult: 4 Size limit exceeded\n\n");
    assert_eq!(line, 6);
    assert!(detail.contains("Size limit exceeded"));
    let complete =
        read("dn: CN=a\ncn: a\n\n# search reference\nref: ldap://other/DC=y\n\nsearch: 2\nresult: 0 Success\n\n# numResponses: 2\n");
    assert_eq!(complete.len(), 1);
    assert!(complete[0].is_ok());
}

#[test]
fn lines_and_records_are_bounded() {
    let limits = Limits { line: 1_000, record: 2_500 };
    let long = "x".repeat(5_000);
    let many = "v: ".to_owned() + &"y".repeat(900) + "\n";
    let text = format!("dn: CN=a\nlong: {long}\nsn: a\n\ndn: CN=b\n{many}{many}{many}{many}\ndn: CN=c\ncn: c\n\n");
    let records: Vec<_> = Reader::with_limits(text.as_bytes(), limits).collect();
    assert_eq!(records.len(), 3);
    let details: Vec<String> = records[..2].iter().map(|record| record.as_ref().unwrap_err().to_string()).collect();
    assert!(details[0].contains("line 2") && details[0].contains("'long'"), "{details:?}");
    assert!(details[1].contains("record is larger"), "{details:?}");
    assert_eq!(records[2].as_ref().unwrap().dn, "CN=c");
}

/// A name, and attribute values by name.
type Plain = (String, Vec<(String, Vec<u8>)>);

fn written(records: &[Plain]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new()).unwrap();
    for (dn, values) in records {
        writer.entry(dn).unwrap();
        for (name, octets) in values {
            writer.value(name, octets).unwrap();
        }
    }
    writer.finish().unwrap()
}

prop_compose! {
    fn record()(
        dn in "[^\0]{1,90}",
        values in prop::collection::vec(("[a-zA-Z][a-zA-Z0-9-]{0,12}(;binary)?", prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "[ -~]{0,200}".prop_map(String::into_bytes),
        ]), 1..8),
    ) -> Plain {
        // These words mean something else at the start of a record.
        let values = values.into_iter().map(|(name, octets)| {
            let reserved = ["dn", "changetype", "control"].iter().any(|word| name.eq_ignore_ascii_case(word));
            (if reserved { "cn".to_owned() } else { name }, octets)
        });
        (dn, values.collect())
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read_back(records in prop::collection::vec(record(), 0..6)) {
        let file = written(&records);
        prop_assert!(file.is_ascii() && file.split(|octet| *octet == b'\n').skip(3).all(|line| line.len() <= 76));
        let back: Vec<Record> = Reader::new(file.as_slice()).map(Result::unwrap).collect();
        prop_assert_eq!(back.len(), records.len());
        for (record, (dn, values)) in back.iter().zip(&records) {
            prop_assert_eq!(&record.dn, dn);
            let found: Vec<_> = record.values().map(|value| (value.name.to_owned(), value.octets.to_vec())).collect();
            prop_assert_eq!(&found, values);
        }
    }

    #[test]
    fn a_file_that_was_cut_anywhere_is_never_taken_for_whole(records in prop::collection::vec(record(), 1..4), at in any::<prop::sample::Index>()) {
        let file = written(&records);
        // The mark itself must be there; without it nothing was promised.
        let start = file.windows(4).position(|window| window == b"\ndn:").unwrap() + 1;
        let cut = start + at.index(file.len() - start);
        let noticed = Reader::new(&file[..cut]).any(|record| matches!(record, Err(LdifError::File { .. })));
        prop_assert!(noticed);
    }

    #[test]
    fn no_octets_stop_the_reader(octets in prop::collection::vec(any::<u8>(), 0..400)) {
        // Every call ends, and the sequence does.
        prop_assert!(Reader::new(octets.as_slice()).count() <= octets.len() + 1);
    }

    #[test]
    fn no_lines_stop_the_reader(lines in prop::collection::vec(prop::sample::select(vec![
        "dn: CN=a", "dn:: Q049YQ==", "dn:", "cn: a", "cn:: !", " folded", "#", "", "-", "changetype: modify", "changetype: add", "add: cn",
        "replace: cn", "newrdn: CN=b", "deleteoldrdn: 1", "version: 1", "control: 1 true", "search: 2", "result: 0", "result: 4", ":", "x:< y",
    ]), 0..40)) {
        let text = lines.join("\n") + "\n";
        prop_assert!(Reader::new(text.as_bytes()).count() <= lines.len() + 1);
    }
}
