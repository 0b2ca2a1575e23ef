"""The tutorials run as they stand, on less data."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TUTORIALS = Path(__file__).resolve().parents[2] / "tutorials"


def test_any_loop(tmp_path: Path) -> None:
    command = [sys.executable, TUTORIALS / "any_loop.py", "--output_dir", tmp_path, "--sentences", "320"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "sparsity of the prunable layers: 79" in done.stdout or "sparsity of the prunable layers: 8" in done.stdout
    assert "equal to the model: True" in done.stdout
    assert (tmp_path / "compressed" / "deployment" / "model.onnx").is_file()
