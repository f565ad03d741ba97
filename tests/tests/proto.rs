//! What was written stays readable, and counts the same: recorded contracts, and recorded records with their totals.

use loadline_tests::{
    compatibility::breaks,
    corpus::{decode, encode, totals},
    model::{self, Verdict},
};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// Recorded records by name, with the totals they had.
fn corpus() -> Vec<(String, Vec<loadline_tests::corpus::Recorded>, String)> {
    let files = fs::read_dir(folder()).expect("a corpus").map(|entry| entry.expect("an entry").path());
    let totals = files.filter(|path| path.extension().is_some_and(|extension| extension == "txt"));
    let read = totals.map(|path| {
        let records = decode(fs::read(path.with_extension("bin")).expect("records").into()).expect("whole records");
        (path.display().to_string(), records, fs::read_to_string(path).expect("totals"))
    });
    let read: Vec<_> = read.collect();
    assert!(!read.is_empty(), "the corpus is empty");
    read
}

#[test]
fn contracts_break_nothing_that_was_released() {
    let recorded = fs::read(folder().join("contracts.bin")).unwrap();
    let recorded = FileDescriptorSet::decode(&recorded[..]).unwrap();
    assert!(recorded.file.iter().any(|file| file.package() == "loadline.event.v1"));
    let now = FileDescriptorSet::decode(loadline_proto::DESCRIPTORS).unwrap();
    assert_eq!(breaks(&recorded, &now), Vec::<String>::new());
}

#[test]
fn recorded_records_are_counted_as_they_were() {
    for (name, records, recorded) in corpus() {
        let now = totals(&records);
        let differ: Vec<_> = recorded.lines().zip(now.lines()).filter(|(then, now)| then != now).collect();
        assert!(differ.is_empty() && recorded.lines().count() == now.lines().count(), "{name}: {differ:#?}");
    }
}

#[test]
fn the_recorded_totals_are_what_the_contract_says() {
    for (name, records, recorded) in corpus() {
        let mut usage: BTreeMap<String, model::Numbers> = BTreeMap::new();
        let mut seen = BTreeMap::new();
        let mut dead = Vec::new();
        for (sequence, (recorded_at, payload)) in (1..).zip(&records) {
            match model::judge(payload, Some(*recorded_at)) {
                Verdict::Dead(reason) => dead.push(format!("dead {sequence} {reason}")),
                Verdict::Countable(worth) => match seen.get(&worth.identity) {
                    Some(content) if *content == worth.content => {}
                    Some(_) => dead.push(format!("dead {sequence} CONFLICT")),
                    None => {
                        seen.insert(worth.identity, worth.content);
                        let row = format!("usage {} {} ", worth.row.account, worth.row.hour);
                        model::add(usage.entry(row).or_default(), &worth.numbers);
                    }
                },
            }
        }
        let told: Vec<&str> = recorded.lines().filter(|line| line.starts_with("dead ")).collect();
        assert_eq!(told.len(), dead.len(), "{name}");
        assert!(told.iter().zip(&dead).all(|(told, dead)| told.starts_with(dead)), "{name}: {told:#?} {dead:#?}");
        assert!(recorded.contains(&format!("counted {}\n", seen.len())), "{name}");
        for (row, numbers) in usage {
            let rows = recorded.lines().filter(|line| line.starts_with(&row)).map(columns);
            let sum = rows.fold(model::Numbers::default(), |mut sum, numbers| {
                model::add(&mut sum, &numbers);
                sum
            });
            assert_eq!(sum, numbers, "{name}: {row}");
        }
    }
}

/// The numbers at the end of a usage line.
fn columns(line: &str) -> model::Numbers {
    let list = line.rsplit_once('[').and_then(|(_, list)| list.strip_suffix(']')).expect("a list of numbers");
    let numbers: Vec<i64> = list.split(", ").map(|number| number.parse().expect("a number")).collect();
    numbers.try_into().expect("ten columns")
}

#[test]
fn the_corpus_has_every_dead_letter_reason_a_duplicate_and_both_kinds() {
    let all: String = corpus().into_iter().map(|(_, _, totals)| totals).collect();
    for reason in loadline_domain::DeadLetterReason::ALL {
        assert!(all.contains(&format!(" {} ", reason.as_str())), "{}", reason.as_str());
    }
    for fact in ["key billing", "key receipt", "latency "] {
        assert!(all.contains(fact), "{fact}");
    }
    assert!(!all.contains("duplicates 0\n"));
}

#[test]
fn records_are_read_back_and_a_cut_file_is_refused() {
    let (_, records, _) = corpus().remove(0);
    let bytes = encode(&records);
    assert_eq!(decode(bytes.clone()).unwrap(), records);
    assert!(decode(bytes.slice(..bytes.len() - 1)).is_err());
}
