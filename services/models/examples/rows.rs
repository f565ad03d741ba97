//! How fast models answer: `cargo run --release -p loadline-models --example rows -- [SECONDS] [NAME…]`
//!
//! Single rows in one thread and in one a processor, then batches, for models of the fixtures.

use loadline_models::{
    golden::Golden,
    onnx,
    predictor::Predictor,
    tensor::{Tensor, Values},
};
use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

const MODELS: [&str; 6] = [
    "logistic_multinomial",
    "xgboost_classifier",
    "random_forest_classifier",
    "pipeline_imputer_scaler_logistic",
    "pipeline_minmax_mlp",
    "network",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let time = Duration::from_secs_f64(args.next().map_or(Ok(1.0), |seconds| seconds.parse())?);
    let named: Vec<String> = args.collect();
    let names = if named.is_empty() { MODELS.map(str::to_owned).to_vec() } else { named };
    println!(
        "{:<36}{:>12}{:>12}{:>12}{:>12}{:>10}{:>10}",
        "rows a second", "1 row", "1 row, all", "8 rows", "128 rows", "load ms", "warm ms"
    );
    for name in names {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let checked = onnx::check(&std::fs::read(folder.join(format!("{name}.onnx")))?)?;
        let golden = Golden::from_json(&std::fs::read(folder.join(format!("{name}.json")))?)?;
        let begun = Instant::now();
        let predictor = Predictor::load(&checked.bytes)?;
        let loaded = begun.elapsed();
        predictor.warm()?;
        let warmed = begun.elapsed() - loaded;
        let threads = std::thread::available_parallelism()?.get();
        let measured =
            [(1, 1), (1, threads), (8, 1), (128, 1)].map(|(rows, threads)| rate(&predictor, &golden, rows, threads, time));
        print!("{name:<36}");
        measured.iter().for_each(|rate| print!("{rate:>12.0}"));
        println!("{:>10.1}{:>10.1}", loaded.as_secs_f64() * 1e3, warmed.as_secs_f64() * 1e3);
    }
    Ok(())
}

fn rate(predictor: &Predictor, golden: &Golden, rows: usize, threads: usize, time: Duration) -> f64 {
    let inputs: Vec<Tensor> = golden.inputs.iter().map(|input| beginning(input, rows)).collect();
    let (answered, begun) = (AtomicU64::new(0), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while begun.elapsed() < time {
                    predictor.predict(&inputs).expect("golden inputs are answered");
                    answered.fetch_add(rows as u64, Ordering::Relaxed);
                }
            });
        }
    });
    answered.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

/// The first rows, from the beginning again when they end.
fn beginning(input: &Tensor, rows: usize) -> Tensor {
    let Values::F32(values) = &input.values else { panic!("these models take floats") };
    let count = input.shape.iter().skip(1).product::<usize>() * rows;
    let values = Values::F32(values.iter().copied().cycle().take(count).collect());
    let mut shape = input.shape.clone();
    shape[0] = rows;
    Tensor::new(input.name.clone(), shape, values)
}
