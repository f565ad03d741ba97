//! Calls whose bytes are known before, and whose answers stay bytes.

use prost::{
    Message,
    bytes::{Buf as _, BufMut as _, Bytes},
};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::Channel,
};

/// A method, and a message for it.
#[derive(Clone)]
pub struct Call {
    path: PathAndQuery,
    message: Bytes,
    /// Of the next question, where each has to be another.
    next: Option<Arc<AtomicU32>>,
}

impl Call {
    pub fn new(path: &'static str, message: &impl Message) -> Self {
        Self { path: PathAndQuery::from_static(path), message: message.encode_to_vec().into(), next: None }
    }

    /// The same, whose message ends with another FP32 value each time: a tensor's last value, where tensors are a message's last
    /// field.
    pub fn ever_new(self) -> Self {
        Self { next: Some(Arc::default()), ..self }
    }

    fn message(&self) -> Bytes {
        let Some(next) = &self.next else { return self.message.clone() };
        let mut message = self.message.to_vec();
        if let Some(last) = message.last_chunk_mut() {
            // One after the other from a half on: each is another number.
            *last = f32::from_bits(0.5_f32.to_bits() + next.fetch_add(1, Relaxed)).to_le_bytes();
        }
        message.into()
    }
}

/// The answer's bytes.
pub async fn call(channel: Channel, call: Call) -> Result<Bytes, Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    Ok(client.unary(Request::new(call.message()), call.path, AsBytes).await?.into_inner())
}

#[derive(Clone, Copy, Default)]
struct AsBytes;

impl Codec for AsBytes {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for AsBytes {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for AsBytes {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let all = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(all)))
    }
}
