//! A durable journal in one redb file.
