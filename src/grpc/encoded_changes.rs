//! The response of `WatchChanges` with changes that are encoded once, however many streams send them, and the server side of
//! `ChangeService` that sends it.

use std::{marker::PhantomData, sync::Arc};

use prost::{
    DecodeError, Message,
    bytes::{Buf, BufMut},
    encoding::{self, DecodeContext, WireType, encode_key, encode_varint, skip_field},
};
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstDecoder, ProstEncoder};

use crate::pb::Change;

/// The generated server side.
pub(super) mod server {
    #![expect(
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        unreachable_pub,
        reason = "generated"
    )]
    include!(concat!(
        env!("OUT_DIR"),
        "/change_service/telemetron.device_assignment.v1.rs"
    ));
}

/// The numbers of the fields of `WatchChangesResponse`.
const CHANGES: u32 = 1;
const REVISION: u32 = 2;
const HISTORY: u32 = 3;

/// How much a buffer grows. A stream that tells little needs a small one.
const BUFFER: usize = 512;
/// The size of a buffer from which on it is sent without waiting for more messages.
const SEND_FROM: usize = 32 * 1024;

/// Encodes a change as an element of the list in a response.
pub(super) fn encode(change: &Change) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(encoding::message::encoded_len(CHANGES, change));
    encode_key(CHANGES, WireType::LengthDelimited, &mut encoded);
    encode_varint(change.encoded_len() as u64, &mut encoded);
    change.encode_raw(&mut encoded);
    encoded
}

/// A `WatchChangesResponse`. It is only sent, never received.
#[derive(Debug, Clone, Default)]
pub(super) struct EncodedChanges {
    /// The changes, encoded by [`encode`].
    pub(super) changes: Vec<Arc<[u8]>>,
    pub(super) revision: u64,
    pub(super) history: String,
}

impl Message for EncodedChanges {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        for change in &self.changes {
            buffer.put_slice(change);
        }
        if self.revision != 0 {
            encoding::uint64::encode(REVISION, &self.revision, buffer);
        }
        if !self.history.is_empty() {
            encoding::string::encode(HISTORY, &self.history, buffer);
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        skip_field(wire_type, tag, buffer, context)
    }

    fn encoded_len(&self) -> usize {
        let changes: usize = self.changes.iter().map(|change| change.len()).sum();
        let revision = match self.revision {
            0 => 0,
            revision => encoding::uint64::encoded_len(REVISION, &revision),
        };
        let history = match self.history.as_str() {
            "" => 0,
            _ => encoding::string::encoded_len(HISTORY, &self.history),
        };
        changes + revision + history
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The usual codec, with small buffers: a stream keeps its own for as long as it is open.
pub(super) struct ChangeCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for ChangeCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message + Send + 'static, U: Message + Default + Send + 'static> Codec for ChangeCodec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::new(BUFFER, SEND_FROM))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::new(BUFFER, SEND_FROM))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pb::WatchChangesResponse;

    proptest! {
        /// The bytes are those of the message that clients know.
        #[test]
        fn an_encoded_response_is_the_generated_message(
            revisions in proptest::collection::vec((any::<u64>(), ".{0,30}", 0_usize..20), 0..10),
            revision in prop_oneof![Just(0), any::<u64>()],
            history in ".{0,31}",
        ) {
            let change = |(revision, kind, devices): (u64, String, usize)| Change {
                revision,
                kind,
                devices_created: vec!["d".repeat(30); devices],
                ..Change::default()
            };
            let changes: Vec<_> = revisions.into_iter().map(change).collect();
            let encoded = EncodedChanges {
                changes: changes.iter().map(|change| encode(change).into()).collect(),
                revision,
                history: history.clone(),
            };
            let expected = WatchChangesResponse { changes, revision, history };
            prop_assert_eq!(encoded.encode_to_vec(), expected.encode_to_vec());
        }
    }
}
