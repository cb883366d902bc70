import io
import json

import numpy as np
import pytest

from minillm import Llama, LlamaConfig, LLMAgent
from minillm.bpe import BPETokenizer, byte_characters
from minillm.chat import ASSISTANT, ChatTokenizer, Conversation, load, turn
from minillm.cli import main
from minillm.decoding import Sampling
from minillm.errors import CheckpointError, MissingExtra, TokenizerError, UserError
from minillm.ops import log_softmax

TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}"
    "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = {"<|im_start|>": 256, "<|im_end|>": 257}
GREEDY = Sampling(temperature=0.0)


def bytes_tokenizer(special=SPECIAL, eos="<|im_end|>"):
    """Every byte is a token."""
    return BPETokenizer({c: i for i, c in enumerate(byte_characters())}, [], special, eos)


def tiny(n_positions=300, vocab_size=258, seed=0):
    config = LlamaConfig(vocab_size, 16, 12, 2, 4, 2, max_position_embeddings=n_positions, initializer_range=0.5)
    return Llama(config, rng=seed, dtype=np.float64)


@pytest.fixture
def directory(tmp_path):
    tiny().astype(np.float32).save_pretrained(tmp_path)
    bytes_tokenizer().save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": TEMPLATE}), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("system", ["", "Be kind."])
def test_a_second_answer_is_that_of_the_whole_conversation_read_at_once(system):
    model, tokenizer = tiny(), bytes_tokenizer()
    conversation = Conversation(model, tokenizer, GREEDY, system=system, rng=0)
    said = turn("system", system) if system else ""
    ids = tokenizer.encode(said)
    for text in ("Hello", "Über\n<", ""):
        ids = np.concatenate([ids, tokenizer.encode(turn("user", text) + ASSISTANT)])
        whole = model.generate(ids, max_new_tokens=20, eos_token_id=257)
        new = whole[len(ids) :]
        pieces = []
        answer = conversation.answer(text, 20, pieces.append)
        assert answer == "".join(pieces) == tokenizer.decode(new, skip_special_tokens=True)
        ids = np.concatenate([whole, tokenizer.encode("\n" if whole[-1] == 257 else "<|im_end|>\n")])


def test_a_character_of_several_tokens_comes_whole(monkeypatch):
    model, tokenizer, euro = tiny(), bytes_tokenizer(), [*"€".encode(), *"é".encode()[:1]]
    ids = iter([[*map(bytes_tokenizer().vocab.get, (byte_characters()[b] for b in euro))]])

    def sample(model, past, logits, length, sampling, eos, rng, on_token):
        written = next(ids)
        for i in written:
            on_token(np.array([0]), np.array([i]))
        return type("New", (), {"ids": np.array([written])})

    monkeypatch.setattr("minillm.chat.sample", sample)
    pieces = []
    Conversation(model, tokenizer, GREEDY, system="", rng=0).answer("x", 4, pieces.append)
    assert [piece for piece in pieces if piece] == ["€", "\N{REPLACEMENT CHARACTER}"]


def test_a_conversation_longer_than_the_context_goes_on_and_a_text_that_is_too_long_is_told():
    conversation = Conversation(tiny(n_positions=80), bytes_tokenizer(), GREEDY, system="", rng=0)
    for _ in range(4):
        conversation.answer("abcd", 15)
    with pytest.raises(UserError, match=r"^the text has \d+ tokens, more than n_positions = 80$"):
        conversation.answer("a" * 90, 5)


def test_the_seed_decides_the_draws():
    def answers(seed):
        conversation = Conversation(tiny(), bytes_tokenizer(), Sampling(), system="", rng=seed)
        return [conversation.answer("a", 10) for _ in range(2)]

    assert answers(1) == answers(1)
    assert answers(1) != answers(2)


def test_load_reads_model_tokenizer_and_the_templates_sentence(directory):
    model, tokenizer, system = load(directory)
    assert system == "You help."
    assert tokenizer.eos_token == "<|im_end|>"
    assert (model.parameters.vector == tiny().parameters.vector.astype(np.float32)).all()
    (directory / "chat_template.jinja").write_text("{{'<|im_start|>' + message['role']}}", encoding="utf-8")
    assert load(directory)[2] == ""


