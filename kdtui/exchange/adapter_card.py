"""Cards of adapters and routers: a README.md for hubs, with everything a person needs to use them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kdtui.text import one_line
from models.adapters.folder import SUMS

CARD = "README.md"
_NO_LICENCE = "not stated; ask whoever gave you the adapter, before you publish it"

_VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Maximum ranks that vLLM accepts."""

_TASKS = {
    "list": "lists the bundles in a shopping session, each with its intent",
    "pairs": "says which products of a shopping session belong together, and names the intent of each bundle",
    "intents": "names the intent of each bundle of products, and finds none by itself",
}
_UNKNOWN_TASK = "is to find bundles of products in shopping sessions"

_LONGEST = 200
"""Characters of an untrusted text."""


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """The contents of an adapter's card.

    Attributes:
        name: name of the adapter.
        base: id of the base on a hub, or its name.
        manifest: manifest of the adapter, as exported.
        rank: rank of its matrices.
        licence: None if nobody has stated one.
    """

    name: str
    base: str
    manifest: Mapping[str, Any]
    rank: int
    licence: str | None


def adapter_card(about: AdapterFacts) -> str:
    """Return the card as Markdown."""
    return "\n\n".join(
        [
            "\n".join(_front_matter(about.base, about.licence)),
            f"# {_plain(about.name)}",
            f"A LoRA adapter of rank {about.rank} for {_code(about.base)}, made with kdtui. With it, the model "
            f"{_TASKS.get(str(about.manifest.get('form')), _UNKNOWN_TASK)}.",
            *_merged_section(about.manifest),
            *_training_section(about.manifest),
            *_scores_section(about.manifest),
            *_usage_section(about),
            _licence_section(about.licence),
            f"## Files\n\n{_code(SUMS)} has the SHA-256 of each file: `sha256sum -c {SUMS}` checks them.\n",
        ]
    )


def _licence_section(licence: str | None) -> str:
    return f"## Licence\n\n{_plain(licence or _NO_LICENCE)}."


def _front_matter(base: str, licence: str | None) -> Iterator[str]:
    yield "---"
    # A text in double quotes is the same in YAML and JSON.
    yield f"base_model: {_quoted(base)}"
    yield "library_name: peft"
    yield "pipeline_tag: text-generation"
    if licence is not None:
        yield f"license: {_quoted(licence)}"
    yield "tags:\n- lora\n- product-bundles\n- knowledge-distillation\n- kdtui"
    yield "---"


def _merged_section(manifest: Mapping[str, Any]) -> Iterator[str]:
    merged = manifest.get("merged")
    if not isinstance(merged, Mapping) or not merged:
        return
    rows = "\n".join(
        f"| {_code(name)} | {' | '.join(_format_value(part.get(key)) for key in ('weight', 'rank', 'sha256'))} |"
        for name, part in merged.items()
        if isinstance(part, Mapping)
    )
    kept = manifest.get("kept")
    how = "It is the exact weighted sum of what these add to the base"
    if isinstance(kept, int | float):
        how = f"It is the nearest of its rank to the weighted sum of what these add to the base, and keeps {kept:.2%} "
        how += "of its squared norm"
    yield f"## Merged from\n\n| adapter | weight | rank | SHA-256 of its weights |\n|---|---|---|---|\n{rows}\n\n{how}."


def _training_section(manifest: Mapping[str, Any]) -> Iterator[str]:
    datasets = manifest.get("datasets")
    if not isinstance(datasets, list) or not datasets:
        yield "## Training\n\nThe adapter does not say what it was trained on."
        return
    data = manifest.get("data")
    known = data if isinstance(data, Mapping) else {}
    rows = []
    for dataset in datasets:
        about = known.get(dataset)
        about = about if isinstance(about, Mapping) else {}
        rows.append(
            f"| {_code(dataset)} | {_format_value(about.get('sessions'))} | {_format_value(about.get('sha256'))} |"
        )
    table = "\n".join(["| dataset | training sessions | SHA-256 |", "|---|---|---|", *rows])
    lines = "\n".join(f"- {what}: {_format_value(value)}" for what, value in _settings(manifest))
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


