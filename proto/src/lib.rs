//! The contracts of Loadline: everything a program in another language needs, and the Rust code made from it.
//!
//! One module a package. [`DESCRIPTORS`] is the encoded `FileDescriptorSet`, for reflection.

#![allow(missing_docs, clippy::all, unused_qualifications)] // generated from documented .proto files

#[cfg(feature = "services")]
pub mod codec;

pub mod loadline {
    pub mod common {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/loadline.common.v1.rs"));
        }
    }
    pub mod event {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/loadline.event.v1.rs"));
        }
    }
    pub mod ingest {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/loadline.ingest.v1.rs"));
        }
    }
    pub mod query {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/loadline.query.v1.rs"));
        }
    }
    pub mod rollup {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/loadline.rollup.v1.rs"));
        }
    }
    pub mod serving {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/loadline.serving.v1.rs"));
        }
    }
    pub mod health {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/loadline.health.v1.rs"));
        }
    }
}

pub mod inference {
    include!(concat!(env!("OUT_DIR"), "/inference.rs"));
}

pub mod grpc {
    pub mod health {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/grpc.health.v1.rs"));
        }
    }
}

/// `GateEvaluation.more_matches` when there are more than can be told.
pub const MORE_MATCHES_UNTOLD: u64 = (1 << 53) - 1;

pub use grpc::health::v1 as grpc_health;
pub use loadline::{
    common::v1 as common, event::v1 as event, health::v1 as health, ingest::v1 as ingest, query::v1 as query,
    rollup::v1 as rollup, serving::v1 as serving,
};

/// Encoded `google.protobuf.FileDescriptorSet` of all contracts.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
