"""The card of an adapter: a README.md that hubs read, with all that a person has to know to use the adapter."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kdtui.text import one_line
from models.adapters.folder import SUMS

CARD = "README.md"
_NO_LICENCE = "not stated; ask whoever gave you the adapter, before you publish it"

_VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The largest ranks that vLLM can be started for."""

_DOES = {
    "list": "lists the bundles in a shopping session, each with its intent",
    "pairs": "says which products of a shopping session belong together, and names the intent of each bundle",
    "intents": "names the intent of each bundle of products, and finds none by itself",
}
_DOES_SOMETHING = "is to find bundles of products in shopping sessions"

_LONGEST = 200
"""Characters of a text from outside."""


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """What a card says.

    Attributes:
        name: of the adapter.
        base: its id on a hub, or its name.
        manifest: that of the adapter, as it is exported.
        rank: of its matrices.
        licence: None where nobody has said.
    """

    name: str
    base: str
    manifest: Mapping[str, Any]
    rank: int
    licence: str | None


def adapter_card(about: AdapterFacts) -> str:
    """The text of the card."""
    return "\n\n".join(
        [
            "\n".join(_front(about)),
            f"# {_plain(about.name)}",
            f"A LoRA adapter of rank {about.rank} for {_code(about.base)}, made with kdtui. With it, the model "
            f"{_DOES.get(str(about.manifest.get('form')), _DOES_SOMETHING)}.",
            *_made_of(about.manifest),
            *_trained(about.manifest),
            *_scores(about.manifest),
            *_use(about),
            f"## Licence\n\n{_plain(about.licence or _NO_LICENCE)}.",
            f"## Files\n\n{_code(SUMS)} has the SHA-256 of each file: `sha256sum -c {SUMS}` checks them.\n",
        ]
    )


def _front(about: AdapterFacts) -> Iterator[str]:
    yield "---"
    # Text in double quotes is the same in YAML as in JSON.
    yield f"base_model: {_quoted(about.base)}"
    yield "library_name: peft"
    yield "pipeline_tag: text-generation"
    if about.licence is not None:
        yield f"license: {_quoted(about.licence)}"
    yield "tags:\n- lora\n- product-bundles\n- knowledge-distillation\n- kdtui"
    yield "---"


def _made_of(manifest: Mapping[str, Any]) -> Iterator[str]:
    merged = manifest.get("merged")
    if not isinstance(merged, Mapping) or not merged:
        return
    rows = "\n".join(
        f"| {_code(name)} | {_told(part.get('weight'))} | {_told(part.get('rank'))} | {_told(part.get('sha256'))} |"
        for name, part in merged.items()
        if isinstance(part, Mapping)
    )
    kept = manifest.get("kept")
    how = "It is the exact weighted sum of what these add to the base"
    if isinstance(kept, int | float):
        how = f"It is the nearest of its rank to the weighted sum of what these add to the base, and keeps {kept:.2%} "
        how += "of its squared norm"
    yield f"## Merged from\n\n| adapter | weight | rank | SHA-256 of its weights |\n|---|---|---|---|\n{rows}\n\n{how}."


def _trained(manifest: Mapping[str, Any]) -> Iterator[str]:
    datasets = manifest.get("datasets")
    if not isinstance(datasets, list) or not datasets:
        yield "## Training\n\nIt does not say what it was trained on."
        return
    data = manifest.get("data")
    known = data if isinstance(data, Mapping) else {}
    rows = []
    for dataset in datasets:
        about = known.get(dataset)
        about = about if isinstance(about, Mapping) else {}
        rows.append(f"| {_code(dataset)} | {_told(about.get('sessions'))} | {_told(about.get('sha256'))} |")
    table = "\n".join(["| dataset | training sessions | SHA-256 |", "|---|---|---|", *rows])
    lines = "\n".join(f"- {what}: {_told(value)}" for what, value in _settings(manifest))
    yield (
        f"## Training\n\n{table}\n\n{lines}\n\nThe hash of a dataset is that of the ids of its training sessions, with "
        "their products and bundles. `manifest.json` has the same for programs."
    )


