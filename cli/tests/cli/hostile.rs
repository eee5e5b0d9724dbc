//! Files that are cut, lie or make no sense: a clear error each, no output, no panic, no memory.

use crate::common::{Scene, npy, raw, singles};
use quarter::RandomStream;
use quarter_cli::npy::{Error, Reader, check};

const DICT: &str = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";

#[test]
fn cut_at_every_byte() {
    let whole = raw(DICT, &[0; 24]);
    assert!(check(&whole).is_ok());
    for len in 0..whole.len() {
        let scene = Scene::new(&whole[..len]);
        let message = scene.refusal(&["--to", "e4m3"]);
        let expected = format!(
            "in.npy: truncated: {} of the ",
            match len {
                0..8 => len,
                8..10 => len - 8,
                10..70 => len - 10,
                _ => len - 70,
            }
        );
        assert!(message.starts_with(&expected), "{len}: {message}");
        assert!(matches!(check(&whole[..len]), Err(Error::Truncated { .. })), "{len}");
    }
    let scene = Scene::new(&[&whole[..], b"x"].concat());
    let message = scene.refusal(&["--to", "e4m3"]);
    assert_eq!(message, "in.npy: more bytes follow the 24 that its shape asks for");
}

#[test]
fn lies() {
    let dict = |shape: &str| format!("{{'descr':'<f4','fortran_order':False,'shape':{shape},}}");
    let huge_header = b"\x93NUMPY\x02\x00\xf0\xff\xff\xff{'descr'".to_vec();
    let many = format!("({})", "1,".repeat(65));
    let deep = "(".repeat(60_000);
    let nest = format!("{{'descr':{}", "[".repeat(60_000));
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "truncated: 0 of the 8 bytes of its magic number"),
        (b"PK\x03\x04\x00\x00\x00\x00".to_vec(), "not an .npy file: the magic number is missing"),
        (b"\x93NUMPY\x04\x00".to_vec(), ".npy version 4.0, but 1.0, 2.0 and 3.0 are known"),
        (b"\x93NUMPY\x01\x01".to_vec(), ".npy version 1.1, but"),
        (huge_header, "header of 4294967280 bytes, but 65535 are the most"),
        (raw("", &[]), "bad header: '{' expected at byte 0"),
        (raw("{}", &[]), "bad header: descr, fortran_order and shape expected at byte 2"),
        (raw("{'descr':'<f4'}", &[]), "bad header: descr, fortran_order and shape expected"),
        (raw("{'descr':[('a','<f4')],", &[]), "bad header: a dtype in quotes expected at byte 9"),
        (raw("{'descr':'<f4','descr':'<f8'}", &[]), "once each, expected at byte 15"),
        (raw("{'color':1}", &[]), "once each, expected at byte 1"),
        (raw("{'descr':'<f\\x34'", &[]), "a string without escapes expected"),
        (raw("{'descr", &[]), "a string without escapes expected"),
        (raw("{'fortran_order':1", &[]), "True or False expected at byte 17"),
        (raw(&dict("(2, 3)").replace(":(", ";("), &[]), "':' expected"),
        (raw(&(dict("(2,)") + "x"), &[0; 8]), "nothing more expected"),
        (raw(&dict("(2, 3"), &[]), "a dimension from 0 to 2^63 - 1 expected"),
        (raw(&dict("(2 3)"), &[]), "',' expected"),
        (raw(&dict("(2)"), &[]), "',' expected"),
        (raw(&dict("2"), &[]), "'(' expected"),
        (raw(&dict("[2]"), &[]), "'(' expected"),
        (raw(&dict("(-1,)"), &[]), "a dimension from 0 to 2^63 - 1 expected"),
        (raw(&dict("(+1,)"), &[]), "a dimension from 0"),
        (raw(&dict("(1.0,)"), &[]), "',' expected"),
        (raw(&dict("(1_0,)"), &[]), "',' expected"),
        (raw(&dict("(0x4,)"), &[]), "',' expected"),
        (raw(&dict("(,)"), &[]), "a dimension from 0"),
        (raw(&dict("(9223372036854775808,)"), &[]), "a dimension from 0 to 2^63 - 1"),
        (raw(&dict("(99999999999999999999999,)"), &[]), "a dimension from 0 to 2^63 - 1"),
        (raw(&dict("(9223372036854775807,)"), &[]), "the shape asks for 2^63 bytes or more"),
        (raw(&dict("(4294967296, 4294967296)"), &[]), "the shape asks for 2^63 bytes or more"),
        (raw(&dict("(4294967296, 4294967296, 0)"), &[]), "the shape asks for 2^63 bytes or more"),
        (raw(&dict("(0, 4294967296, 4294967296)"), &[]), "the shape asks for 2^63 bytes or more"),
        (raw(&dict("(2305843009213693952,)"), &[]), "the shape asks for 2^63 bytes or more"),
        (raw(&dict("(2305843009213693951,)"), &[0]), "truncated: 1 of the 9223372036854775804"),
        (raw(&dict(&many), &[0; 4]), "65 dimensions, but 64 are the most"),
        (raw(&dict(&deep), &[]), "a dimension from 0"),
        (raw(&nest, &[]), "a dtype in quotes expected at byte 9"),
        (npy(&"<f4".repeat(9), "(1,)", &[]), "dtype \"<f4<f4<f4<f4<f4<f4<f4<f4<f4\" is not"),
        (npy(&"x".repeat(999), "(1,)", &[]), "\"... is not one of"),
        (npy("\u{1b}[2J", "(1,)", &[]), "dtype \"\\u{1b}[2J\" is not"),
        (raw("{\u{e9}", &[]), "a key or '}' expected"),
    ];
    for (bytes, expected) in cases {
        let message = Scene::new(&bytes).refusal(&["--to", "e4m3"]);
        assert!(message.starts_with("in.npy: "), "{message}");
        assert!(message.contains(expected), "expected {expected:?} in {message:?}");
        assert!(check(&bytes).is_err(), "{message}");
    }
}

