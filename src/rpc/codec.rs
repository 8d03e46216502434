//! How messages become bytes and the other way about: as prost does it, with small buffers.
//!
//! Each stream keeps a buffer for as long as it is open, and most streams say little. tonic's own takes 8 KiB, which
//! was half of what an idle stream held. A larger message has its buffer grow.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::ProstCodec;

/// What a buffer has room for at first, in bytes: some frames of a conversation.
const BUFFER_BYTES: usize = 1 << 10;
/// From how many bytes on what is ready goes out, as tonic has it by default.
const READY_BYTES: usize = 32 << 10;

/// The codec of all services, named in `build.rs`.
#[derive(Clone, Copy, Debug)]
pub struct Frugal<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Frugal<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for Frugal<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = <ProstCodec<T, U> as Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(settings())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(settings())
    }
}

fn settings() -> BufferSettings {
    BufferSettings::new(BUFFER_BYTES, READY_BYTES)
}
