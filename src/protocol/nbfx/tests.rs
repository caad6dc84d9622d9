//! What a reader makes of documents that were made to harm it.

use super::{Event, OCTETS_MAX, Reader};

/// An element `a` without namespace, not ended.
const OPEN: [u8; 3] = [0x40, 1, b'a'];
const END: u8 = 0x01;
/// An array of no Booleans in elements `a`.
const EMPTY_ARRAY: [u8; 7] = [0x03, 0x40, 1, b'a', END, 0xB5, 0];

/// Reads to the end; how many elements, or what is wrong.
fn elements(document: &[u8]) -> Result<usize, String> {
    let mut reader = Reader::new(document).map_err(|error| error.reason)?;
    let mut count = 0;
    loop {
        match reader.next().map_err(|error| error.reason)? {
            Event::Start { .. } => count += 1,
            Event::Eof => return Ok(count),
            Event::Text(_) | Event::End => {}
        }
    }
}

fn within(content: &[u8]) -> Vec<u8> {
    [OPEN.as_slice(), content, &[END]].concat()
}

/// A number as [MC-NBFX] writes it.
fn number(mut value: u32) -> Vec<u8> {
    let mut octets = Vec::new();
    while value >= 0x80 {
        octets.push(u8::try_from(value & 0x7F).unwrap() | 0x80);
        value >>= 7;
    }
    octets.push(u8::try_from(value).unwrap());
    octets
}

#[test]
fn an_array_stands_for_its_elements() {
    let array = within(&[&EMPTY_ARRAY[..6], &[3, 1, 0, 1]].concat());
    let mut reader = Reader::new(&array).unwrap();
    reader.next().unwrap();
    let mut texts = Vec::new();
    while let Some((name, _)) = reader.child().unwrap() {
        assert_eq!(name, "a");
        texts.push(reader.text().unwrap().into_owned());
    }
    assert_eq!(texts, ["true", "false", "true"]);
    assert_eq!(reader.next().unwrap(), Event::Eof);
}

#[test]
fn a_long_attribute_is_not_multiplied_by_an_array() {
    // One attribute of a million octets, one thousand elements of one octet each.
    let long = 1_000_000u32;
    let mut document = vec![0x40, 1, b'r', 0x03, 0x40, 1, b'a', 0x04, 1, b'x', 0x9C];
    document.extend_from_slice(&long.to_le_bytes());
    document.resize(document.len() + long as usize, b'y');
    document.extend_from_slice(&[END, 0xB5]);
    document.extend(number(1_000));
    document.resize(document.len() + 1_000, 1);
    document.push(END);
    assert_eq!(elements(&document), Err("an array whose element has attributes".to_owned()));
}

#[test]
fn arrays_together_have_a_bounded_number_of_values() {
    let array = |count: u32| [&EMPTY_ARRAY[..6], &number(count), &vec![1; count as usize]].concat();
    assert_eq!(elements(&within(&[array(50_000), array(50_000)].concat())), Ok(100_001));
    assert_eq!(elements(&within(&[array(50_000), array(50_001)].concat())), Err("arrays of too many values".to_owned()));
}

#[test]
fn empty_arrays_in_a_row_need_no_stack() {
    assert_eq!(elements(&within(&EMPTY_ARRAY.repeat(1_000_000))), Ok(1));
}

#[test]
fn namespaces_and_attributes_are_bounded() {
    let declarations = |count: usize| within(&[0x09, 1, b'p', 1, b'u'].repeat(count));
    assert_eq!(elements(&declarations(64)), Ok(1));
    assert_eq!(elements(&declarations(65)), Err("too many namespaces in scope".to_owned()));
    // In scope of each other, not only of one element.
    let mut nested = Vec::new();
    for _ in 0..5 {
        nested.extend_from_slice(&OPEN);
        nested.extend([0x09, 1, b'p', 1, b'u'].repeat(13));
    }
    nested.extend([END; 5]);
    assert_eq!(elements(&nested), Err("too many namespaces in scope".to_owned()));
    let attributes = |count: usize| within(&[0x04, 1, b'x', 0x82].repeat(count));
    assert_eq!(elements(&attributes(64)), Ok(1));
    assert_eq!(elements(&attributes(65)), Err("too many attributes of one element".to_owned()));
}

#[test]
fn cut_octets_and_text_are_one_text() {
    // Octets cut in two, a text, octets again: base64 of "abcd", then "-", then base64 of "e".
    let parts = [&[0x9E, 1, b'a', 0x9E, 3, b'b', b'c', b'd', 0x98, 1, b'-'], [0x9E, 1, b'e'].as_slice()].concat();
    let document = within(&parts);
    let mut reader = Reader::new(&document).unwrap();
    reader.next().unwrap();
    assert_eq!(reader.text().unwrap(), "YWJjZA==-ZQ==");
    // A list joins its items with blanks, empty ones too.
    let document = within(&[0xA4, 0x82, 0xA8, 0x80, 0xA6]);
    let mut reader = Reader::new(&document).unwrap();
    reader.next().unwrap();
    assert_eq!(reader.text().unwrap(), "1  0");
}

#[test]
fn a_message_beyond_the_limit_is_not_begun() {
    assert!(Reader::new(&vec![0; OCTETS_MAX + 1]).is_err());
}
