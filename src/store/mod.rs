//! Content on disk: blobs, layers, step records, image names, leases.
