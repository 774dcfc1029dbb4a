//! Mountable file-system states for RUN: overlays of layer directories.
