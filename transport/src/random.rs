//! The one source of secrets and of the cryptography that is used: ring, named explicitly.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;

/// Returns ring as the provider for TLS; never the process-wide default, which someone else may set.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    Arc::clone(&PROVIDER)
}

/// Returns bytes that nobody can guess.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    provider()
        .secure_random
        .fill(&mut bytes)
        .expect("the kernel has had a source of random numbers since before any release we run on");
    bytes
}