def test_a_template_is_the_frameworks(directory):
    jinja2 = pytest.importorskip("jinja2")
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}, {"role": "user", "content": "He"}]
    text = jinja2.Template(TEMPLATE).render(messages=messages, add_generation_prompt=True)
    assert text == "".join([turn("system", load(directory)[2]), *(turn(m["role"], m["content"]) for m in messages), ASSISTANT])


def test_what_is_no_chat_model_is_told(directory):
    bytes_tokenizer({"<|endoftext|>": 256}, "<|endoftext|>").save_pretrained(directory)
    with pytest.raises(TokenizerError, match=r"has no token <\|im_start\|>, which starts or ends a turn"):
        load(directory)
    bytes_tokenizer(eos="<|im_start|>").save_pretrained(directory)
    with pytest.raises(TokenizerError, match=r"its end token is '<\|im_start\|>', expected '<\|im_end\|>'"):
        load(directory)
    bytes_tokenizer().save_pretrained(directory)
    tiny(vocab_size=257).astype(np.float32).save_pretrained(directory)
    with pytest.raises(CheckpointError, match="the tokenizer has 258 ids, but the embedding of the model has 257 rows"):
        load(directory)


def test_an_agents_prompt_is_a_chat_and_its_action_the_answer():
    model, tokenizer = tiny(), ChatTokenizer(bytes_tokenizer(), "Play.")
    agent = LLMAgent(model, tokenizer, max_new_tokens=4, rng=0)
    found = agent.action_log_probs(["left?", "x"], ["up", "no"])
    for row, state in enumerate(["left?", "x"]):
        prompt = turn("system", "Play.") + turn("user", state) + ASSISTANT
        for column, action in enumerate(["up", "no"]):
            ids = tokenizer.encode(prompt + action + "<|im_end|>")
            log_p, _ = log_softmax(model.forward(ids[:-1], keep=False)[0])
            expected = log_p[np.arange(len(ids) - 4, len(ids) - 1), ids[-3:]].sum()
            assert found[row, column] == pytest.approx(expected, rel=1e-12)
    assert agent.choose_action("x", ["up", "no"]) in ("up", "no")
    assert agent.act(["x", "y", "x"]).texts.shape == (3,)


def test_the_command_answers_a_prompt_and_the_lines_of_stdin(directory, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n\n  \ntwo"))
    assert main(["chat", str(directory), "--prompt", "zero", "--max-new-tokens", "6", "--system", ""]) == 0
    model, tokenizer, _ = load(directory)
    conversation = Conversation(model, tokenizer, GREEDY, system="", rng=0)
    assert capsys.readouterr().out == "".join(conversation.answer(text, 6) + "\n" for text in ("zero", "one", "two"))


def test_the_commands_errors_are_one_line(directory, fails, tmp_path):
    assert "is not a directory and not in the local Hugging Face cache" in fails("chat", tmp_path / "none")
    assert "cannot read" in fails("chat", tmp_path / "none.gguf")
    (tmp_path / "text.gguf").write_text("hello")
    assert "does not begin with 'GGUF'" in fails("chat", tmp_path / "text.gguf")
    assert "temperature must be finite and at least 0" in fails("chat", directory, "--temperature", "-1")
    (directory / "tokenizer.json").unlink()
    assert "has neither tokenizer.json nor vocab.json" in fails("chat", directory)


def test_an_interrupt_ends_the_line_and_the_command(directory, capsys, monkeypatch):
    def interrupted(*arguments):
        print("half an ans", end="")
        raise KeyboardInterrupt

    monkeypatch.setattr("minillm.chat.Conversation.answer", interrupted)
    assert main(["chat", str(directory), "--prompt", "x"]) == 130
    captured = capsys.readouterr()
    assert captured.out == "half an ans\n"
    assert captured.err == "minillm: interrupted\n"


def test_a_missing_extra_is_named(fails, tmp_path, monkeypatch):
    def missing(path):
        raise MissingExtra("a quantised GGUF file", "gguf", "gguf")

    monkeypatch.setattr("minillm.chat.GGUF", missing)
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    assert fails("chat", tmp_path / "x.gguf").endswith("needs gguf: pip install 'minillm-numpy[gguf]'\n")
