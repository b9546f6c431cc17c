//! Undoes a content encoding on a copy of the bytes; what the app gets is never touched.
//!
//! Bytes are pushed in and come out at a sink of the caller's, in small pieces: a bomb ends at
//! the sink's limit, not in memory.

mod zstd;

use std::io::{self, Write};

use brotli_decompressor::DecompressorWriter;
use bytes::Bytes;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use zstd::ZstdDecoder;

/// Proxies on the way may each have added one; undoing them costs as much each time.
const MOST: usize = 3;
/// What comes out of brotli at once.
const PIECE: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Identity,
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

const KNOWN: [(&[u8], Coding); 6] = [
    (b"identity", Coding::Identity),
    (b"gzip", Coding::Gzip),
    (b"x-gzip", Coding::Gzip),
    (b"deflate", Coding::Deflate),
    (b"br", Coding::Brotli),
    (b"zstd", Coding::Zstd),
];

/// Why there is no decoded copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeFault {
    /// An encoding that usertap does not read, or too many at once.
    Unknown,
    /// Not what the header says, or cut off.
    Corrupt,
    TooLarge,
}

impl Coding {
    /// The one encoding that the headers name.
    pub fn named(headers: &HeaderMap) -> Result<Coding, DecodeFault> {
        match Coding::all(headers)?[..] {
            [] => Ok(Coding::Identity),
            [one] => Ok(one),
            _ => Err(DecodeFault::Unknown),
        }
    }

    /// Those that the headers name, in the order in which they were applied (RFC 9110, 8.4).
    fn all(headers: &HeaderMap) -> Result<Vec<Coding>, DecodeFault> {
        let values = headers.get_all(CONTENT_ENCODING).iter();
        let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        let names = names.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
        let known = names.map(|named| {
            let known = KNOWN.iter().find(|(name, _)| named.eq_ignore_ascii_case(name));
            known.map(|(_, coding)| *coding).ok_or(DecodeFault::Unknown)
        });
        let mut all: Vec<Coding> = known.collect::<Result<_, _>>()?;
        all.retain(|coding| *coding != Coding::Identity);
        match all.len() {
            0..=MOST => Ok(all),
            _ => Err(DecodeFault::Unknown),
        }
    }
}

/// A whole body decoded, at most `limit` bytes of it.
pub fn decoded(headers: &HeaderMap, body: &Bytes, limit: usize) -> Result<Bytes, DecodeFault> {
    let mut body = body.clone();
    for coding in Coding::all(headers)?.into_iter().rev() {
        body = undone(coding, &body, limit)?;
    }
    match body.len() > limit {
        true => Err(DecodeFault::TooLarge),
        false => Ok(body),
    }
}

fn undone(coding: Coding, body: &Bytes, limit: usize) -> Result<Bytes, DecodeFault> {
    let Some(first) = body.first() else {
        return Ok(body.clone());
    };
    let mut decoder = Decoder::new(coding, *first, Capped::new(limit));
    let fed = decoder.feed(body);
    if decoder.sink().overflowed {
        return Err(DecodeFault::TooLarge);
    }
    let sink = fed
        .and_then(|()| decoder.finish())
        .map_err(|_| DecodeFault::Corrupt)?;
    match sink.overflowed {
        true => Err(DecodeFault::TooLarge),
        false => Ok(sink.bytes.into()),
    }
}

/// Decodes what is pushed into it.
pub struct Decoder<W: Write>(Kind<W>);

enum Kind<W: Write> {
    Identity(W),
    Gzip(MultiGzDecoder<W>),
    Zlib(ZlibDecoder<W>),
    Raw(DeflateDecoder<W>),
    Brotli(Box<DecompressorWriter<W>>),
    Zstd(Box<ZstdDecoder<W>>),
}

impl<W: Write> Decoder<W> {
    /// `first` is the body's first byte: "deflate" means zlib, yet some send it without.
    pub fn new(coding: Coding, first: u8, sink: W) -> Decoder<W> {
        let zlib = first & 0x0f == 8;
        Decoder(match coding {
            Coding::Identity => Kind::Identity(sink),
            Coding::Gzip => Kind::Gzip(MultiGzDecoder::new(sink)),
            Coding::Deflate if zlib => Kind::Zlib(ZlibDecoder::new(sink)),
            Coding::Deflate => Kind::Raw(DeflateDecoder::new(sink)),
            Coding::Brotli => Kind::Brotli(Box::new(DecompressorWriter::new(sink, PIECE))),
            Coding::Zstd => Kind::Zstd(Box::new(ZstdDecoder::new(sink))),
        })
    }

    pub fn feed(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Kind::Identity(sink) => sink.write_all(bytes),
            Kind::Gzip(decoder) => decoder.write_all(bytes),
            Kind::Zlib(decoder) => decoder.write_all(bytes),
            Kind::Raw(decoder) => decoder.write_all(bytes),
            Kind::Brotli(decoder) => decoder.write_all(bytes),
            Kind::Zstd(decoder) => decoder.write_all(bytes),
        }
    }

    pub fn sink(&mut self) -> &mut W {
        match &mut self.0 {
            Kind::Identity(sink) => sink,
            Kind::Gzip(decoder) => decoder.get_mut(),
            Kind::Zlib(decoder) => decoder.get_mut(),
            Kind::Raw(decoder) => decoder.get_mut(),
            Kind::Brotli(decoder) => decoder.get_mut(),
            Kind::Zstd(decoder) => decoder.get_mut(),
        }
    }

    /// The sink, if the encoded bytes were complete.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Kind::Identity(sink) => Ok(sink),
            Kind::Gzip(decoder) => decoder.finish(),
            Kind::Zlib(decoder) => decoder.finish(),
            Kind::Raw(decoder) => decoder.finish(),
            Kind::Zstd(decoder) => decoder.finish(),
            Kind::Brotli(mut decoder) => {
                decoder.close()?;
                decoder
                    .into_inner()
                    .map_err(|_| io::ErrorKind::UnexpectedEof.into())
            }
        }
    }
}

/// Keeps so many bytes and fails at the next.
struct Capped {
    bytes: Vec<u8>,
    limit: usize,
    overflowed: bool,
}

impl Capped {
    fn new(limit: usize) -> Capped {
        Capped {
            bytes: Vec::new(),
            limit,
            overflowed: false,
        }
    }
}

impl Write for Capped {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + piece.len() > self.limit {
            self.overflowed = true;
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
