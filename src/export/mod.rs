//! Writes a built image somewhere: OCI layout, tarballs, registry.
