use super::*;
use crate::engine::{Answers, Engine, Limits, Refusal};
use loadline_models::{Sha256, Tensor};
use std::{
    sync::atomic::{AtomicBool, AtomicU64},
    time::Duration,
};

struct Echo;

impl Answers for Echo {
    fn answer(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Refusal> {
        Ok(inputs.to_vec())
    }
}

fn loaded(number: u64) -> Arc<Loaded> {
    let engine = Engine::new(Limits { batch_rows: 8, queued_rows: 8, runners: 1, target_wait: Duration::ZERO });
    let identity = Identity { model: "m".to_owned(), number, sha256: Sha256::of(&number.to_le_bytes()) };
    Arc::new(Loaded::new(identity, vec![], vec![], &engine, Echo))
}

/// What is in memory, once aliases name these versions beside what they named.
fn with(residents: &Residents, aliases: &[(&str, &Arc<Loaded>)]) -> Vec<Arc<Tenure>> {
    let mut served = residents.model("m").map(|served| Served::clone(&served)).unwrap_or_default();
    for (alias, version) in aliases {
        served.name(alias, version);
    }
    residents.put("m", Some(served))
}

#[tokio::test]
async fn a_version_is_found_by_number_by_alias_and_as_the_champion() {
    let residents = Residents::default();
    let (one, two) = (loaded(1), loaded(2));
    with(&residents, &[(CHAMPION, &two), ("challenger", &one)]);
    let found = |version: &str| residents.hold("m", version).map(|held| held.number);
    assert_eq!(["", "champion", "challenger", "1", "2", "02"].map(|version| found(version).unwrap()), [2, 2, 1, 1, 2, 2]);
    for absent in ["3", "99999999999999999999999", "shadow", "-1", "1.0"] {
        let Err(ServingError::UnknownVersion { version, loaded, .. }) = found(absent) else { panic!("{absent} is found") };
        assert_eq!((version.as_str(), loaded), (absent, vec![1, 2]));
    }
    assert!(matches!(residents.hold("n", "").err(), Some(ServingError::UnknownModel(name)) if name == "n"));
}

#[tokio::test]
async fn whoever_is_in_a_tenure_that_ended_is_waited_for_and_nobody_else() {
    let residents = Residents::default();
    let (one, two) = (loaded(1), loaded(2));
    with(&residents, &[(CHAMPION, &one), ("challenger", &one)]);
    let (first, second) = (residents.hold("m", "").unwrap(), residents.hold("m", "").unwrap());
    // These stay with version 1 for as long as they like.
    let _others = (residents.hold("m", "1").unwrap(), residents.hold("m", "challenger").unwrap());
    let ended = with(&residents, &[(CHAMPION, &two)]);
    assert_eq!(ended.iter().map(|tenure| tenure.version().number).collect::<Vec<_>>(), [1]);
    let waiting = tokio::spawn(async move { ended[0].over().await });
    drop(first);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!waiting.is_finished(), "one request is still in it");
    drop(second);
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("the last one has left").unwrap();
    assert_eq!(residents.hold("m", "").unwrap().number, 2);
}

#[tokio::test]
async fn a_tenure_goes_on_through_changes_of_others_and_begins_anew_after_a_break() {
    let residents = Residents::default();
    let (one, two) = (loaded(1), loaded(2));
    with(&residents, &[(CHAMPION, &one)]);
    assert!(with(&residents, &[("challenger", &two), (CHAMPION, &one)]).is_empty());
    assert_eq!(with(&residents, &[(CHAMPION, &two)]).len(), 1);
    let back = with(&residents, &[(CHAMPION, &one)]);
    assert_eq!(back[0].version().number, 2);
    assert_eq!(residents.put("m", None).len(), 2, "both aliases end with the model");
    assert!(residents.hold("m", "1").is_err());
}

#[test]
fn what_nothing_names_is_forgotten_but_the_champion_before() {
    let mut served = Served::default();
    let versions: Vec<_> = (1..=3).map(loaded).collect();
    for version in &versions {
        served.name(CHAMPION, version);
    }
    served.previous = Some(2);
    served.forget_unnamed();
    assert_eq!(served.versions.keys().copied().collect::<Vec<_>>(), [2, 3]);
}

/// Requests on every core, while the champion changes as often as it can: none is in a tenure that was waited for.
#[test]
fn no_request_is_in_a_tenure_that_is_over() {
    const SWAPS: u64 = 3_000;
    let residents = Arc::new(Residents::default());
    let ended = Arc::new(AtomicBool::new(false));
    // Tenures of versions up to this number are over.
    let over = Arc::new(AtomicU64::new(0));
    with(&residents, &[(CHAMPION, &loaded(1))]);
    let asking: Vec<_> = (0..3)
        .map(|_| {
            let (residents, ended, over) = (residents.clone(), ended.clone(), over.clone());
            std::thread::spawn(move || {
                let mut asked = 0_u64;
                while !ended.load(SeqCst) {
                    let held = residents.hold("m", "").unwrap();
                    for _ in 0..asked % 50 {
                        std::hint::spin_loop();
                    }
                    assert!(held.number > over.load(SeqCst), "the tenure of {} was over", held.number);
                    asked += 1;
                }
                asked
            })
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for number in 2..SWAPS {
        let mut served = Served::default();
        served.name(CHAMPION, &loaded(number));
        let tenures = residents.put("m", Some(served));
        let [tenure] = &tenures[..] else { panic!("one tenure ended") };
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), tenure.over()).await }).expect("all leave");
        over.store(tenure.version().number, SeqCst);
    }
    ended.store(true, SeqCst);
    for asked in asking {
        assert!(asked.join().unwrap() > 0);
    }
}