def _settings(manifest: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    names = {
        "form": "what it is asked",
        "knowledge": "knowledge that it is shown",
        "target": "learns to write the knowledge",
        "sample": "sample of the knowledge",
        "sample_drawn": "how the sample was drawn",
        "limit": "sessions of each dataset at most",
        "epochs": "epochs",
        "seed": "seed",
        "steps": "steps",
        "tokens": "tokens",
    }
    for name, label in names.items():
        value = manifest.get(name)
        if value is not None and value is not False and value not in ([], ""):
            yield label, value
    settings = manifest.get("settings")
    for name, value in (settings if isinstance(settings, Mapping) else {}).items():
        yield _words(name), value


def _scores(manifest: Mapping[str, Any]) -> Iterator[str]:
    rows = []
    scores = manifest.get("scores")
    for score in scores if isinstance(scores, list) else []:
        if isinstance(score, Mapping):
            cells = [
                *(_told(score.get(name)) for name in ("dataset", "n")),
                *(_interval(score.get(measure)) for measure in ("pair_f1", "strict_precision", "strict_recall")),
                _told(score.get("student")),
            ]
            rows.append(f"| {' | '.join(cells)} |")
    if rows:
        head = "| dataset | n | pair F1 | strict P | strict R | asked as |\n|---|---|---|---|---|---|"
        yield (
            f"## Scores\n\nOver *n* validation sessions, with 95 % intervals of a bootstrap over sessions.\n\n{head}\n"
            + "\n".join(rows)
        )


def _interval(value: object) -> str:
    if isinstance(value, list) and len(value) == 3 and all(isinstance(each, int | float) for each in value):
        mean, low, high = value
        return f"{mean:.3f} [{low:.3f}, {high:.3f}]"
    return "–"


def _use(about: AdapterFacts) -> Iterator[str]:
    name, base = _plain(about.name), about.base
    most = next((rank for rank in _VLLM_RANKS if rank >= about.rank), about.rank)
    quoted = _quoted(base)
    yield f"""## Use

Below, `FOLDER` is this folder.

kdtui, which has to know a GGUF file of the base (`kdtui model add FILE`, or the one that comes along):

```sh
kdtui model add FOLDER --name {name}
kdtui generate SESSION --dataset DATASET --adapter {name}
```

PEFT:

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained({quoted}), "FOLDER")
```

llama.cpp, with a GGUF file of the base:

```sh
llama-cli -m BASE.gguf --lora FOLDER/{name}.gguf
```

vLLM:

```sh
vllm serve {quoted} --enable-lora --max-lora-rank {most} --lora-modules {name}=FOLDER
```

Prompts have to be those of the training: `kdtui generate SESSION --show-prompt` prints them."""


def _told(value: object) -> str:
    match value:
        case None:
            return "not known"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.4g}"
        case list() | tuple():
            return ", ".join(map(_told, value)) or "none"
        case Mapping():
            return ", ".join(f"{_words(str(key))} {_told(each)}" for key, each in value.items())
    return _code(str(value))


def _code(text: str) -> str:
    """Text from outside, which nothing in it can turn into markup or more columns."""
    return f"`{_plain(text).replace('`', chr(39)).replace('|', '/') or ' '}`"


def _plain(text: str) -> str:
    shown = one_line(text, _LONGEST)
    return "".join(each if each not in "<>[]!#*\\" else " " for each in shown).strip()


def _words(name: str) -> str:
    return _plain(name).replace("_", " ")


def _quoted(text: str) -> str:
    return json.dumps(one_line(text, _LONGEST), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class AboutRouter:
    """What a card says of a router.

    Attributes:
        routes: the name of each, the folder of its adapter, and its mean pair F1.
        datasets, sessions: whose validation sessions it was fitted to, and how many.
        chooses: whether it does not always take the same route.
    """

    name: str
    routes: tuple[tuple[str, str, float], ...]
    datasets: tuple[str, ...]
    sessions: int
    chooses: bool


def router_card(about: AboutRouter) -> str:
    """The card of a folder with a router and its adapters, as Markdown."""
    rows = "\n".join(f"| {_code(name)} | {_code(folder)} | {score:.3f} |" for name, folder, score in about.routes)
    how = "It always takes the best one: no feature told when another one is better."
    if about.chooses:
        how = "A ridge regression on what a session looks like chooses."
    datasets = ", ".join(map(_code, about.datasets))
    return "\n\n".join(
        [
            f"# {_code(about.name)}",
            f"A router of kdtui: several LoRA adapters of one base, of which one answers each session. {how}",
            f"| adapter | folder | mean pair F1 |\n|---|---|---|\n{rows}",
            f"The scores are of {about.sessions:,} validation sessions of {datasets}, which the router was fitted to. "
            "`router.json` has its weights. Each folder holds one adapter, with a card of its own, and PEFT, llama.cpp "
            "and vLLM load it as it is.",
            "kdtui takes in all of it:",
            "```console\n$ kdtui model add FOLDER\n```\n",
        ]
    )
