"""Runs of both kinds can be trusted: stopped at any moment, in any way, and resumed, they end with the bits of one that never stopped."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from minillm import checkpoint, resumable_run, threads, training
from minillm.errors import CheckpointError, NonFiniteError, RunDirectoryError
from minillm.fit_config import FitConfig
from minillm.run import Run, resume_run
from minillm.text_run import TextRun, read_corpus, resume_text_run
from minillm.train_config import TrainConfig

TEXT = "she sells sea shells by the sea shore\nthe shells she sells are sea shells\n" * 20
FIT = FitConfig(
    seed=5, n_layer=2, n_head=2, n_embd=16, n_positions=12, resid_pdrop=0.1, embd_pdrop=0.1, attn_pdrop=0.1, steps=24, batch_size=4,
    gradient_accumulation_steps=2, lr=1e-2, warmup_steps=5, eval_every=8, eval_batches=2, sample_length=10,
)  # fmt: skip
TRAIN = TrainConfig(  # with values, a reference policy and coefficients: all that a run can have
    env="text/bandit-2-2", seed=3, n_embd=16, n_head=2, collect_episodes=32, fit_steps=10, fit_batch_size=8, improve_steps=12,
    improve_episodes=16, improve_lr=1e-2, estimator="gae+kl_k3_loss_token", epochs=2, save_coefficients=True,
)  # fmt: skip
CONFIGS = {"fit": FIT, "train": TRAIN}
TOTAL = {"fit": 24, "train": 22}
kinds = pytest.mark.parametrize("kind", list(CONFIGS))


def start(directory, kind, **changes):
    config = dataclasses.replace(CONFIGS[kind], **changes)
    if kind == "train":
        run = Run(config, directory, quiet=True)
    else:
        text = directory.with_suffix(".txt")
        text.write_text(TEXT)
        run = TextRun(config, read_corpus([text], config), directory, quiet=True, texts=[text])
    checkpoint.prepare_directory(directory, config=run.settings())
    return run


def resume(directory, kind, **given):
    run = resume_run(directory, given) if kind == "train" else resume_text_run(directory, [], given)
    run.quiet = True
    return run


def bits(directory):
    """All that must be equal: parameters, moments, every line of every journal, the summary; but the clock, and where the texts are."""
    arrays = {}
    for path in directory.glob("*.npz"):
        with np.load(path) as file:
            arrays |= {f"{path.name}/{key}": file[key].tobytes() for key in file.files if key != "meta"}
            facts = json.loads(str(file["meta"]))["facts"]
        arrays[path.name] = {name: facts.get(name) for name in ("step", "random", "curve", "best", "episodes", "skipped")}
    metrics = [dict(json.loads(line), seconds=0) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    rest = {path.name: path.read_bytes() for path in directory.glob("*.jsonl") if path.name != "metrics.jsonl"}
    summary = json.loads((directory / "summary.json").read_text())
    return arrays, metrics, rest, dict(summary, seconds=0, seconds_of=0)


@pytest.fixture(autouse=True)
def every_step_is_saved(request, monkeypatch):
    monkeypatch.setattr(resumable_run, "SHARE", 1e9)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Finished runs, of each kind one, that were never stopped; and their bits."""
    runs = {kind: start(tmp_path_factory.mktemp("whole") / "run", kind) for kind in CONFIGS}
    for run in runs.values():
        run.execute()
    return {kind: (run.directory, bits(run.directory)) for kind, run in runs.items()}


# ---- stopping


@kinds
@pytest.mark.parametrize("stop", [0, 8, 10, 11, 22])
def test_ctrl_c_finishes_the_step_saves_and_resumed_has_the_bits_of_not_stopping(whole, tmp_path, monkeypatch, kind, stop):
    run = start(tmp_path / "run", kind)
    pause = run.pause

    def interrupt():
        if run.step == stop:
            os.kill(os.getpid(), signal.SIGINT)
        pause()

    monkeypatch.setattr(run, "pause", interrupt)
    monkeypatch.setattr(resumable_run, "SHARE", 0)  # saved because it was asked to, not because it was due
    stop = stop or 1 - (kind == "train")  # only train has a pause before the first step
    with pytest.raises(KeyboardInterrupt, match=f"after step {stop}; minillm {kind} --resume .* goes on"):
        run.execute()
    again = resume(run.directory, kind)
    assert again.step == stop
    again.execute()
    assert bits(run.directory) == whole[kind][1]


