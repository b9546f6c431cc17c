//! Every coding is undone; what is cut off, mislabelled or a bomb is a fault, never a panic.

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::*;

const TEXT: &[u8] = br#"{"id":"3520c449-3f36-4657-a50f-8fd63fcd2de6","display_name":"Zo\u00eb"}"#;
/// As the reference encoder writes [`HELLO`].
const BROTLI: &[u8] = &[
    27, 40, 0, 248, 29, 9, 54, 78, 116, 111, 36, 134, 87, 101, 104, 13, 194, 194, 6, 167, 195, 216, 222, 232,
    180, 32, 147, 104, 34, 143, 60, 32, 129, 133, 118, 25, 148, 15, 80, 51,
];
const HELLO: &[u8] = b"hello hello hello hello, users of usertap";

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().into()
}

fn headers(coding: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_ENCODING, coding.parse().unwrap())])
}

#[test]
fn every_coding_is_undone() {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(TEXT).unwrap();
    let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
    raw.write_all(TEXT).unwrap();
    for (coding, encoded) in [
        ("gzip", gzip(TEXT)),
        ("X-Gzip", gzip(TEXT)),
        ("deflate", zlib.finish().unwrap().into()),
        ("deflate", raw.finish().unwrap().into()),
        ("identity", Bytes::from_static(TEXT)),
    ] {
        let decoded = decoded(&headers(coding), &encoded, 1000).unwrap();
        assert_eq!(decoded, TEXT, "{coding}");
    }
    assert_eq!(
        decoded(&HeaderMap::new(), &Bytes::from_static(TEXT), 1000).unwrap(),
        TEXT
    );
    let brotli = Bytes::from_static(BROTLI);
    assert_eq!(decoded(&headers("br"), &brotli, 1000).unwrap(), HELLO);
}

#[test]
fn what_is_cut_off_or_not_what_it_says_is_a_fault() {
    let whole = gzip(TEXT);
    for end in [1, 10, whole.len() / 2, whole.len() - 1] {
        assert_eq!(
            decoded(&headers("gzip"), &whole.slice(..end), 1000),
            Err(DecodeFault::Corrupt),
            "{end}"
        );
    }
    let brotli = Bytes::from_static(BROTLI);
    assert_eq!(
        decoded(&headers("br"), &brotli.slice(..20), 1000),
        Err(DecodeFault::Corrupt)
    );
    assert_eq!(
        decoded(&headers("gzip"), &Bytes::from_static(TEXT), 1000),
        Err(DecodeFault::Corrupt)
    );
    assert_eq!(decoded(&headers("zstd"), &whole, 1000), Err(DecodeFault::Unknown));
    assert_eq!(
        decoded(&headers("gzip, br"), &whole, 1000),
        Err(DecodeFault::Unknown)
    );
}

#[test]
fn a_bomb_ends_at_the_limit() {
    let bomb = gzip(&vec![b' '; 8 << 20]);
    assert!(bomb.len() < 16 << 10);
    assert_eq!(
        decoded(&headers("gzip"), &bomb, 1 << 20),
        Err(DecodeFault::TooLarge)
    );
    assert_eq!(decoded(&HeaderMap::new(), &bomb, 10), Err(DecodeFault::TooLarge));
}