/// Without a length to compare with, a shape of exabytes costs what is there and no more.
#[test]
fn memory_is_that_of_the_bytes_that_come() {
    let bytes = npy("<f8", "(1152921504606846975,)", &[0; 100]);
    let mut reader = Reader::new(&bytes[..], None).unwrap();
    let mut buffer = Vec::new();
    let error = reader.read(&mut buffer, usize::MAX).unwrap_err();
    assert!(matches!(error, Error::Truncated { got: 100, .. }), "{error}");
    assert!(buffer.capacity() < 10_000, "{}", buffer.capacity());
}

/// Thousands of damaged files through the fuzz target's body.
#[test]
fn damaged_files() {
    let seeds = [
        singles(&[1.0, 2.0, 3.0]),
        raw(DICT, &[7; 24]),
        npy("|u1", "()", &[1]),
        npy(">u2", "(2, 0, 5)", &[]),
        raw("{'descr': '<V1', 'fortran_order': True, 'shape': (1L, 2L), }", &[1, 2]),
    ];
    let alphabet = b"{}()[]'\":,<>|=\\ \n\x00\xff0123456789LTFfuVi";
    let mut next = {
        let (stream, mut at) = (RandomStream { seed: 0xF00D, ..RandomStream::default() }, 0);
        move |below: usize| {
            at += 1;
            stream.word(at) as usize % below
        }
    };
    let mut read = 0;
    for _ in 0..40_000 {
        let mut bytes = seeds[next(seeds.len())].clone();
        for _ in 0..=next(4) {
            if bytes.is_empty() {
                break;
            }
            let at = next(bytes.len());
            match next(6) {
                0 => bytes[at] ^= 1 << next(8),
                1 => bytes[at] = alphabet[next(alphabet.len())],
                2 => bytes.insert(at, alphabet[next(alphabet.len())]),
                3 => drop(bytes.remove(at)),
                4 => bytes.truncate(at.max(1)),
                _ => {
                    let other = &seeds[next(seeds.len())];
                    let from = next(other.len());
                    let to = from + next(other.len() - from).min(20);
                    bytes.splice(at..at, other[from..to].iter().copied());
                }
            }
        }
        read += u32::from(check(&bytes).is_ok());
    }
    assert!(read > 400, "the damage must be of the kind that a reader survives, too: {read}");
}
