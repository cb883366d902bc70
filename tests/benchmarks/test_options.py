import pytest

from benchmarks.options import TABLE, names, parse


def test_every_module_with_a_main_is_an_entry():
    known = names()
    assert set(TABLE) <= set(known)
    assert {"families", "fit", "sweep"} <= set(known)
    assert known["import"] == "benchmarks.import_"
    assert not {"rounds", "shapes", "__main__", "child"} & set(known)


def test_no_name_means_the_table():
    options = parse([])
    assert options.names == list(TABLE)
    assert options.threads == [1]


def test_lists_are_written_with_commas():
    options = parse(["train", "hot", "--threads", "1,2", "--shapes", "micro,tiny", "--peers", "eager"])
    assert (options.names, options.threads, options.shapes, options.peers) == (["train", "hot"], [1, 2], ["micro", "tiny"], ["eager"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["trian"], "there is no entry 'trian'; there are "), (["train", "--threads", "0"], "0"), (["train", "--threads", "x"], "x")],
)
def test_a_wrong_word_is_an_error_of_status_2(capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        parse(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
