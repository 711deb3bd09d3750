"""explain, Markdown, and the mistakes of authors that a difference names."""

import pytest
import torch
from torch import nn

import fanin
from fanin.axes import Axes
from fanin.errors import UnknownNameError
from fanin.graph import Place
from fanin.initializers import Constant, Normal, TruncatedNormal, Uniform
from fanin.plans import Plan
from fanin.plans.defects import defects
from fanin.plans.steps import Copy, Draw, Keep, Replay, Step, Unknown


def output(layer):
    return Step(
        f"h.{layer}.attn.c_proj.weight",
        (64, 64),
        "float32",
        "parameter",
        Draw(Normal(std=0.02 / 24**0.5)),
        "one of 24 outputs: divided by √24",
        "recipe gpt2 1: Radford et al. 2019",
        "attention output",
        Axes((64, 64), outputs=(1,), inputs=(0,)),
        activation="linear",
        place=Place("h", layer, 12, branch=2 * layer, branches=24, last=True),
    )


PLAN = Plan(
    (
        Step("wte.weight", (9, 64), "bfloat16", "parameter", Keep(), "kept", aliases=("head.weight",)),
        *(output(layer) for layer in range(12)),
        Step("mask", (4,), "bool", "buffer", Replay((("ones",),)), "arange()", persistent=False),
        Step("odd", (), "float32", "parameter", Unknown(), "nobody wrote it"),
        Step("old", (2,), "float32", "parameter", Copy("a.gguf", "k"), "copied"),
        Step(
            "act.weight",
            (64, 9),
            "float32",
            "parameter",
            Draw(Uniform(-0.5, 0.5)),
            "",
            role="projection",
            axes=Axes.linear((64, 9)),
            activation="leaky_relu",
            parameter=0.2,
        ),
    ),
    "GPT2",
    "gpt2",
)


def test_all_that_is_known_in_sentences():
    assert PLAN.explain("h.11.attn.c_proj.weight") == (
        "h.11.attn.c_proj.weight is a parameter of shape 64×64, float32.\n"
        "Its role: attention output, in layer 11 (from 0) of 12 of h, the last weight of residual branch 22 (from 0) "
        "of 24.\n"
        "Inputs are dimension 0, outputs dimension 1: fan-in 64, fan-out 64.\n"
        "No nonlinearity follows: gain 1.\n"
        "It is drawn: normal, std 0.004082.\n"
        f"Inputs of unit variance come out with variance fan-in × std² = {64 * 0.02**2 / 24:.4g}.\n"
        "Why: one of 24 outputs: divided by √24.\n"
        "Source: recipe gpt2 1: Radford et al. 2019."
    )


@pytest.mark.parametrize("pattern", ["h", "h.*.weight", "*c_proj*", "h.*.attn"])
def test_repeated_layers_are_explained_as_one(pattern):
    told = PLAN.explain(pattern)
    assert told.startswith("h.0-11.attn.c_proj.weight is a parameter")
    assert "in layer 0 … 11 (from 0) of 12 of h, the last weight of residual branch 0 … 22 (from 0) of 24" in told
    assert "\n\n" not in told


def test_other_actions():
    assert "Nobody could say where its values come from." in PLAN.explain("odd")
    assert "It is computed as in the model's own code: 1 call, re-run." in PLAN.explain("mask")
    assert "mask is a buffer of shape 4, bool, not in the state dict." in PLAN.explain("mask")
    assert "It is copied from k of a.gguf." in PLAN.explain("old")
    assert PLAN.explain("head.weight").splitlines() == [
        "wte.weight is a parameter of shape 9×64, bfloat16, also known as head.weight.",
        "Its role: not known.",
        "Its values stay as they are in the model.",
        "Why: kept.",
    ]


def test_the_activation_and_its_gain():
    told = PLAN.explain("act")
    gain = (2 / (1 + 0.2**2)) ** 0.5
    assert f"leaky_relu(0.2) follows: gain {gain:.4g}." in told
    assert f"variance fan-in × std² = {9 / 12:.4g}." in told  # U(±½) has variance 1/12


def test_an_unknown_name():
    with pytest.raises(UnknownNameError, match=r"unknown tensor 'h\.12'"):
        PLAN.explain("h.12")


