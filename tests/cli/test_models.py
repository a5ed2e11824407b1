"""Networks on the command line, as an operator types it."""

import json
from hashlib import sha256
from pathlib import Path

import onnx_file
from cli.typed import burnish


def test_a_network_is_added_listed_tested_and_removed(environ: dict[str, str], tmp_path: Path) -> None:
    """With its hash and its licence; what is refused says why and what to do."""
    file = tmp_path / "red.onnx"
    file.write_bytes(onnx_file.network())
    licence = tmp_path / "LICENSE"
    licence.write_text("MIT License\nCopyright somebody\n")
    good = sha256(file.read_bytes()).hexdigest()
    add = ("models", "add", "red", str(file), "--licence", f"@{licence}", "--sha256")

    refused = burnish(environ, *add, "0" * 64)
    assert refused.returncode == 3
    assert good in refused.stderr
    added = burnish(environ, *add, good)
    assert added.returncode == 0, added.stderr
    assert added.stdout.startswith(
        "red is installed: onnx, 0.0 MB, pictures of 320 pixels a side as u2net wants them"
    )
    again = burnish(environ, *add, good)
    assert (again.returncode, again.stderr.strip()) == (
        3, "burnish: red is installed already. Remove it first: burnish models remove red",
    )  # fmt: skip

    listed = burnish(environ, "models", "list").stdout
    assert any(
        line.split()[0] == "red" and line.endswith("MIT License") for line in listed.splitlines() if line
    )
    facts = json.loads(burnish(environ, "models", "list", "--json").stdout)
    assert facts["installed"][0]["licence"].startswith("MIT License\nCopyright")
    assert {one["name"] for one in facts["built_in"]} >= {"waifu2x-photo", "mediapipe-people"}
    # Nobody installs the network of `moderate`, so it may be there or not.
    assert all(one["there"] for one in facts["built_in"] if one["used_for"] != "moderate")

    assert "red works" in burnish(environ, "models", "test", "red").stdout
    assert "red is removed" in burnish(environ, "models", "remove", "red").stdout
    for verb in ("test", "remove"):
        gone = burnish(environ, "models", verb, "red")
        assert (gone.returncode, gone.stderr.strip()) == (
            3,
            "burnish: No network 'red' is installed. Installed: none.",
        )


def test_what_nobody_knows_cannot_be_fetched_by_its_name(environ: dict[str, str]) -> None:
    """It says what to do instead."""
    refused = burnish(environ, "models", "pull", "no-such-network")
    assert refused.returncode == 3
    assert "models add" in refused.stderr