def _scores_section(manifest: Mapping[str, Any]) -> Iterator[str]:
    rows = []
    scores = manifest.get("scores")
    for score in scores if isinstance(scores, list) else []:
        if isinstance(score, Mapping):
            cells = [
                *(_format_value(score.get(name)) for name in ("dataset", "n")),
                *(_interval(score.get(measure)) for measure in ("pair_f1", "strict_precision", "strict_recall")),
                _format_value(score.get("student")),
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


def _usage_section(about: AdapterFacts) -> Iterator[str]:
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


def _format_value(value: object) -> str:
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
            return ", ".join(map(_format_value, value)) or "none"
        case Mapping():
            return ", ".join(f"{_words(str(key))} {_format_value(each)}" for key, each in value.items())
    return _code(str(value))


def _code(text: str) -> str:
    """Format an untrusted text as code, so that it cannot add markup or columns."""
    return f"`{_plain(text).replace('`', chr(39)).replace('|', '/') or ' '}`"


def _plain(text: str) -> str:
    shown = one_line(text, _LONGEST)
    return "".join(each if each not in "<>[]!#*\\" else " " for each in shown).strip()


def _words(name: str) -> str:
    return _plain(name).replace("_", " ")


def _quoted(text: str) -> str:
    return json.dumps(one_line(text, _LONGEST), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class RouterFacts:
    """The contents of a router's card.

    Attributes:
        routes: the name of each route, the folder of its adapter, and its mean pair F1.
        validation: each way to use its adapters, with its mean pair F1 and the interval of that; can be empty.
        datasets, sessions: the datasets whose validation sessions it was fitted to, and their number.
        why_constant: why it always chooses the best route; None if it can choose another one.
        base: of its adapters: its id on a hub, or its name.
        licence: None if nobody has stated one.
    """

    name: str
    base: str
    licence: str | None
    routes: tuple[tuple[str, str, float], ...]
    validation: tuple[tuple[str, float, float, float], ...]
    datasets: tuple[str, ...]
    sessions: int
    why_constant: str | None


def router_card(about: RouterFacts) -> str:
    """Return the card of a folder with a router and its adapters, as Markdown."""
    rows = "\n".join(f"| {_code(name)} | {_code(folder)} | {score:.3f} |" for name, folder, score in about.routes)
    how = "A ridge regression on features of the session chooses."
    if about.why_constant is not None:
        how = f"It always takes the best adapter: {about.why_constant}."
    datasets = ", ".join(map(_code, about.datasets))
    compared = []
    if about.validation:
        lines = "\n".join(
            f"| {_code(name)} | {mean:.3f} | {low:.3f} to {high:.3f} |" for name, mean, low, high in about.validation
        )
        compared = [
            "By cross-validation on the same sessions, the router and simpler ways to use these adapters score:",
            f"| answered by | mean pair F1 | 95 % interval |\n|---|---|---|\n{lines}",
        ]
    return "\n\n".join(
        [
            "\n".join(_front_matter(about.base, about.licence)),
            f"# {_code(about.name)}",
            f"A router of kdtui: several LoRA adapters of one base, of which one answers each session. {how}",
            f"| adapter | folder | mean pair F1 |\n|---|---|---|\n{rows}",
            f"The scores are of {about.sessions:,} validation sessions of {datasets}, to which the router was fitted. "
            "`router.json` has its weights. Each folder holds one adapter: PEFT, llama.cpp and vLLM load it as it is. "
            "Its card has its training data, and its scores with their intervals.",
            *compared,
            "kdtui imports everything in this folder:",
            "```console\n$ kdtui model add FOLDER\n```",
            _licence_section(about.licence) + "\n",
        ]
    )