def test_plans_of_real_models_know_activation_and_place():
    model = nn.Sequential(nn.Linear(4, 8), nn.ELU(0.5), nn.Linear(8, 2))
    plan = fanin.plan(model, "he", torch.zeros(3, 4))
    assert (plan["0.weight"].activation, plan["0.weight"].parameter) == ("elu", 0.5)
    assert "elu(0.5) follows: gain" in plan.explain("0.weight")
    assert fanin.Plan.from_json(plan.to_json()) == plan


def test_a_plan_as_markdown():
    assert PLAN.to_markdown().splitlines()[:7] == [
        "## GPT2 · recipe gpt2",
        "",
        "| tensor | × | shape | role | fan in → out | values | std | why |",
        "|---|--:|--:|---|--:|---|--:|---|",
        "| `wte.weight` |  | 9×64 |  |  | keep |  | kept; also head.weight |",
        "| `h.0-11.attn.c_proj.weight` | 12 | 64×64 | attention output | 64 → 64 | normal | 0.004082 "
        "| one of 24 outputs: divided by √24 |",
        "| `mask` |  | 4 |  |  | computed |  | arange() |",
    ]
    assert PLAN.to_markdown(group=False).count("c_proj") == 12


def test_bars_and_lines_do_not_break_markdown():
    odd = Plan((Step("w", (2,), "float32", "parameter", Keep(), "a | b\nc"),))
    assert "| `w` | 2 | keep | a \\| b c |" in odd.to_markdown()


def native(*steps, model="Net"):
    return Plan(steps, model, "native")


def drawn(name, law, why="", source="", shape=(64, 64), **fields):
    return Step(name, shape, "float32", "parameter", Draw(law), why, source, **fields)


def test_a_difference_as_markdown_and_data():
    before = PLAN.override({f"h.{layer}.attn.c_proj.weight": Normal(std=0.02) for layer in range(12)})
    found = Plan(before.steps, "GPT2", "native").diff(PLAN)
    assert found.to_markdown() == (
        "| tensor | × | shape | role | native | std | gpt2 | std | std × | why |\n"
        "|---|--:|--:|---|---|--:|---|--:|--:|---|\n"
        "| `h.0-11.attn.c_proj.weight` | 12 | 64×64 | attention output | normal | 0.02 | normal | 0.004082 | 0.2041 "
        "| one of 24 outputs: divided by √24 |\n\n"
        "Source: recipe gpt2 1: Radford et al. 2019.\n"
    )
    data = found.to_dict()
    assert data["recipes"] == ["native", "gpt2"]
    assert data["same"] == 5
    assert data["std_ratios"]["h.0.attn.c_proj.weight"] == pytest.approx(24**-0.5)
    assert [side["action"]["std"] for side in data["changed"]["h.4.attn.c_proj.weight"]] == [0.02, 0.02 / 24**0.5]
    assert (
        str(found)
        == "~ h.0-11.attn.c_proj.weight (12 tensors): normal, std 0.02 → normal, std 0.004082  (std × 0.2041)"
    )


def test_equal_plans_as_markdown():
    assert PLAN.diff(PLAN).to_markdown() == "No difference.\n"


def test_the_last_bits_of_a_formula_are_no_difference():
    one, other = native(drawn("w", Normal(std=768**-0.5))), native(drawn("w", Normal(std=1 / 768**0.5 * (1 + 3e-16))))
    assert not one.diff(other)
    assert one.diff(native(drawn("w", Normal(std=768**-0.5 * 1.000001))))


UNCUT = TruncatedNormal(std=0.02, lower=-100.0, upper=100.0, corrected=False)
LECUN = TruncatedNormal(std=0.041, lower=-48.75, upper=48.75, corrected=False)
CLIP = "transformers.models.clip.modeling_clip:389"
GROUPED, TRANSPOSED = Axes.conv((64, 1, 3, 3), groups=64), Axes.conv_transpose((64, 16, 4, 4))
STACKED = Axes((8, 64, 64), outputs=(1,), inputs=(2,), batch=(0,))
KAIMING = "reset_parameters: kaiming_normal_(mode=fan_out)"


