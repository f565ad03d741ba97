//! Every behaviour of the contract on every registry. One that cannot be started fails; it is never skipped.

use futures::future::BoxFuture;
use loadline_models::contract::Subject;
use loadline_tests::{listed, mlflow::MlflowServer};
use std::path::PathBuf;

/// A behaviour on a registry: its URL, the folder of its files, and what names begin with.
type Behaviour = fn(String, PathBuf, String) -> BoxFuture<'static, ()>;

macro_rules! behaviours {
    ($($module:ident { $($name:ident)* })*) => {
        const LISTED: &[&str] = &[$($(concat!(stringify!($module), "::", stringify!($name))),*),*];

        const EACH: &[Behaviour] = &[$($(|url, folder, prefix| {
            Box::pin(async move {
                let subject = Subject::new(url, folder, &prefix).await;
                loadline_models::contract::$module::$name(&subject).await;
            })
        }),*),*];

        /// On disk each behaviour is a test.
        mod disk {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let folder = tempfile::tempdir().unwrap();
                    let url = format!("file:{}", folder.path().join("made on/the way").display());
                    let subject = crate::Subject::new(url, folder.path().to_owned(), "a").await;
                    loadline_models::contract::$module::$name(&subject).await;
                })*
            })*
        }
    };
}

/// A server takes long to start: all behaviours share one, each under names of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mlflow_keeps_the_whole_contract() {
    let server = MlflowServer::start().await.unwrap();
    let mut broken = Vec::new();
    for (at, (name, behaviour)) in LISTED.iter().zip(EACH).enumerate() {
        println!("{name}");
        if tokio::spawn(behaviour(server.url(), server.artifacts(), format!("place{at}"))).await.is_err() {
            broken.push(name);
        }
    }
    assert!(broken.is_empty(), "broken here: {broken:?}");
}

behaviours! {
    versions {
        a_version_is_listed_with_all_that_was_said
        other_bytes_are_another_version
        the_same_bytes_are_the_same_version
        many_who_register_the_same_at_once_make_one_version
        many_who_register_at_once_have_versions_of_their_own
        a_model_begins_with_its_first_version
        a_long_list_is_whole_and_in_order
        properties_come_back_as_they_were
    }
    aliases {
        an_alias_names_a_version_until_it_is_moved
        all_aliases_come_in_one_answer
        an_alias_of_an_absent_version_changes_nothing
        a_removed_alias_is_gone_and_may_be_removed_again
        models_have_aliases_of_their_own
    }
    files {
        a_file_comes_back_byte_for_byte
        a_file_above_the_limit_is_refused
        an_absent_version_is_not_found
        changed_bytes_are_said_and_never_given
        a_lost_file_is_said_and_can_be_put_back
        a_file_that_cannot_be_a_model_is_not_registered
    }
    names {
        hostile_names_of_models_are_refused
        hostile_aliases_are_refused
        hostile_properties_are_refused_and_nothing_is_registered
        longest_and_oddest_names_that_can_be_are_taken
    }
    upkeep {
        preparing_again_keeps_everything
        many_may_prepare_at_once
        a_working_registry_answers_the_probe
        it_says_what_it_cannot_promise
    }
}

#[test]
fn every_behaviour_of_the_contract_is_listed_here() {
    listed::assert_listed(env!("CARGO_MANIFEST_DIR"), LISTED);
}
