//! Every coding is undone; what is cut off, mislabelled or a bomb is a fault, never a panic.

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;

const TEXT: &[u8] = br#"{"id":"3520c449-3f36-4657-a50f-8fd63fcd2de6","display_name":"Zo\u00eb"}"#;
/// As the reference encoder writes [`HELLO`].
const BROTLI: &[u8] = &[
    27, 40, 0, 248, 29, 9, 54, 78, 116, 111, 36, 134, 87, 101, 104, 13, 194, 194, 6, 167, 195, 216, 222, 232,
    180, 32, 147, 104, 34, 143, 60, 32, 129, 133, 118, 25, 148, 15, 80, 51,
];
/// The same, with a checksum and without.
const ZSTD: [&[u8]; 2] = [
    &[
        40, 181, 47, 253, 4, 104, 245, 0, 0, 192, 104, 101, 108, 108, 111, 32, 44, 32, 117, 115, 101, 114,
        115, 32, 111, 102, 32, 117, 115, 101, 114, 116, 97, 112, 1, 0, 153, 75, 17, 157, 138, 103, 149,
    ],
    &[
        40, 181, 47, 253, 0, 88, 245, 0, 0, 192, 104, 101, 108, 108, 111, 32, 44, 32, 117, 115, 101, 114,
        115, 32, 111, 102, 32, 117, 115, 101, 114, 116, 97, 112, 1, 0, 153, 75, 17,
    ],
];
const HELLO: &[u8] = b"hello hello hello hello, users of usertap";

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().into()
}

fn zstd(bytes: &[u8]) -> Bytes {
    compress_to_vec(bytes, CompressionLevel::Fastest).into()
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
        ("zstd", zstd(TEXT)),
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
    let [one, other] = ZSTD;
    for frames in [one, other, &[one, other].concat()] {
        let frames = Bytes::copy_from_slice(frames);
        let decoded = decoded(&headers("zstd"), &frames, 1000).unwrap();
        assert!(decoded == HELLO || decoded == [HELLO, HELLO].concat());
    }
}

/// Each of two proxies may have added its own.
#[test]
fn several_codings_are_undone_one_behind_the_other() {
    let twice = gzip(&gzip(TEXT));
    let zstd_behind_gzip = zstd(&gzip(TEXT));
    let mut two_headers = headers("gzip");
    two_headers.append(CONTENT_ENCODING, "gzip".parse().unwrap());
    for (headers, body) in [
        (headers("gzip, gzip"), &twice),
        (two_headers, &twice),
        (headers("identity,GZIP , zstd"), &zstd_behind_gzip),
        (headers("gzip,"), &gzip(TEXT)),
    ] {
        assert_eq!(decoded(&headers, body, 1000).unwrap(), TEXT, "{headers:?}");
    }
    let bomb = gzip(&gzip(&vec![b' '; 8 << 20]));
    assert_eq!(
        decoded(&headers("gzip, gzip"), &bomb, 1 << 20),
        Err(DecodeFault::TooLarge)
    );
}

#[test]
fn what_comes_in_pieces_is_what_comes_at_once() {
    let users: Vec<u8> = (0..20_000)
        .flat_map(|n: u32| format!("{{\"id\":{n}}},").into_bytes())
        .collect();
    let encoded = zstd(&users);
    let mut decoder = Decoder::new(Coding::Zstd, encoded[0], Capped::new(users.len()));
    for piece in encoded.chunks(1000) {
        decoder.feed(piece).unwrap();
    }
    assert_eq!(decoder.finish().unwrap().bytes, users);
}

#[test]
fn whatever_was_done_to_the_bytes_ends() {
    for whole in [Bytes::from_static(ZSTD[0]), zstd(&TEXT.repeat(40))] {
        for at in 0..whole.len() {
            for change in [1, 4, 32, 128, 255] {
                let mut changed = whole.to_vec();
                changed[at] ^= change;
                let _judged = decoded(&headers("zstd"), &changed.into(), 10_000);
            }
        }
    }
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
    for whole in ZSTD.map(Bytes::from_static) {
        for end in 1..whole.len() {
            let cut = decoded(&headers("zstd"), &whole.slice(..end), 1000);
            assert_eq!(cut, Err(DecodeFault::Corrupt), "{end}");
        }
    }
    // As if more of what came before had to be held than anybody may be asked to: 16 MiB.
    let mut wide = ZSTD[1].to_vec();
    wide[5] = 14 << 3;
    assert_eq!(
        decoded(&headers("zstd"), &wide.into(), 1000),
        Err(DecodeFault::Corrupt)
    );
    for coding in ["gzip", "zstd"] {
        assert_eq!(
            decoded(&headers(coding), &Bytes::from_static(TEXT), 1000),
            Err(DecodeFault::Corrupt)
        );
    }
    assert_eq!(
        decoded(&headers("compress"), &whole, 1000),
        Err(DecodeFault::Unknown)
    );
    for unread in ["gzip, compress", "gzip, gzip, gzip, gzip"] {
        let decoded = decoded(&headers(unread), &whole, 1000);
        assert_eq!(decoded, Err(DecodeFault::Unknown), "{unread}");
    }
    assert_eq!(
        decoded(&headers("gzip, gzip"), &whole, 1000),
        Err(DecodeFault::Corrupt)
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
    let zstd = zstd(&vec![b' '; 8 << 20]);
    assert!(zstd.len() < 16 << 10);
    assert_eq!(
        decoded(&headers("zstd"), &zstd, 1 << 20),
        Err(DecodeFault::TooLarge)
    );
    assert_eq!(decoded(&HeaderMap::new(), &bomb, 10), Err(DecodeFault::TooLarge));
}
