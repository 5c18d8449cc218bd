"""The riddles on the laptop: each shows in the figures that prove it, and without it nothing proves its answer."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import yaml

from lessons.runner import command as lessons_command
from lessons.runner import lesson as lessons
from lessons.runner.locate import find_place
from lessons.runner.place import UnsuitableError
from riddles.runner import beside, command, riddle, state, words
from riddles.runner.riddle import Riddle
from riddles.runner.words import Verdict, judge
from tests.local_mesh import Mesh, make
from tests.support import ROOT

# Sleeping services are awaited.
ALL = [replace(one, truth=replace(one.truth, sleep=min(one.truth.sleep, 1))) for one in riddle.every()]
FIRST, SECOND = ALL[1], ALL[2]
(BESIDE,) = (one for one in ALL if one.truth.beside)


@pytest.fixture
def mesh(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mesh]:
    """The run, as it was started; commands in this process find it."""
    monkeypatch.chdir(mesh.directory)
    monkeypatch.setattr(riddle, "every", lambda: ALL)
    state.write(state.Memory())
    yield mesh
    command.put_back(find_place())


def play(*arguments: str) -> int:
    """Do what `make riddle` does with such arguments."""
    settings = dict(argument.split("=", 1) for argument in arguments)
    return lessons_command.carry_out("make riddle", lambda: command.play(settings), command.RESET)


@pytest.mark.parametrize("one", [one for one in ALL if one is not BESIDE], ids=lambda one: one.name)
def test_a_fault_shows_in_the_figures_and_without_it_nothing_does(
    mesh: Mesh, one: Riddle, capsys: pytest.CaptureFixture[str]
) -> None:
    before = mesh.configuration()
    assert not command.holds(find_place(), one, with_change=False)
    capsys.readouterr()
    assert play(f"N={one.number}") == 0
    assert_begins_without_the_truth(one, capsys.readouterr().out)
    assert play(f"ANSWER={one.truth.wrong[0]}") == 0
    assert not re.search("^Right", capsys.readouterr().out)
    assert play(f"ANSWER={one.truth.right[0]}") == 0
    assert_is_solved(one, capsys.readouterr().out, hints=0)
    if len(one.truth.findings) == 2:
        # The counters name no fault.
        stats = httpx.get(f"http://127.0.0.1:{mesh.ports['ENVOY_ADMIN_PORT']}/stats", trust_env=False).text
        assert "cluster.rule.upstream_rq_502: " in stats
        assert not re.findall(r".*(?:riddle|\bfault\b).*", stats)
    assert command.reset() == 0
    assert mesh.configuration() == before


def assert_begins_without_the_truth(one: Riddle, said: str) -> None:
    assert not [text for text in one.truth.kind.values() if text in said]
    assert one.truth.lesson not in said
    assert all(one.complaint[language][:10] in said for language in ("en", "zh"))
    assert max(map(len, said.splitlines())) < 80


def assert_is_solved(one: Riddle, said: str, *, hints: int) -> None:
    assert said.startswith("Right:\n")
    assert "  ok     " in said
    assert "FAILED" not in said, said
    assert re.search(rf"To paste: {one.name} \(laptop\): solved in \d minutes?, {hints} hints, 2 answers\n", said)
    assert one.truth.lesson in said


def test_the_commands_of_a_riddle(mesh: Mesh, capsys: pytest.CaptureFixture[str]) -> None:
    """By the riddle that works beside the services."""
    before = mesh.configuration()
    assert not command.holds(find_place(), BESIDE, with_change=False)
    # What works beside the services keeps no reader of the output waiting.
    begun = make(mesh.directory, "riddle", f"N={BESIDE.number}")
    assert begun.returncode == 0, begun.stderr
    assert not beside.has_ended()
    assert_begins_without_the_truth(BESIDE, begun.stdout)
    # Nothing names the fault: neither the status, nor the page's header, nor a process.
    status = make(mesh.directory, "status").stdout
    assert f"the riddle that is on: {BESIDE.name} (`make riddle` repeats" in status
    assert "v1 50 %\n  v2 50 %" in status
    capsys.readouterr()
    play()
    assert f"Riddle {BESIDE.number} is on, for " in capsys.readouterr().out
    play(f"ANSWER={BESIDE.truth.wrong[0]}")
    assert capsys.readouterr().out.endswith(" `make riddle HINT=1` gives a hint, which counts.\n")
    for expected in ("Hint 1 of 3:", "Hint 2 of 3:", "Hint 3 of 3:", "There are only 3 hints"):
        play("HINT=1")
        assert capsys.readouterr().out.startswith(expected)
    solved = make(mesh.directory, "riddle", f'ANSWER=it\'s "{BESIDE.truth.right[0]}"!').stdout
    assert_is_solved(BESIDE, solved, hints=3)
    for said in (f"Riddle {BESIDE.number} is over", "No riddle was on."):
        command.reset()
        assert said in capsys.readouterr().out
        assert beside.has_ended()
        assert mesh.configuration() == before


def test_the_sidecars_keep_the_counters_that_hints_name() -> None:
    kept: list[str] = []
    for service in ("todolist", "rule"):
        documents = yaml.safe_load_all((ROOT / f"deploy/istio/{service}.yaml").read_text(encoding="utf-8"))
        (workload,) = (item for item in documents if item["kind"] == "Deployment")
        config = yaml.safe_load(workload["spec"]["template"]["metadata"]["annotations"]["proxy.istio.io/config"])
        kept += config["proxyStatsMatcher"]["inclusionRegexps"]
    for one in ALL:
        hints = " ".join(hint["en"] for hint in one.truth.hints) if "istio" in one.truth.places else ""
        for name in re.findall(r"upstream_\w+_\w*[a-z\d]|outlier_detection|jwt_authn\.denied", hints):
            counter = {"o": f"cluster.outbound.x.{name}.ejections_active", "j": f"http.inbound_0.0.0.0_3001;.{name}"}
            wanted = counter.get(name[0], f"cluster.outbound|80||{name}")
            assert any(re.fullmatch(pattern, wanted) for pattern in kept), (one.name, name)


def test_what_cannot_be_done_is_a_sentence(mesh: Mesh, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str) -> str:
        assert play(*arguments) == 1
        return capsys.readouterr().err

    assert said("N=99") == f"There is no riddle 99: they have the numbers 1 to {len(ALL)}\n"
    assert said("ANSWER=user v2").startswith("No riddle is on (it also ends with `make run`)")
    assert said("HINT=1").startswith("No riddle is on")
    assert said("HINT=abc") == "HINT is abc: it can be 1, or unset; each HINT=1 gives the next one\n"
    assert said("N=1", "REVEAL=yes") == "REVEAL is yes: it can be 1, or unset\n"
    find_place().apply(lessons.every()[0])
    assert said().startswith("Lesson 01-split is on: `make lesson-reset` ends it")
    find_place().reset()
    play(f"N={FIRST.number}")
    assert said(f"N={SECOND.number}").startswith(f"Riddle {FIRST.number} is on: answer it, or end it")
    assert said(f"N={SECOND.number}", "HINT=1") == f"Riddle {FIRST.number} is on, not {SECOND.number}\n"
    assert said("ANSWER= ").startswith("The answer is empty")
    assert said("HINT=1", "REVEAL=1").startswith("HINT and REVEAL at once")
    assert lessons_command.main("start", "1") == 1
    assert capsys.readouterr().err.startswith(f"Riddle {FIRST.number} is on: `make riddle-reset` ends it")
    with lessons_command.alone("make riddle"):
        assert said().startswith("`make riddle` is at work in another terminal")


def test_one_that_was_not_solved_comes_next(mesh: Mesh, capsys: pytest.CaptureFixture[str]) -> None:
    here = [one.name for one in ALL if "laptop" in one.truth.places]
    state.write(state.Memory(solved=[name for name in here if name != SECOND.name]))
    play()
    assert f"Riddle {SECOND.number}, on" in capsys.readouterr().out
    # Who gives up has not solved it.
    play("REVEAL=1")
    output = capsys.readouterr().out
    assert "FAILED" not in output
    assert re.search(rf"{SECOND.name} \(laptop\): revealed after \d minutes?, 0 hints\n", output)
    play()
    output = capsys.readouterr().out
    assert f"Riddle {SECOND.number} is over, and everything is put back first." in output
    assert f"Riddle {SECOND.number}, on" in output
    command.reset()
    state.write(state.Memory(solved=here))
    assert play() == 1
    assert "riddles are solved here. `make riddle N=1` begins one again" in capsys.readouterr().err


def test_a_riddle_that_is_not_there_says_which_are(mesh: Mesh) -> None:
    place = find_place()
    place.name = "knative"
    one = next(one for one in ALL if place.name not in one.truth.places)
    there = ", ".join(str(other.number) for other in ALL if place.name in other.truth.places)
    with pytest.raises(UnsuitableError, match=f"is not there for Knative. These are: {there}$"):
        command.begin(place, one, None)


DENIED = "case $1 in config) echo prod ;; version) : ;; *) echo 'error: Unauthorized' >&2; exit 1 ;; esac"


@pytest.mark.parametrize(
    ("kubectl", "said"),
    [
        (None, ["Nothing runs here: `make run` starts the application"]),
        ("", ["`make run` is not on in this folder", "kubectl is missing: https://"]),
        (DENIED, ["`make run` is not on in this folder", "kubectl may not talk to the cluster of context prod"]),
    ],
    ids=["nothing", "no kubectl", "denied"],
)
def test_where_nothing_runs_it_says_what_is_missing(
    kubectl: str | None, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """kubectl: a program in its place, "" for none; None where it is not configured either."""
    config, program = tmp_path / "config", tmp_path / "kubectl"
    if kubectl is not None:
        config.touch()
    if kubectl:
        program.write_text(f"#!/bin/sh\n{kubectl}\n")
        program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(config))
    monkeypatch.delenv("CONTEXT", raising=False)
    assert play() == 1
    lines = capsys.readouterr().err.splitlines()
    assert all(any(line.startswith(expected) for line in lines) for expected in said)
    lessons_command.main("list")
    assert said[-1] in capsys.readouterr().out


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_an_answer_is_judged_by_what_it_says(one: Riddle) -> None:
    findings = one.truth.findings
    for text in one.truth.right:
        for form in (text, text.upper(), f"  {text}. ", f"I think: {text}!"):
            assert judge(form, findings) is Verdict.RIGHT, form
    others = [text for other in ALL if other is not one for text in other.truth.right]
    for text in (*one.truth.wrong, *others):
        assert judge(text, findings) is not Verdict.RIGHT, text
    # Whoever names everything names nothing.
    forms = (form for both in words.CONCEPTS_IN_WORDS.values() for form in " ".join(both).split())
    every_word = [form.replace("_", " ").replace("*", "") for form in forms]
    for listed in (every_word, every_word[::-1]):
        for glue in (" ", ", ", " and ", ". "):
            assert judge(glue.join(listed), findings) is not Verdict.RIGHT


def test_an_answer_that_lacks_something_is_told_so() -> None:
    needs_cause = next(one for one in ALL if judge("user v2 fails", one.truth.findings) is Verdict.SYMPTOM)
    assert judge("hello", needs_cause.truth.findings) is Verdict.UNCLEAR
    two = next(one for one in ALL if len(one.truth.findings) == 2)
    half = two.truth.wrong[0]
    assert judge(half, two.truth.findings) is Verdict.PARTLY


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_a_folder_is_complete_and_says_nothing(one: Riddle) -> None:
    truth = one.truth
    assert lessons.find(truth.lesson).name == truth.lesson
    for text in (truth.kind, truth.truth, truth.mends, one.complaint, *truth.hints):
        assert all(text[language].strip() for language in ("en", "zh"))
    for name in ("complaint.txt", "complaint.zh-CN.txt"):
        # A complaint is not an answer.
        assert judge((one.folder / name).read_text(), truth.findings) is not Verdict.RIGHT, name
    files = {"laptop": "envoy", "istio": "istio", "ambient": "ambient", "knative": "knative"}
    there = {place for place, file in files.items() if (one.folder / f"{file}.yaml").exists()}
    assert there == {place for place in truth.places if place != "laptop" or not (truth.sleep or truth.beside)}
    for path in one.folder.glob("*.yaml"):
        text = path.read_text()
        assert re.findall(r"#.*", text) == [text.partition("\n")[0]]
        assert text.startswith(f"# Riddle {one.number} ")
        for wanted in truth.made_by[path.stem]:
            assert command.block(text.splitlines(), wanted)
        if path.stem == "envoy":
            # What is new has a name that says nothing.
            names = set(re.findall(r"^    name: (\S+)$|stat_prefix: (\S+)", text, re.MULTILINE))
            ours = {name for pair in names for name in pair if name}
            known = {one.name, "user", "rule", "user-v1", "user-v2", "ingress"}
            assert {re.sub("-[ab]$", "", name) for name in ours} <= known
            continue
        for item in yaml.safe_load_all(text):
            if item["apiVersion"].startswith("serving.knative.dev/"):
                continue
            assert item["metadata"]["labels"] == {"lesson": one.name}
            assert re.sub("-[ab]$", "", item["metadata"]["name"]) in (one.name, "user", "rule")


def test_no_search_finds_the_truth() -> None:
    kinds = "|".join(one.truth.kind["en"] for one in ALL)
    found = subprocess.run(["grep", "-rlE", kinds, str(riddle.FOLDER)], capture_output=True, text=True, check=False)
    assert found.stdout == ""


def test_a_truth_can_be_changed_and_sealed_again() -> None:
    text = riddle.unseal((FIRST.folder / riddle.SEALED).read_text())
    assert riddle.parse(text) == FIRST.truth
    assert riddle.unseal(riddle.seal(text)) == text
    with pytest.raises(TypeError):
        riddle.parse(f"{text}\nunknown: 1\n")
