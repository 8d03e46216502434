//! What a proxy must know to translate between JSON and gRPC: the descriptors of the contract and of errors' details.

use prost_reflect::{DescriptorError, DescriptorPool};

use crate::proto::DESCRIPTORS;

/// A `google.protobuf.FileDescriptorSet` of every message that an answer can carry, details of errors included.
///
/// # Errors
/// When the sets do not fit each other, which a test of this program would have seen.
pub fn descriptors() -> Result<Vec<u8>, DescriptorError> {
    let mut pool = DescriptorPool::decode(DESCRIPTORS)?;
    // What both sets hold is taken once: a proxy refuses a file that it is given twice.
    pool.decode_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)?;
    Ok(pool.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_and_the_details_of_an_error_are_known() {
        let pool = DescriptorPool::decode(descriptors().unwrap().as_slice()).unwrap();
        for message in ["capecontrol.chat.v1.SubscribeResponse", "google.rpc.Status", "google.rpc.BadRequest"]
        {
            assert!(pool.get_message_by_name(message).is_some(), "{message}");
        }
    }
}