@kinds
def test_a_run_that_is_done_is_done_again_by_resuming(whole, kind):
    directory, before = whole[kind]
    checkpoint_before = (directory / "checkpoint.npz").read_bytes()
    summary = json.loads((directory / "summary.json").read_text())
    assert resume(directory, kind).execute() == summary
    assert bits(directory) == before
    assert (directory / "checkpoint.npz").read_bytes() == checkpoint_before


@kinds
def test_a_run_without_a_checkpoint_starts_at_its_beginning(whole, tmp_path, kind):
    run = start(tmp_path / "run", kind)
    (run.directory / "metrics.jsonl").write_text('{"step": 0, "half')
    resume(run.directory, kind).execute()
    assert bits(run.directory) == whole[kind][1]


KILLER = """
import os, random, shutil, signal, sys, time
from pathlib import Path
from minillm import resumable_run
from minillm.run import resume_run
from minillm.text_run import resume_text_run

kind, directory, kills, seconds = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
resumable_run.SHARE = 1e9

def work():
    run = resume_run(directory, {}) if kind == "train" else resume_text_run(directory, [], {})
    run.quiet = True
    run.execute()

random.seed(kills)
whole = 0
while kills:
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    time.sleep(random.uniform(0, seconds))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        kills -= 1
    else:
        assert status == 0
        directory.rename(directory.with_name(f"done-{whole}"))
        whole += 1
        directory.mkdir()
        shutil.copy(directory.with_name(f"done-{whole - 1}") / "config.json", directory)
work()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@kinds
@pytest.mark.parametrize("kills", [4, pytest.param(100, marks=pytest.mark.slow)])
def test_kill_9_at_random_moments_and_resumed_has_the_bits_of_not_stopping(whole, tmp_path, kind, kills):
    """A run that gets through between two kills starts over; each of them is compared."""
    directory, expected = whole[kind]
    run = start(tmp_path / "run", kind)
    seconds = json.loads((directory / "summary.json").read_text())["seconds"]
    arguments = [kind, str(run.directory), str(kills), str(seconds)]
    subprocess.run([sys.executable, "-c", KILLER, *arguments], capture_output=True, text=True, check=True)
    ended = [run.directory, *tmp_path.glob("done-*")]
    for one in ended:
        assert bits(one) == expected
        assert not list(one.glob("*.tmp"))


# ---- the disk


@kinds
@pytest.mark.parametrize("good", [3, 10, 25, 26, 27])
def test_a_full_disk_loses_nothing(whole, tmp_path, monkeypatch, kind, good):
    """The disk is full after so many files were synced: whichever it is, of journals, best model and checkpoint."""
    run = start(tmp_path / "run", kind)
    sync, left = os.fsync, [good]

    def full(file):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        sync(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunDirectoryError, match=r"cannot write .*: No space left on device$"):
        run.execute()
    monkeypatch.setattr(os, "fsync", sync)
    assert not list(run.directory.glob("*.tmp"))
    resume(run.directory, kind).execute()
    assert bits(run.directory) == whole[kind][1]


@pytest.mark.skipif(os.name != "posix", reason="syncs directories")
@kinds
def test_a_checkpoint_is_synced_after_the_journals_then_renamed_then_its_directory_is_synced(tmp_path, monkeypatch, kind):
    """Against a power cut: nothing is on the disk but what was synced, in this order."""
    run, done = start(tmp_path / "run", kind), []
    sync, replace = os.fsync, os.replace

    def syncs(file):
        names = {path.stat().st_ino: path.name for path in [run.directory, *run.directory.iterdir()]}
        done.append(("sync", names[os.fstat(file).st_ino]))
        sync(file)

    def renames(old, new):
        done.append(("rename", new.name))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", syncs)
    monkeypatch.setattr(os, "replace", renames)
    run.save = lambda save=run.save: (done.append(("save",)), save())
    run.execute()
    each = "".join("\n" * (entry == ("save",)) + " ".join(entry) + "; " for entry in done).splitlines()[1:]
    journals = "".join(f"sync {name}; " for name in run.journals)
    expected = f"save; {journals}sync checkpoint.npz.{os.getpid()}.tmp; rename checkpoint.npz; sync run; "
    assert len(each) > TOTAL[kind]
    assert all(line.startswith(expected) for line in each)


TMPFS = """
set -e
mount -t tmpfs -o size=$SIZE tmpfs $DIR
{python} -m minillm train text/bandit-2-2 --out $DIR/run --n-embd 16 --n-head 2 --collect-episodes 32 --fit-steps 10 \
    --improve-steps 60 --improve-episodes 64 && exit 9 || test $? = 2
