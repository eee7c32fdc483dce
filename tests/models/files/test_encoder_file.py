"""Sentence encoders of transformers are converted to GGUF files with the same vectors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.files.encoder_file import main
from models.llama.embedding import LocalEmbedder
from models.unit_vectors import Vectors, scaled_to_one

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

WORDS = [
    "[PAD]",
    "[unused0]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "tent",
    "phone",
    "case",
    "##s",
    "##ed",
    "cafe",
    ",",
    "-",
]
TEXTS = ["Tents", "phone case", "Café, tent-cased", "unknown words", "phone " * 30]
WIDTH, MOST = 64, 24


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a small random encoder in the format of sentence-transformers."""
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    transformers.BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS), "utf-8")
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    # Newer versions leave it out.
    (folder / "vocab.txt").write_text("\n".join(WORDS), "utf-8")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """Copy the encoder, so that a test can change it."""
    target = tmp_path / "source"
    target.mkdir()
    for file in made.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def by_transformers(folder: Path) -> Vectors:
    tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"))
    model = transformers.BertModel.from_pretrained(folder).eval()
    rows = []
    with torch.no_grad():
        for text in TEXTS:
            tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=MOST)
            rows.append(model(**tokens).last_hidden_state[0].mean(0).numpy())
    return scaled_to_one(np.stack(rows))


@pytest.mark.parametrize(("kind", "least"), [("F32", 0.9999), ("Q8_0", 0.999)])
def test_llama_cpp_makes_the_same_vectors_as_transformers(
    folder: Path, tmp_path: Path, kind: str, least: float
) -> None:
    target = tmp_path / "encoder.gguf"
    assert main([str(folder), str(target), "--to", kind]) == 0
    expected = by_transformers(folder)
    with LocalEmbedder(target, tokens=MOST) as embedder:
        together = embedder.embed(TEXTS)
        alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    assert together.shape == (len(TEXTS), WIDTH)
    assert (together * expected).sum(axis=1).min() > least
    assert (together * alone).sum(axis=1).min() > 0.999
    assert abs((expected @ expected.T)[0, 1]) < 0.95, "different texts have different vectors"


def test_the_same_folder_gives_the_same_file(folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        assert main([str(folder), str(tmp_path / name / "encoder.gguf")]) == 0
    assert (tmp_path / "one/encoder.gguf").read_bytes() == (tmp_path / "two/encoder.gguf").read_bytes()


def changed(file: str, **values: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / file
        path.parent.mkdir(exist_ok=True)
        before = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(before | values))

    return change


REFUSED: dict[str, Callable[[Path], object]] = {
    "type 'roberta'": changed("config.json", model_type="roberta"),
    "activation other than gelu": changed("config.json", hidden_act="relu"),
    "relative positions": changed("config.json", position_embedding_type="relative_key"),
    "upper case kept": changed("tokenizer_config.json", do_lower_case=False),
    "not the mean of the tokens": changed("1_Pooling/config.json", pooling_mode_cls_token=True),
    "vocabulary without [UNK]": lambda folder: (folder / "vocab.txt").write_text("[PAD]\n[CLS]\n[SEP]\n[MASK]\n"),
    "no sentence encoder can be read": lambda folder: (folder / "model.safetensors").write_bytes(b"damaged"),
    "knows no weights": lambda folder: (folder / "config.json").write_text(
        (folder / "config.json").read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 1')
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_an_encoder_that_llama_cpp_computes_differently_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], message: str
) -> None:
    REFUSED[message](folder)
    assert main([str(folder), str(tmp_path / "encoder.gguf")]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "encoder.gguf").exists()
