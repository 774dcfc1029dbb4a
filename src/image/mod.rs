//! Images from results: config, history, manifest; OCI layouts; the checker of all invariants.
