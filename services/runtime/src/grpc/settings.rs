//! The limits of a gRPC server.

use serde::{Deserialize, Serialize};

use crate::config::{ByteSize, Check, HumanDuration, Problems, key};

/// Limits of a gRPC server. The defaults suit a service with small messages; every limit costs memory when raised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Connections at once; further ones are closed at once. Each may hold about 1 MiB of unread data.
    pub max_connections: u32,
    /// How long a connection may take to say that it speaks HTTP/2.
    pub handshake_timeout: HumanDuration,
    /// Requests at once on one connection.
    pub max_concurrent_streams: u32,
    /// Largest request message. Two bytes on the wire can become a hundred in memory. Above 4 MiB a generated service needs its own
    /// `max_decoding_message_size` raised too.
    pub max_message_bytes: ByteSize,
    /// Largest sum of a request's headers.
    pub max_header_bytes: ByteSize,
    /// Longest time for a request, whatever its `grpc-timeout` says; long-lived streams are exempt.
    pub max_deadline: HumanDuration,
    /// Requests at once on all connections; further ones are refused at once, never queued.
    pub max_in_flight: u32,
    /// How long requests should wait for a thread: where more comes than is begun, those that would wait twice as long are refused.
    /// Zero, which suits calls that take long by themselves: they wait as long as it takes.
    pub target_wait: HumanDuration,
    /// How often a connection's other end is asked whether it is there.
    pub keepalive_interval: HumanDuration,
    /// How long it may take to answer.
    pub keepalive_timeout: HumanDuration,
    /// How long requests may take to finish once shutdown has begun.
    pub grace: HumanDuration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_connections: 1_024,
            handshake_timeout: HumanDuration::secs(5),
            max_concurrent_streams: 128,
            max_message_bytes: ByteSize::mib(4),
            max_header_bytes: ByteSize::kib(16),
            max_deadline: HumanDuration::secs(30),
            max_in_flight: 1_024,
            target_wait: HumanDuration::millis(0),
            keepalive_interval: HumanDuration::secs(10),
            keepalive_timeout: HumanDuration::secs(5),
            grace: HumanDuration(crate::lifecycle::DEFAULT_GRACE),
        }
    }
}

impl Check for Settings {
    fn check(&self, at: &str, problems: &mut Problems) {
        for (name, value) in [
            ("max_connections", self.max_connections),
            ("max_concurrent_streams", self.max_concurrent_streams),
            ("max_in_flight", self.max_in_flight),
        ] {
            if value == 0 {
                problems.refuse(key(at, name), value, "expected at least 1");
            }
        }
        for (name, value) in [
            ("handshake_timeout", self.handshake_timeout),
            ("max_deadline", self.max_deadline),
            ("keepalive_interval", self.keepalive_interval),
            ("keepalive_timeout", self.keepalive_timeout),
        ] {
            if value.is_zero() {
                problems.refuse(key(at, name), value, "expected more than 0s");
            }
        }
        // tonic's services decode up to 4 MiB unless told otherwise, and HTTP/2 counts header bytes in 32 bits.
        let sizes = [
            ("max_message_bytes", self.max_message_bytes, ByteSize::kib(1), ByteSize::mib(1_024)),
            ("max_header_bytes", self.max_header_bytes, ByteSize::kib(1), ByteSize::mib(1)),
        ];
        for (name, value, least, most) in sizes {
            if value < least || value > most {
                problems.refuse(key(at, name), value, format!("expected {least} to {most}"));
            }
        }
    }
}