@pytest.mark.parametrize(
    ("step", "model", "says"),
    [
        (drawn("a", LECUN, "", "transformers.initialization:185"), "Siglip", "1.137 times"),
        (drawn("a", UNCUT, "trunc_normal_(std=0.02)"), "ViT", "nothing is ever cut"),
        (drawn("q_proj.weight", Normal(std=0.0073), "", CLIP), "CLIPModel", "depth factor 1/√(2·layers)"),
        (
            drawn("b.time_first", Constant(1.0), "", "transformers.models.rwkv.modeling_rwkv:403"),
            "Rwkv",
            "a parenthesis makes ones_like swallow the formula",
        ),
        (drawn("in_proj.weight", Normal(std=0.1)), "MambaForCausalLM", "std 0.1; the authors leave torch's default"),
        (
            drawn("mixer.A_log", Constant(1.0), "", "transformers.models.mamba2.modeling_mamba2:445"),
            "Mamba2Model",
            "the authors draw it uniformly from 1 to 16",
        ),
        (
            drawn("up", Normal(), KAIMING, shape=(64, 16, 4, 4), axes=TRANSPOSED),
            "Net",
            "output channels of a transposed",
        ),
        (drawn("dw", Normal(), KAIMING, shape=(64, 1, 3, 3), axes=GROUPED), "Net", "without its groups"),
        (drawn("moe", Normal(), "xavier_normal_()", shape=(8, 64, 64), axes=STACKED), "Net", "independent copies"),
        (drawn("in_proj_weight", Uniform(), "xavier_uniform_()", shape=(192, 64)), "Net", "std is 1/√2 of Xavier's"),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "name", None),
)
def test_documented_mistakes_are_named(step, model, says):
    (note,) = defects(model, [step])
    assert says in note
    assert note.startswith(f"native {step.name}: ")
    plain = Step(step.name, step.shape, "float32", "parameter", Draw(Normal(std=0.5)), "")
    assert [note] == [*native(step, model=model).diff(Plan((plain,), model, "he")).notes]
    assert [note] == [*Plan((plain,), model, "he").diff(native(step, model=model)).notes]


@pytest.mark.parametrize(
    ("step", "model"),
    [
        (drawn("a", TruncatedNormal(std=0.02, corrected=False)), "ViT"),
        (drawn("a", TruncatedNormal(std=0.02, lower=-3.0, upper=3.0, corrected=False)), "ViT"),
        (drawn("q_proj.weight", Normal(std=64**-0.5), "", CLIP), "CLIPModel"),
        (drawn("out_proj.weight", Normal(std=0.0073), "", CLIP), "CLIPModel"),
        (drawn("q_proj.weight", Normal(std=0.0073), "", "mine.py:3"), "CLIPModel"),
        (drawn("b.time_first", Constant(1.0), "", "mine.py:3"), "Rwkv"),
        (drawn("in_proj.weight", Normal(std=0.1)), "Net"),
        (drawn("dw", Normal(), "kaiming_uniform_(a=√5)", shape=(64, 1, 3, 3), axes=GROUPED), "Net"),
        (drawn("in_proj_weight", Uniform(), "xavier_uniform_()", shape=(64, 64)), "Net"),
    ],
)
def test_what_is_right_is_not_called_a_mistake(step, model):
    assert defects(model, [step]) == ()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("hf:siglip_vision_model", "lecun_normal_ divides by 0.8796"),
        ("hf:clip_vision_model", "the depth factor 1/√(2·layers) stands on queries, keys and values"),
        ("hf:rwkv,num_hidden_layers=2", "all 1, because a parenthesis"),
        ("hf:mamba,num_hidden_layers=2", "std 0.1; the authors leave torch's default"),
        ("hf:mamba2,num_hidden_layers=2", "the authors draw it uniformly from 1 to 16"),
        ("hf:vit", "nothing is ever cut"),
    ],
)
def test_the_mistakes_are_seen_in_the_real_models(name, says):
    pytest.importorskip("transformers")
    plan = fanin.capture(fanin.models.factory(name)).plan
    assert any(says in note for note in defects(plan.model, plan.steps))


def test_a_model_without_known_mistakes():
    pytest.importorskip("transformers")
    plan = fanin.capture(fanin.models.factory("hf:gpt2")).plan
    assert defects(plan.model, plan.steps) == ()
