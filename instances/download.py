"""Fetch assignment problems of the OR-Library for a bench; needs a network.

    python instances/download.py [NAME ...] [--to FOLDER] [--base-url URL]

The files are J. E. Beasley's and stay outside this repository (`--to` is ignored
by git where it is not changed). Where the SHA-256 of a file is known here, other
content is refused. A list of senses is written beside the files, so that

    alignsolve bench instances/orlib

knows that gap1-12 are to be maximised and gapa-d minimised.

References
----------
J. E. Beasley, "OR-Library: distributing test problems by electronic mail",
Journal of the Operational Research Society 41, 1990, doi:10.1057/jors.1990.166
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import urllib.request
from pathlib import Path

BASE_URL = "https://people.brunel.ac.uk/~mastjjb/jeb/orlib/files"

#: Where the files go: beside this script.
FOLDER = Path(__file__).resolve().parent / "orlib"

#: No file of the library is near this size, in bytes.
LARGEST = 32 * 2**20

TIMEOUT_SECONDS = 60

#: Name -> SHA-256 of the file, or None where it is not known here.
FILES: dict[str, str | None] = {
    "gap1.txt": "a0a4b9b8cd5a03c32a6dd7f6e128e57e4bec3f4eac50250a3157b8bfc61c1e38",
    "gap2.txt": "134d965c89392aa2257efe15d1345af5eb2e863cddd92f6d34eccd4264f02976",
    "gap3.txt": "8354a339182bcab18d7839ae6a411f885c180782a97720c51fdf0fe8edd734f0",
    "gap4.txt": "a6b32e58b671f40c1f7a34c19a1fabfcb2485b7840d6c10df47845ae4c841499",
    "gap5.txt": "09d4e9bea659ea7410685a0e4f3ad5100bf9622aa9d627037b64ba9241ae6eb4",
    "gap6.txt": "c30e35b296c26df6da0cc4e827193e3874fe49d9fe4491bbfb14af8ce112b2f9",
    **{f"gap{number}.txt": None for number in range(7, 13)},
    "gapa.txt": "cc6b50abf72f2862bb8b3fdc928372102f12b3ab4a15da2ec9a0beabba2dad30",
    "gapb.txt": "67f8374979cef7767109108a48fb0a60d310d15cde0fbdae38d543be17255f60",
    "gapc.txt": None,
    "gapd.txt": None,
    "assign100.txt": "bdfe42b2fae67790aa4b42c43ad3899ad537f71bb104513c0bd97b8945985be6",
    "assign200.txt": "55e100948dafe1bf030b8517e1a74285aebcf536f1146a9e9ad78216c416f17e",
    "assign300.txt": "d51cae20078a3792ba8a9562be1d3dbcf474147864fc09163268a80f972c42b6",
    "assign400.txt": "9620f0e850153c0dec7e1ddd9641bcdc35c401c618e173403ad44acd64ba9274",
    **{f"assign{size}.txt": None for size in (500, 600, 700, 800)},
    "assignp800.txt": "fdfcd7f73c411ab29364e2a290e2c61822e1bb5ff45c3631e732cd5ceaa4c7b4",
    **{f"assignp{size}.txt": None for size in (1500, 3000, 5000)},
}


def main(arguments: list[str] | None = None) -> int:
    """Fetch the files named, or all; return 1 if any is missing at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as gap1.txt; default all")
    parser.add_argument("--to", type=Path, default=FOLDER, metavar="FOLDER")
    parser.add_argument("--base-url", default=BASE_URL, metavar="URL")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in FILES]
    if unknown:
        parser.error(f"no file {unknown[0]!r}; choose from {', '.join(FILES)}")
    options.to.mkdir(parents=True, exist_ok=True)
    missing = 0
    for name in options.names or FILES:
        target, expected = options.to / name, FILES[name]
        if target.exists() and (expected is None or _sha256(target.read_bytes()) == expected):
            print(f"{name}: already there")
            continue
        try:
            content = fetch(f"{options.base_url.rstrip('/')}/{name}", expected)
        except (OSError, ValueError) as error:
            print(f"{name}: not fetched: {error}", file=sys.stderr)
            missing += 1
            continue
        write(target, content)
        print(f"{name}: {len(content):,} bytes" + ("" if expected else ", SHA-256 not known here"))
    write(options.to / "OPTIMA.csv", senses(options.to).encode())
    return 1 if missing else 0


def fetch(url: str, expected: str | None) -> bytes:
    """Return what a URL holds.

    Raises
    ------
    OSError, ValueError
        If it cannot be had, is too large, or is not what was expected.
    """
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
        content: bytes = response.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"more than {LARGEST:,} bytes")
    found = _sha256(content)
    if expected is not None and found != expected:
        raise ValueError(f"has SHA-256 {found}, not {expected}; the file was changed on its way")
    if not b"".join(content.split(None, 1)[:1]).isdigit():
        raise ValueError("is not a file of numbers; is the address right?")
    return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write(target: Path, content: bytes) -> None:
    """Write a file that appears under its name only when it is complete."""
    temporary = target.with_name(f".{target.name}.part")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def senses(folder: Path) -> str:
    """Return a list of optima that gives only the sense of each problem in a folder."""
    lines = ["file,problem,sense,best_known,best_bound,proved"]
    for name in FILES:
        if (folder / name).exists():
            profits = name.startswith("gap") and name[3].isdigit()
            count = int((folder / name).read_bytes().split(None, 1)[0])
            problems = count if name.startswith("gap") else 1
            sense = "max" if profits else "min"
            lines += [f"{name},{number},{sense},,,no" for number in range(1, problems + 1)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
