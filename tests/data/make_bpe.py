"""Regenerate tests/data/bpe: a small tokenizer trained by the `tokenizers` engine, and the engine's ids for texts that are hard.

    pip install tokenizers && python tests/data/make_bpe.py
"""

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = Path(__file__).parent / "bpe"
TEXTS = [
    "", " ", "\n", "a", "the cat sat on the mat", "The  cat\t\tsat \n\n on",
    "it's we're they'll I'd he'S 'tis ''", "12 345,678.90 ½ Ⅷ ٣٤ 五", "été é naïve Ω≈ç√∫",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308!", "\r\n\r\n x ",
    "a\xa0b\u2003c\u3000d\x1ce\x85f", "snake_case __init__ _", "<|endoftext|>",
    "a<|endoftext|> b<|endoftext|", "   leading and trailing   ", "\x00\x01\x7f", "汉字かな交じり文 한국어",
    "ﬁ ǅ ʰ ª º ² ₂", "ab" * 40, "٠١ 1a2b 3.14e-5",
]  # fmt: skip
CORPUS = ["the cat sat on the mat, and the mat was where the cat had sat: that's what it's about. 1984 and 2001, été.\n"] * 8


def main() -> None:
    """Train, and store the tokenizer and its ids, with and without cutting digits."""
    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for name, cut in (("words", level), ("digits", pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level]))):
        engine = Tokenizer(models.BPE())
        engine.pre_tokenizer, engine.decoder = cut, decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
        engine.train_from_iterator(CORPUS, trainer)
        engine.add_special_tokens([AddedToken("<|endoftext|>", normalized=False)])
        (HERE / name).mkdir(parents=True, exist_ok=True)
        (HERE / name / "tokenizer.json").write_text(engine.to_str(), encoding="utf-8")
        ids = {text: engine.encode(text).ids for text in TEXTS}
        (HERE / name / "expected.json").write_text(json.dumps(ids, ensure_ascii=True), encoding="utf-8")


if __name__ == "__main__":
    main()
