//! What a caller may call: one table, denied unless listed.

use std::collections::{BTreeSet, HashMap};

use tonic::{Code, Status};

use crate::errors;
use crate::identity::{Identity, Role};

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody who reaches the port, known or not.
    Anyone,
    /// Any known caller; what it sees is narrowed by its accounts.
    Authenticated,
    /// Operators.
    Operator,
}

/// Methods by full path (`"/package.Service/Method"`) with who may call them.
#[derive(Clone, Copy, Debug)]
pub struct AccessTable(pub &'static [(&'static str, Access)]);

impl AccessTable {
    /// Health checks and reflection: probes and `grpcurl` come without credentials, and learn nothing that is not public.
    pub const STANDARD: AccessTable = AccessTable(&[
        ("/grpc.health.v1.Health/Check", Access::Anyone),
        ("/grpc.health.v1.Health/List", Access::Anyone),
        ("/grpc.health.v1.Health/Watch", Access::Anyone),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Access::Anyone),
        ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Access::Anyone),
    ]);

    /// Full names of the services that its methods are of, each once.
    pub fn services(self) -> BTreeSet<&'static str> {
        self.0
            .iter()
            .filter_map(|(method, _)| method.trim_start_matches('/').rsplit_once('/'))
            .map(|(service, _)| service)
            .collect()
    }
}

/// Several tables as one lookup; what is in none of them is denied.
#[derive(Clone, Debug)]
pub struct AccessRules {
    by_method: HashMap<&'static str, Access>,
}

impl AccessRules {
    /// [`AccessTable::STANDARD`] and the given tables. A method listed twice keeps the stricter access.
    pub fn new(tables: &[AccessTable]) -> Self {
        let mut by_method = HashMap::new();
        for (method, access) in std::iter::once(&AccessTable::STANDARD).chain(tables).flat_map(|table| table.0) {
            let kept = by_method.entry(*method).or_insert(*access);
            *kept = stricter(*kept, *access);
        }
        Self { by_method }
    }

    /// Who may call `method`; `None` when it is in no table.
    pub fn access(&self, method: &str) -> Option<Access> {
        self.by_method.get(method).copied()
    }

    /// The table's own copy of a method's path; bounds the label values of metrics to what is listed.
    pub fn known(&self, method: &str) -> Option<&'static str> {
        self.by_method.get_key_value(method).map(|(known, _)| *known)
    }

    /// Whether `identity` may call `method`.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` naming the role that is needed, `UNAUTHENTICATED` when there is no identity and the method needs one.
    pub fn check(&self, method: &str, identity: Option<&Identity>) -> Result<(), Status> {
        match (self.access(method), identity) {
            (Some(Access::Anyone), _) | (Some(Access::Authenticated), Some(_)) => Ok(()),
            (Some(Access::Operator), Some(identity)) if identity.role == Role::Operator => Ok(()),
            (Some(Access::Operator), Some(identity)) => Err(denied(
                method,
                format!("{method} needs the role operator; `{}` has the role {}", identity.name, identity.role.name()),
            )),
            (Some(_), None) => Err(errors::rich(
                Code::Unauthenticated,
                "UNKNOWN_CALLER",
                format!("{method} needs a known caller: send credentials"),
                [("method", method.to_owned())],
            )),
            (None, _) => Err(denied(
                method,
                format!("{method} is not a method of this server, so no role may call it: list the methods through reflection"),
            )),
        }
    }
}

fn denied(method: &str, message: String) -> Status {
    errors::rich(Code::PermissionDenied, "ACCESS_DENIED", message, [("method", method.to_owned())])
}

fn stricter(a: Access, b: Access) -> Access {
    match (a, b) {
        (Access::Operator, _) | (_, Access::Operator) => Access::Operator,
        (Access::Authenticated, _) | (_, Access::Authenticated) => Access::Authenticated,
        (Access::Anyone, Access::Anyone) => Access::Anyone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: AccessTable =
        AccessTable(&[("/t.S/Open", Access::Anyone), ("/t.S/Read", Access::Authenticated), ("/t.S/Repair", Access::Operator)]);

    fn caller(role: Role) -> Identity {
        Identity { name: "billing".to_owned(), role, accounts: vec!["acme".to_owned()] }
    }

    #[test]
    fn a_tables_services_are_named_in_full_and_once() {
        assert_eq!(TABLE.services().into_iter().collect::<Vec<_>>(), ["t.S"]);
        assert!(AccessTable::STANDARD.services().contains("grpc.health.v1.Health"));
    }

    #[test]
    fn an_unlisted_method_is_denied_even_to_an_operator() {
        let status = AccessRules::new(&[TABLE]).check("/t.S/New", Some(&caller(Role::Operator))).expect_err("denied");
        assert_eq!(status.code(), Code::PermissionDenied);
    }

    #[test]
    fn a_denial_names_the_role_that_is_needed() {
        let status = AccessRules::new(&[TABLE]).check("/t.S/Repair", Some(&caller(Role::Service))).expect_err("denied");
        assert_eq!(status.code(), Code::PermissionDenied);
        assert!(status.message().contains("needs the role operator"), "{}", status.message());
    }

    #[test]
    fn each_access_lets_in_exactly_its_callers() {
        let rules = AccessRules::new(&[TABLE]);
        let (service, operator) = (caller(Role::Service), caller(Role::Operator));
        let allowed = |method: &str| [None, Some(&service), Some(&operator)].map(|who| rules.check(method, who).is_ok());
        assert_eq!(allowed("/t.S/Open"), [true, true, true]);
        assert_eq!(allowed("/t.S/Read"), [false, true, true]);
        assert_eq!(allowed("/t.S/Repair"), [false, false, true]);
        assert_eq!(allowed("/grpc.health.v1.Health/Check"), [true, true, true]);
    }

    #[test]
    fn a_method_listed_twice_keeps_the_stricter_access() {
        let rules = AccessRules::new(&[TABLE, AccessTable(&[("/t.S/Open", Access::Operator), ("/t.S/Repair", Access::Anyone)])]);
        assert_eq!(rules.access("/t.S/Open"), Some(Access::Operator));
        assert_eq!(rules.access("/t.S/Repair"), Some(Access::Operator));
    }
}
