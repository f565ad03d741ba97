//! The product's configuration file as a type.
