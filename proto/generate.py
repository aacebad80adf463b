"""Regenerate the stubs of the wire contract: ``python proto/generate.py``; with ``--check`` only compare.

protoc writes imports as if ``weftdb.v1`` were a top-level package; here it lives in ``weftdb.proto.weftdb.v1``, so they
are made relative. The guards that refuse a runtime older than the generator are taken out: what is generated for these
files is the same text for all releases that pyproject.toml allows, and the generator on a developer's machine must
not decide which release a user may install. tests/test_server.py imports the stubs, which is the proof that counts.

Needs grpcio-tools (extra ``dev``). Exit code 1 with ``--check`` when a stub is not current, naming it.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = Path("weftdb") / "v1"

_REWRITES = (
    (r"^from weftdb\.v1 import ", "from . import "),
    (r"^from google\.protobuf import runtime_version as .*\n", ""),
    (r"^_runtime_version\.ValidateProtobufRuntimeVersion\((?:.|\n)*?^\)\n", ""),
    (r"^# Protobuf Python Version: .*\n", ""),
    (r"^GRPC_GENERATED_VERSION = (?:.|\n)*?^if _version_not_supported:\n(?:    .*\n|\n)+?(?=\n\S|\Z)", ""),
    (r"^import warnings\n", ""),
)


def generate(target: Path) -> dict[str, str]:
    """Run protoc for all .proto files into ``target``; file name → text, made fit for this package."""
    from grpc_tools import protoc  # pyright: ignore[reportMissingTypeStubs]

    protos = sorted(str(path.relative_to(HERE)) for path in (HERE / FOLDER).glob("*.proto"))
    code = protoc.main(
        ["protoc", f"-I{HERE}", f"--python_out={target}", f"--pyi_out={target}", f"--grpc_python_out={target}", *protos]
    )
    if code != 0:
        raise SystemExit(f"protoc failed with code {code}")
    return {path.name: fit(path.read_text()) for path in sorted((target / FOLDER).iterdir())}


def fit(text: str) -> str:
    """Make imports relative, and take out what pins the runtime to the generator's release."""
    for pattern, replacement in _REWRITES:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description="Regenerate the gRPC stubs.")
    parser.add_argument("--check", action="store_true", help="only say whether they are current")
    check: bool = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        wanted = generate(Path(folder))
    stale = [name for name, text in wanted.items() if not _same(HERE / FOLDER / name, text)]
    extra = [path.name for path in (HERE / FOLDER).glob("*_pb2*") if path.name not in wanted]
    if check:
        for name in stale + extra:
            print(f"proto/{FOLDER / name} is not current: run python proto/generate.py", file=sys.stderr)
        return 1 if stale or extra else 0
    for name in stale:
        (HERE / FOLDER / name).write_text(wanted[name])
        print(f"wrote proto/{FOLDER / name}")
    for name in extra:
        (HERE / FOLDER / name).unlink()
        print(f"removed proto/{FOLDER / name}")
    return 0


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


if __name__ == "__main__":
    sys.exit(main())
