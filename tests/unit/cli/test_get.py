"""dfget as its callers see it: files, exit statuses, one line, JSON. With a real daemon and a real origin."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dragonfly.testing.origin import Origin, Reply

CODE = "import sys; from dragonfly.cli.main import dfget; sys.argv[0] = 'dfget'; dfget()"
Get = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def get(data_dir: Path, tmp_path: Path) -> Get:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", CODE, *arguments, "--data-dir", str(data_dir)],
            capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False,
        )  # fmt: skip

    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_line_tells_what_came_from_where(get: Get, origin: Origin, content: bytes, tmp_path: Path) -> None:
    done = get(origin.url("/f"), "-o", "out")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.count("\n") == 1
    assert "source 100 %" in done.stderr
    assert (tmp_path / "out").read_bytes() == content
    assert names(tmp_path) == ["out"]


def test_the_name_is_the_urls_and_a_folder_is_gone_into(get: Get, origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert get(origin.url("/f")).returncode == 0
    assert get(origin.url("/f"), "-o", "folder").returncode == 0
    assert (tmp_path / "f").is_file()
    assert (tmp_path / "folder" / "f").is_file()
    assert get(origin.url("/")).returncode == 2


def test_json_tells_all_of_it(get: Get, origin: Origin, content: bytes) -> None:
    done = get(origin.url("/f"), "-o", "out", "--json")
    told = json.loads(done.stdout)
    assert (told["status"], told["path"], told["length"]) == ("done", "out", len(content))
    assert set(told["bytes_from"]) == {"source", "seed", "peers", "cache"}
    assert done.stderr == ""
    failed = get(origin.url("/none"), "-o", "none", "--json")
    told = json.loads(failed.stdout)
    assert (told["status"], told["exit"], told["kind"]) == ("failed", 4, "SourceError")


def test_a_range_gives_just_its_bytes(get: Get, origin: Origin, content: bytes, tmp_path: Path) -> None:
    assert get(origin.url("/f"), "-o", "part", "--range", "100-1099").returncode == 0
    assert (tmp_path / "part").read_bytes() == content[100:1100]
    assert get(origin.url("/f"), "-o", "tail", "--range", "1499990-").returncode == 0
    assert (tmp_path / "tail").read_bytes() == content[1499990:]
    assert get(origin.url("/f"), "-o", "none", "--range", "2000000-3000000").returncode == 2
    assert names(tmp_path) == ["part", "tail"]


def test_the_line_of_a_range_tells_its_size(get: Get, origin: Origin) -> None:
    assert "1 kB of 1.5 MB" in get(origin.url("/f"), "-o", "part", "--range", "0-999").stderr


def test_standard_output_gets_the_bytes_and_nothing_else(
    data_dir: Path, origin: Origin, content: bytes, tmp_path: Path
) -> None:
    for path, name in (("/f", "-"), ("/chunked", "-"), ("/f", "/dev/stdout")):
        with (tmp_path / "taken").open("wb") as out:
            done = subprocess.run(
                [sys.executable, "-c", CODE, origin.url(path), "-o", name, "--data-dir", str(data_dir)],
                stdout=out, stderr=subprocess.PIPE, text=True, timeout=60, cwd=tmp_path, check=False,
            )  # fmt: skip
        assert (done.returncode, done.stderr.count("\n")) == (0, 1)
        assert (tmp_path / "taken").read_bytes() == content
    assert names(tmp_path) == ["taken"]


def test_standard_output_is_for_one_file_alone(get: Get, origin: Origin) -> None:
    assert get(origin.url("/f"), "-o", "-", "--json").returncode == 2
    assert get(origin.url("/"), "-o", "-", "-r").returncode == 2


def test_letters_of_any_language_and_spaces_in_a_url(get: Get, origin: Origin, content: bytes, tmp_path: Path) -> None:
    origin.serve("/gr%C3%B6%C3%9Fe%20a", content)
    assert get(origin.url("/größe a")).returncode == 0
    assert (tmp_path / "größe a").read_bytes() == content


def test_what_a_server_says_does_not_steer_the_terminal(get: Get, origin: Origin) -> None:
    raw = b"HTTP/1.1 404 \x1b]0;title\x07\x1b[31mred\r\nContent-Length: 0\r\n\r\n"
    origin.decide("/evil", lambda _: Reply(raw=raw))
    done = get(origin.url("/evil"), "-o", "out")
    assert done.returncode == 4
    assert "404" in done.stderr
    assert "\x1b" not in done.stderr
    assert "\x07" not in done.stderr


def test_files_of_this_machine_are_read_with_ones_own_rights(get: Get, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "in" / "s").mkdir(parents=True)
    (tmp_path / "in" / "a").write_bytes(content)
    (tmp_path / "in" / "s" / "b c").write_bytes(content[:5])
    assert get(f"file://{tmp_path}/in", "-r", "-o", "out").returncode == 0
    assert (tmp_path / "out" / "a").read_bytes() == content
    assert (tmp_path / "out" / "s" / "b c").read_bytes() == content[:5]
    assert get(f"file://{tmp_path}/in/a", "-o", "part", "--range", "5-9").returncode == 0
    assert (tmp_path / "part").read_bytes() == content[5:10]
    assert get(f"file://{tmp_path}/in/a", "-o", "part", "--digest", "sha256:" + "0" * 64).returncode == 3
    assert get(f"file://{tmp_path}/none", "-o", "part").returncode == 4


def test_other_content_than_the_digest_says(get: Get, origin: Origin, tmp_path: Path) -> None:
    for path in ("/f", "/chunked"):
        assert get(origin.url(path), "-o", "out", "--digest", "sha256:" + "0" * 64).returncode == 3
    assert names(tmp_path) == []


def test_a_refusal_says_its_status_and_no_secret(get: Get, origin: Origin, tmp_path: Path) -> None:
    done = get(origin.url("/none?sig=hidden"), "-o", "out", "-H", "Authorization: Bearer hidden")
    assert done.returncode == 4
    assert "404" in done.stderr
    assert "hidden" not in done.stderr
    assert names(tmp_path) == []


def test_a_limit_holds(get: Get, origin: Origin) -> None:
    done = get(origin.url("/f"), "-o", "out", "--limit-rate", "1M", "--json")
    told = json.loads(done.stdout)
    assert told["seconds"] >= 1.0
    assert told["bound"] == "limit"


def test_what_takes_too_long_is_given_up(get: Get, origin: Origin, tmp_path: Path) -> None:
    done = get(origin.url("/f"), "-o", "out", "--limit-rate", "50K", "--timeout", "500ms")
    assert done.returncode == 1
    assert "--timeout" in done.stderr
    assert names(tmp_path) == []


def test_all_below_a_page_though_one_is_gone(get: Get, origin: Origin, content: bytes, tmp_path: Path) -> None:
    page = b'<a href="../f">up</a><a href="a">a</a><a href="gone">g</a><a href="..%2fx">x</a><a href="s/">s</a>'
    origin.serve("/d/", page, headers={"Content-Type": "text/html"})
    origin.serve("/d/s/", b'<a href="b">b</a>', headers={"Content-Type": "text/html"})
    origin.serve("/d/a", content[:1000])
    origin.serve("/d/s/b", content[:2000])
    done = get(origin.url("/d/"), "-r", "-o", "all")
    assert done.returncode == 4
    assert "2 of 3 files" in done.stderr
    assert (tmp_path / "all" / "a").read_bytes() == content[:1000]
    assert (tmp_path / "all" / "s" / "b").read_bytes() == content[:2000]
    assert names(tmp_path / "all") == ["a", "s"]
    assert names(tmp_path) == ["all"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("recursive", [False, True])
def test_an_interruption_ends_it_at_once(
    data_dir: Path, origin: Origin, tmp_path: Path, number: signal.Signals, recursive: bool
) -> None:
    origin.serve("/d/", b"".join(b'<a href="%d">x</a>' % i for i in range(9)), headers={"Content-Type": "text/html"})
    for i in range(9):
        origin.serve(f"/d/{i}", bytes(500_000))
    what = [origin.url("/d/"), "-r"] if recursive else [origin.url("/d/0")]
    limit = ["--limit-rate", "20K", "--tag", f"{number}{recursive}", "--data-dir", str(data_dir), "-o", "out"]
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, *what, *limit], stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    end = time.monotonic() + 30
    while not any(tmp_path.rglob("*.part")):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=5)
    assert process.returncode == 130
    assert errors.count("\n") == 1
    assert "interrupted" in errors
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
