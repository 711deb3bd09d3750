"""Show where the signal dies in a deep network, and that the right gain cures it."""

import fanin

NAME = "mlp:784-" + "-".join(["256"] * 20) + "-10"

for recipe in ("ggml-mnist", "he"):
    captured = fanin.capture(fanin.models.factory(NAME))
    plan = fanin.plan(captured, recipe=recipe)
    model = fanin.materialize(captured.model, plan, seed=0)
    report = fanin.check(model, fanin.models.example_inputs(NAME, batch=64))
    print(f"{recipe}: {report.verdict}")
    for finding in report.findings[:2]:
        print(f"  {finding}")
