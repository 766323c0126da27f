//! Telling peers of an earlier life that their connections are gone.
//!
//! A coordinator that was killed says nothing to anybody, and one that is started again knows nothing of the
//! connections before. QUIC lets it say just that (RFC 9000, 10.3), where it can still prove who it is: by
//! tokens that were made with a key which outlives it. Without it a peer notices only when its heartbeats
//! stay unanswered.

use std::sync::Arc;

use quinn::EndpointConfig;
use quinn_proto::HashedConnectionIdGenerator;
use quinn_proto::crypto::{CryptoError, HmacKey};

/// Says what the keys are for; they have nothing else in common with what they are made from.
const TOKEN_CONTEXT: &str = "gridctl 2026-11-22 stateless reset tokens";
const IDS_CONTEXT: &str = "gridctl 2026-11-22 connection ids";

/// What outlives a coordinator: the key of reset tokens, and that by which its connection ids are known.
#[derive(Clone)]
pub(crate) struct ResetKey {
    tokens: [u8; 32],
    ids: u64,
}

impl ResetKey {
    /// Makes it from a secret that is the same in every life.
    pub(crate) fn derive(secret: &[u8]) -> Self {
        let ids = blake3::derive_key(IDS_CONTEXT, secret);
        let ids = u64::from_le_bytes(*ids.first_chunk().expect("a derived key has 32 bytes"));
        Self { tokens: blake3::derive_key(TOKEN_CONTEXT, secret), ids }
    }

    /// Returns the configuration of an endpoint that uses it.
    pub(super) fn endpoint_config(&self) -> EndpointConfig {
        let mut config = EndpointConfig::new(Arc::new(self.clone()));
        let ids = self.ids;
        config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
        config
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(blake3::keyed_hash(&self.tokens, data).as_bytes());
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        // Compares in constant time.
        if blake3::keyed_hash(&self.tokens, data) == *signature { Ok(()) } else { Err(CryptoError) }
    }
}
