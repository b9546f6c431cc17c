//! Zstandard, as it is pushed: the library reads whole blocks, so what has come of one waits here until
//! the rest of it is there. What must never be: more memory than a window and a block, whatever the bytes
//! say.

use std::io::{self, ErrorKind, Write};

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// What a decoder of this content coding has to hold, and may refuse to exceed (RFC 9659, 3).
const WINDOW: u64 = 8 << 20;
/// The longest head of a frame, its magic number included (RFC 8878, 3.1.1).
const HEAD: usize = 18;
/// Where in it the descriptor stands, and the bit that promises a checksum (RFC 8878, 3.1.1.1.1).
const DESCRIPTOR: usize = 4;
const HAS_CHECKSUM: u8 = 1 << 2;
const CHECKSUM: usize = 4;
/// Before each block (RFC 8878, 3.1.1.2), and the most that may follow it.
const BLOCK_HEAD: usize = 3;
const BLOCK: usize = 128 << 10;
/// The type of a block that is one byte, repeated.
const REPEATED: usize = 1;

pub(super) struct ZstdDecoder<W: Write> {
    frame: FrameDecoder,
    /// Of the frame that is being read.
    within: Option<Frame>,
    /// What came and is not yet read.
    come: Vec<u8>,
    sink: W,
}

#[derive(Clone, Copy)]
struct Frame {
    has_checksum: bool,
}

impl<W: Write> ZstdDecoder<W> {
    pub fn new(sink: W) -> ZstdDecoder<W> {
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(WINDOW);
        ZstdDecoder {
            frame,
            within: None,
            come: Vec::new(),
            sink,
        }
    }

    pub fn get_mut(&mut self) -> &mut W {
        &mut self.sink
    }

    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.come.extend_from_slice(bytes);
        self.read(false)
    }

    /// The sink, if the last frame was complete.
    pub fn finish(mut self) -> io::Result<W> {
        self.read(true)?;
        match self.within.is_none() && self.come.is_empty() {
            true => Ok(self.sink),
            false => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    /// All that is there whole.
    fn read(&mut self, is_last: bool) -> io::Result<()> {
        let mut read = 0;
        while let Some(bytes) = self.come.get(read..).filter(|bytes| !bytes.is_empty()) {
            let mut left = bytes;
            match self.within {
                None if bytes.len() < HEAD && !is_last => break,
                None => {
                    let descriptor = bytes.get(DESCRIPTOR).copied().unwrap_or_default();
                    let has_checksum = descriptor & HAS_CHECKSUM != 0;
                    self.frame.reset(&mut left).map_err(invalid)?;
                    self.within = Some(Frame { has_checksum });
                }
                Some(frame) => {
                    if !frame.has_block(bytes)? {
                        break;
                    }
                    let one = BlockDecodingStrategy::UptoBlocks(1);
                    self.frame.decode_blocks(&mut left, one).map_err(invalid)?;
                    self.frame.collect_to_writer(&mut self.sink)?;
                    self.within = self.within.filter(|_| !self.frame.is_finished());
                }
            }
            read += bytes.len() - left.len();
        }
        self.come.drain(..read);
        Ok(())
    }
}

impl Frame {
    /// Whether a block is there whole, with what follows the last one.
    fn has_block(self, bytes: &[u8]) -> io::Result<bool> {
        let Some(&[low, middle, high]) = bytes.first_chunk::<BLOCK_HEAD>() else {
            return Ok(false);
        };
        let head = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
        let (is_last, kind, size) = (head & 1 == 1, head >> 1 & 3, head >> 3);
        if size > BLOCK {
            return Err(invalid("a block is too large"));
        }
        let content = if kind == REPEATED { 1 } else { size };
        let checksum = if is_last && self.has_checksum { CHECKSUM } else { 0 };
        Ok(bytes.len() >= BLOCK_HEAD + content + checksum)
    }
}

fn invalid(error: impl ToString) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error.to_string())
}
