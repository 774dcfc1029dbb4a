//! One RUN in namespaces: a specification as data, and the child that interprets it.
