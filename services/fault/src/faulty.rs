//! A port behind its faults.

use crate::Faults;
use std::sync::Arc;

/// How a port's error says what a fault does.
pub trait Fails {
    /// Nothing happened; a retry may help.
    fn unavailable(why: String) -> Self;
    /// Nothing happened; no retry helps.
    fn broken(why: String) -> Self;
    /// It may have happened.
    fn unknown(why: String) -> Self;
}

/// Decorates what implements a port; the port's crate implements its traits for this with [`faulty!`](crate::faulty).
#[derive(Debug)]
pub struct Faulty<T: ?Sized> {
    inner: Arc<T>,
    faults: Faults,
}

impl<T: ?Sized> Faulty<T> {
    /// The port as it is, until something is injected into `faults`.
    pub fn new(inner: Arc<T>, faults: Faults) -> Self {
        Self { inner, faults }
    }

    /// The port without faults.
    pub fn inner(&self) -> &T {
        &self.inner
    }

    /// Its faults.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }
}

/// Implements a trait of a port for [`Faulty`], a line a method: its arguments, what it answers, what it is `about` (a `&str`
/// among its arguments), and how an answer is `corrupted`. What is not of this form is written out after
/// `..`.
///
/// ```
/// use loadline_fault::{Fails, Faulty, faulty};
/// # struct Error(String);
/// # impl Fails for Error {
/// #     fn unavailable(why: String) -> Self { Self(why) }
/// #     fn broken(why: String) -> Self { Self(why) }
/// #     fn unknown(why: String) -> Self { Self(why) }
/// # }
/// #[async_trait::async_trait]
/// trait Counter: Send + Sync {
///     async fn count(&self, name: &str) -> Result<u64, Error>;
///     fn title(&self) -> String;
/// }
///
/// faulty! { Counter, Error;
///     count(name: &str) -> u64, about name, corrupted |count| count + 1;
///     .. {
///         fn title(&self) -> String {
///             self.inner().title()
///         }
///     }
/// }
/// ```
#[macro_export]
macro_rules! faulty {
    ($port:ident, $error:ty;
     $($name:ident($($argument:ident: $type:ty),*) -> $answer:ty $(, about $about:expr)? $(, corrupted $corrupt:expr)?;)*
     $(.. { $($more:tt)* })?) => {
        #[async_trait::async_trait]
        impl<T: $port + Send + Sync + ?Sized> $port for $crate::Faulty<T> {
            $(async fn $name(&self, $($argument: $type),*) -> Result<$answer, $error> {
                let corrupts: &[fn($answer) -> $answer] = &[$($corrupt)?];
                let about: &[&str] = &[$($about)?];
                let call = $crate::Call { name: stringify!($name), about: about.first().copied().unwrap_or_default() };
                self.faults().around(call, self.inner().$name($($argument),*), corrupts.first().copied()).await
            })*
            $($($more)*)?
        }
    };
}
