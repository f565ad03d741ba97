#!/usr/bin/env python3
r"""Fits the built-in baseline for football matches, and writes it as ONNX.

    cargo run --release -p loadline-serving --example features -- RESULTS > features.csv
    python3 -m venv VENV
    VENV/bin/pip install onnx==1.23.2
    VENV/bin/python services/serving/baseline/generate.py [features.csv]

An ordered logit over the difference of Elo ratings `d` (McCullagh, Regression models for ordinal data, JRSS B 42, 1980):
P(away) = s(AWAY - SLOPE d), P(home) = 1 - s(DRAW - SLOPE d), with s the logistic function, and the draw between them. With a file of
features it says how good the fit is, walking forward: every season from the fourth by the seasons before it. Without one it writes the
constants below, which are the fit of all seasons. Only the constants go into the model, so the file is the same every time.
"""

import csv
import json
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

SLOPE, AWAY, DRAW = 0.00528065, -0.64689037, 0.56840675
FEATURE_SET = "football-1-f1d701993fb1"
WIDTH, DIFFERENCE = 13, 2
FIRST_SCORED = 2015


def logistic(z):
    return 1 / (1 + np.exp(-z))


def forecast(d, slope, away, draw):
    lost, not_won = logistic(away - slope * d), logistic(draw - slope * d)
    return np.stack([1 - not_won, not_won - lost, lost], axis=1)


def loss(parameters, d, outcome):
    slope, away, draw = parameters
    chosen = forecast(d, slope / 100, away, draw)[np.arange(len(d)), outcome]
    return -np.log(np.maximum(chosen, 1e-12)).mean()


def fit(d, outcome):
    """Newton's method; derivatives by differences."""
    at, step = np.array([0.5, -0.7, 0.5]), np.eye(3)

    def gradient(at):
        return np.array([(loss(at + 1e-5 * e, d, outcome) - loss(at - 1e-5 * e, d, outcome)) / 2e-5 for e in step])

    for _ in range(30):
        curvature = np.array([(gradient(at + 1e-4 * e) - gradient(at - 1e-4 * e)) / 2e-4 for e in step])
        move = np.linalg.solve(curvature, gradient(at))
        at = at - move
        if np.abs(move).max() < 1e-8:
            break
    return at[0] / 100, at[1], at[2]


def rps(probabilities, outcome):
    happened = np.stack([outcome <= 0, outcome <= 1], axis=1)
    return ((probabilities.cumsum(axis=1)[:, :2] - happened) ** 2).sum(axis=1) / 2


def evaluate(path):
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    d = np.array([float(row["elo_difference"]) for row in rows])
    outcome = np.array([int(row["outcome"]) for row in rows])
    season, league = np.array([int(row["season"]) for row in rows]), np.array([row["league"] for row in rows])
    scores, priors, chosen = [], [], []
    for scored in sorted(set(season[season >= FIRST_SCORED])):
        # The first two seasons only warm ratings up.
        past, now = (season < scored) & (season >= season.min() + 2), season == scored
        answered = forecast(d[now], *fit(d[past], outcome[past]))
        scores.append(rps(answered, outcome[now]))
        chosen.append(answered[np.arange(now.sum()), outcome[now]])
        for name in sorted(set(league)):
            here = now & (league == name)
            usual = np.bincount(outcome[past & (league == name)], minlength=3) / max((past & (league == name)).sum(), 1)
            priors.append(rps(np.tile(usual, (here.sum(), 1)), outcome[here]))
    scores, priors, chosen = map(np.concatenate, (scores, priors, chosen))
    print(f"{len(scores)} matches: RPS {scores.mean():.5f}, log-loss {-np.log(chosen).mean():.5f}, prior of the league {priors.mean():.5f}")
    warm = season >= season.min() + 2
    print("fit of all: SLOPE, AWAY, DRAW = {:.8f}, {:.8f}, {:.8f}".format(*fit(d[warm], outcome[warm])))


def model():
    def constant(name, values, kind):
        return numpy_helper.from_array(np.array(values, dtype=kind), name)

    constants = [
        constant("difference", [DIFFERENCE], np.int64),
        constant("slope", [[SLOPE]], np.float32),
        constant("away_cut", [[AWAY]], np.float32),
        constant("draw_cut", [[DRAW]], np.float32),
        constant("one", [[1]], np.float32),
    ]
    nodes = [
        helper.make_node("Gather", ["features", "difference"], ["d"], axis=1),
        helper.make_node("Mul", ["d", "slope"], ["strength"]),
        helper.make_node("Sub", ["away_cut", "strength"], ["away_logit"]),
        helper.make_node("Sub", ["draw_cut", "strength"], ["draw_logit"]),
        helper.make_node("Sigmoid", ["away_logit"], ["away"]),
        helper.make_node("Sigmoid", ["draw_logit"], ["not_home"]),
        helper.make_node("Sub", ["one", "not_home"], ["home"]),
        helper.make_node("Sub", ["not_home", "away"], ["draw"]),
        helper.make_node("Concat", ["home", "draw", "away"], ["probabilities"], axis=1),
    ]
    for node in nodes:
        node.name = node.output[0]
    graph = helper.make_graph(
        nodes,
        "elo_baseline",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", WIDTH])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", 3])],
        constants,
    )
    made = helper.make_model(graph, producer_name="loadline", opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


def golden(made):
    rows = np.zeros((5, WIDTH), dtype=np.float32)
    rows[:, DIFFERENCE] = [-400, -65, 0, 65, 400]
    (answers,) = ReferenceEvaluator(made).run(None, {"features": rows})

    def tensor(name, values):
        return {"name": name, "type": "FP32", "shape": list(values.shape), "values": [float(v) for v in values.ravel()]}

    return json.dumps({"inputs": [tensor("features", rows)], "outputs": [tensor("probabilities", answers)]})


def main():
    if len(sys.argv) > 1:
        evaluate(sys.argv[1])
        return
    made = model()
    told = {
        "feature_set": FEATURE_SET,
        "class_order": "home,draw,away",
        "baseline": "ordered logit over the difference of Elo ratings, built into Loadline",
        "golden_vectors": golden(made),
    }
    helper.set_model_props(made, told)
    path = pathlib.Path(__file__).with_name("elo_baseline.onnx")
    path.write_bytes(made.SerializeToString(deterministic=True))
    print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