ls $DIR/run
mount -o remount,ro $DIR
{python} -m minillm train --resume $DIR/run && exit 8 || test $? = 2
mount -o remount,rw,size=100m $DIR
{python} -m minillm train --resume $DIR/run
cp -r $DIR/run $DIR.copy
"""


def may_mount():
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return shutil.which("unshare") and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="needs the right to mount a small file system")
def test_a_full_file_system_and_a_read_only_one_lose_nothing(tmp_path):
    """On a real file system, by the command line: full in the middle, then read-only, then with space."""
    folder = tmp_path / "small"
    folder.mkdir()
    script = TMPFS.format(python=sys.executable)
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, env=os.environ | {"DIR": str(folder), "SIZE": "700k"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("minillm: cannot")]
    assert [line.rpartition(": ")[2] for line in errors] == ["No space left on device", "Read-only file system"]
    assert "Traceback" not in done.stderr
    config = TrainConfig(
        env="text/bandit-2-2", n_embd=16, n_head=2, collect_episodes=32, fit_steps=10, improve_steps=60, improve_episodes=64
    )
    run = Run(config, checkpoint.prepare_directory(tmp_path / "other"), quiet=True)
    run.execute()
    assert bits(run.directory) == bits(tmp_path / "small.copy")


@kinds
def test_half_written_files_of_a_killed_process_are_cut_off_and_removed(whole, tmp_path, kind):
    """What a kill leaves: files that were not renamed yet, and journals that are ahead of the checkpoint."""
    run = start(tmp_path / "run", kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "landmark", lambda progress, landmark=run.landmark: (landmark(progress), 1 / (run.step != 7)))
        with pytest.raises(ZeroDivisionError):
            run.execute()
    for name in run.journals:
        with (run.directory / name).open("a") as file:
            file.write('{"step": 7, "loss"')
    (run.directory / "checkpoint.npz.17.tmp").write_bytes(b"PK half")
    again = resume(run.directory, kind)
    assert again.step == 6
    again.execute()
    assert bits(run.directory) == whole[kind][1]
    assert not list(run.directory.glob("*.tmp"))


@kinds
def test_a_journal_that_was_changed_or_is_gone_is_said(whole, tmp_path, kind):
    shutil.copytree(whole[kind][0], tmp_path / "run")
    path = tmp_path / "run" / "metrics.jsonl"
    for damaged in (path.read_bytes()[:-1], b"{" + path.read_bytes()[:-1], b""):
        path.write_bytes(damaged)
        run = resume(tmp_path / "run", kind)
        with pytest.raises(RunDirectoryError, match=r"metrics\.jsonl is not as its run wrote it"):
            run.execute()
        assert path.read_bytes() == damaged


# ---- contradictions


@kinds
def test_a_contradicting_option_is_refused_by_name(whole, kind):
    key, value = {"fit": ("lr", 0.5), "train": ("improve_lr", 0.5)}[kind]
    with pytest.raises(RunDirectoryError, match=rf"{key} is 0\.01 in .*config\.json, which 0\.5 contradicts"):
        resume(whole[kind][0], kind, **{key: value, "seed": CONFIGS[kind].seed})
    with pytest.raises(RunDirectoryError, match="does not say nonsense"):
        resume(whole[kind][0], kind, nonsense=1)


@kinds
def test_a_configuration_that_was_edited_after_the_start_is_refused_by_name(whole, tmp_path, kind):
    shutil.copytree(whole[kind][0], tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": 77}))
    with pytest.raises(RunDirectoryError, match=rf"seed is 77 in .*config\.json, which {CONFIGS[kind].seed} contradicts"):
        resume(tmp_path / "run", kind)


@kinds
def test_a_checkpoint_of_something_else_is_said(whole, tmp_path, kind):
    shutil.copytree(whole[kind][0], tmp_path / "run")
    other = {"fit": "train", "train": "fit"}[kind]
    shutil.copy(whole[other][0] / "checkpoint.npz", tmp_path / "run")
    with pytest.raises(RunDirectoryError, match=r"does not say|contradicts"):
        resume(tmp_path / "run", kind)
    run = start(tmp_path / "plain", kind)
    checkpoint.save(run.directory / "checkpoint.npz", run.model, run.tokenizer, run.optimizer, step=1)
    with pytest.raises(CheckpointError, match="not of a run that can go on"):
        resume(run.directory, kind)
    shutil.copy(whole[other][0] / "config.json", run.directory)
    (run.directory / "checkpoint.npz").unlink()
    with pytest.raises(RunDirectoryError, match=r"config\.json does not say \w+; it is of another version or kind of run"):
        resume(run.directory, kind)


@kinds
def test_another_version_of_what_computes_is_said(whole, tmp_path, kind, monkeypatch, capsys):
    shutil.copytree(whole[kind][0], tmp_path / "run")
    resume(tmp_path / "run", kind)
    assert capsys.readouterr().err == ""
    now = resumable_run.machine.facts()
    monkeypatch.setattr(resumable_run.machine, "facts", lambda: now | {"numpy": "99.0", "cores": 99})
    resume(tmp_path / "run", kind)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.endswith(f": numpy is '99.0' and was '{np.__version__}'\n")


# ---- numbers


def poison(monkeypatch, at, value=np.nan):
    """From now on gradients number ``at`` have an entry in the block h.0.mlp.c_fc.weight that is not finite."""
    calls = [0]

    def spoilt(function):
        def wrapped(model, *args, **options):
            found = function(model, *args, **options)
            gradient = found[1] if isinstance(found, tuple) else found
            if calls[0] in at:
                gradient[model.parameters.slices["h.0.mlp.c_fc.weight"]][3] = value
            calls[0] += 1
            return found

        return wrapped

    for name in ("likelihood_gradient", "policy_gradient"):
        monkeypatch.setattr(training, name, spoilt(getattr(training, name)))


@kinds
@pytest.mark.parametrize(("at", "step"), [(5, 5), (10, {"fit": 10, "train": 0}), (15, {"fit": 15, "train": 2})])
def test_what_is_not_finite_stops_with_step_array_and_range_and_the_good_checkpoint_stays(tmp_path, monkeypatch, kind, at, step):
    run = start(tmp_path / "run", kind)
    poison(monkeypatch, {at}, np.inf)
    step = step if isinstance(step, int) else step[kind]
    with pytest.raises(NonFiniteError) as caught:
        run.execute()
    message = str(caught.value).replace(" -inf ", " inf ")  # improve goes uphill
    first = f"the gradient of h.0.mlp.c_fc.weight is inf at index (0, 3) in step {step}: of its 1024 entries 0 are NaN and 1 infinite"
    assert message.startswith(f"{first}, the others from -")
    assert str(caught.value).endswith(f"; {run.directory} keeps its last good checkpoint")
    found = checkpoint.load(run.directory / "checkpoint.npz")
    assert found.facts["step"] == (at if kind == "fit" or at <= 10 else 12)


@kinds
def test_skip_skips_the_update_and_counts(tmp_path, monkeypatch, kind):
    run = start(tmp_path / "run", kind, on_nonfinite="skip")
    poison(monkeypatch, {5, 16})
    summary = run.execute()
    assert summary["skipped"] == 2
    records = [json.loads(line) for line in (run.directory / "metrics.jsonl").read_text().splitlines()]
    assert [record["skipped"] for record in records if "skipped" in record] == [1, 2]
    assert run.step == TOTAL[kind]
    assert checkpoint.load(run.directory / "checkpoint.npz").facts["skipped"] == 2


@kinds
@pytest.mark.parametrize("on_nonfinite", ["stop", "skip"])
def test_a_parameter_that_is_not_finite_stops_the_run_and_is_never_saved(tmp_path, monkeypatch, kind, on_nonfinite):
    run = start(tmp_path / "run", kind, on_nonfinite=on_nonfinite)
    pause = run.pause

    def spoil():
        if run.step == 9:
            run.model.parameters["ln_f.weight"][3] = np.inf
        pause()

    monkeypatch.setattr(run, "pause", spoil)
    with pytest.raises(NonFiniteError, match=r"the parameter of ln_f.weight is inf at index \(3,\) in step 9: of its 16 entries"):
        run.execute()
    assert checkpoint.load(run.directory / "checkpoint.npz").facts["step"] == 8


@kinds
def test_an_update_that_meets_a_parameter_that_is_not_finite_is_not_skipped(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(resumable_run, "SHARE", 0)
    run = start(tmp_path / "run", kind, on_nonfinite="skip")
    gradient = training.likelihood_gradient

    def spoil(model, *args, **options):
        if run.step == 5:
            run.model.parameters["ln_f.weight"][3] = np.inf
        return gradient(model, *args, **options)

    monkeypatch.setattr(training, "likelihood_gradient", spoil)
    with pytest.raises(NonFiniteError, match=r"the parameter of ln_f.weight is inf at index \(3,\) in step 5: of its 16 entries"):
        run.execute()
    assert run.skipped == 0


# ---- the machine


@kinds
@pytest.mark.parametrize(("cores", "blas"), [(1, 1), (1, 2), (2, 2), (3, 1)])
def test_the_bits_are_the_same_for_any_number_of_threads(whole, tmp_path, monkeypatch, kind, cores, blas):
    get, put, _ = threads._openblas()
    if get is None:
        pytest.skip("NumPy without OpenBLAS")
    before = get()
    monkeypatch.setattr(threads, "_cores", lambda: cores)
    run = start(tmp_path / "run", kind)
    try:
        put(blas)
        run.execute()
    finally:
        put(before)
    assert bits(run.directory) == whole[kind][1]


@kinds
def test_the_summary_and_the_checkpoint_say_what_may_change_the_bits(whole, kind):
    directory, _ = whole[kind]
    known = json.loads((directory / "summary.json").read_text())["machine"]
    assert known["numpy"] == np.__version__
    assert set(known) >= {"minillm", "python", "scipy", "blas", "blas_core", "simd", "libc", "machine", "cores"}
    assert checkpoint.load(directory / "checkpoint.npz").facts["machine"] == known


# ---- how often


@kinds
def test_saving_takes_at_most_a_hundredth_of_the_time(tmp_path, monkeypatch, kind):
    """A checkpoint is due when the work since the last one took a hundred times as long: by a clock on which saving takes 1 s."""
    monkeypatch.setattr(resumable_run, "SHARE", 0.01)
    now, saved = [0.0], []
    monkeypatch.setattr(resumable_run.time, "perf_counter", lambda: now.__setitem__(0, now[0] + 1e-6) or now[0])
    run = start(tmp_path / "run", kind, **({"eval_every": 1000} if kind == "fit" else {}))
    save = checkpoint.save

    def slow(path, *args, **facts):
        save(path, *args, **facts)
        if path.name == "checkpoint.npz":
            now[0] += 1
            saved.append(facts["step"])

    monkeypatch.setattr(checkpoint, "save", slow)
    landmark = run.landmark

    def work(progress):
        landmark(progress)
        now[0] += 40

    monkeypatch.setattr(run, "landmark", work)
    run.execute()
    assert saved == [0, *range(3, TOTAL[kind], 3), TOTAL[kind]]
