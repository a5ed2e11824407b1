"""`burnish doctor` on a database that somebody has been at: what differs is named, and the exit code tells."""

import asyncio
import subprocess
import sys
from pathlib import Path

import asyncpg

from real_service import serving


async def test_the_doctor_names_what_was_tampered_with(tmp_path: Path, db_url: str) -> None:
    """All that differs, in one run, beside the service that goes on; mended by hand, it finds nothing."""
    environ = {"BURNISH_DATABASE_URL": db_url, "BURNISH_SECRET_KEYS": "the-same-on-every-machine-0123456789"}
    environ["BURNISH_COUNTERS_PROCESSES"] = "4"
    async with serving(tmp_path / "data", "--workers", "0", **environ) as service:
        await service.submit()
        await service.well()
        by_hand = await asyncpg.connect(db_url)
        tampered = (
            "UPDATE accounts SET granted = granted + 3, available = available + 3",
            "UPDATE accounts SET queue = jsonb_set(queue, '{groups,0,3}', '2')",
        )
        for statement in tampered:
            await by_hand.execute(statement)
        doctor = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "burnish", "doctor", "--data", str(service.data),
            stdout=subprocess.PIPE, env=service.environ,
        )  # fmt: skip
        said, _ = await doctor.communicate()

        assert doctor.returncode == 1
        (line,) = [line for line in said.decode().splitlines() if line.split()[:2] == ["NO", "invariants"]]
        assert "its row says 3 credits available; its entries say 0." in line
        assert "its row says 3 credits granted; its grants say 0." in line
        assert "says (2, 0, 0) slots, parked and waiting" in line
        assert "(1, 0, 0) are there." in line
        (counters,) = [line for line in said.decode().splitlines() if line.split()[1] == "counters"]
        assert counters.endswith("in memory: 1/4 of each rate a process (counters.processes = 4)")

        await service.submit()
        for statement in tampered:
            await by_hand.execute(statement.replace("+ 3", "- 3"))
        await by_hand.close()
        await service.well()
