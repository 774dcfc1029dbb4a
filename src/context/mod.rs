//! Build contexts: named file trees offered to COPY and ADD, filtered, walked and hashed.
