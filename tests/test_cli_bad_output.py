"""Output folders, devices, plans and modules that are none: one `error:` line, exit 2."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from command_line import Compiled, alwann_c
from spoiling import Job, refused
from tiny import Case

from alwann_c.deploy import seal


def test_unwritable_output_folder(job: Job) -> None:
    (job.folder / "file").write_text("in the way", encoding="utf-8")
    job.output = job.folder / "file" / "out"
    refused(job.compile(), str(job.output), "choose another")
    job.output = Path("/proc/none")
    refused(job.compile(), "/proc/none", "choose another")


def test_output_folder_is_a_file(job: Job) -> None:
    job.output = job.folder / "file"
    job.output.write_text("in the way", encoding="utf-8")
    refused(job.compile(), str(job.output))
    assert job.output.read_text(encoding="utf-8") == "in the way"


def test_unknown_device(job: Job) -> None:
    job.extra = ["--device", "abacus"]
    refused(job.compile(), "abacus", "cpu")
    job.nothing_written()


def test_plans_and_modules(job: Job, compiled: Compiled, small: Case) -> None:
    plan = job.folder / "plan.json"
    plan.write_text("{}", encoding="utf-8")
    refused(alwann_c("evaluate", *compiled.inputs(small), "--plan", plan), "plan.json")
    folder = Path(shutil.copytree(compiled.folder, job.folder / "copy"))
    with (folder / "module.so").open("ab") as stream:
        stream.write(b"more")
    refused(alwann_c("run", folder, "--data", job.good), "module.so", "altered")
    refused(alwann_c("run", job.folder / "none", "--data", job.good), "no such file")
    refused(alwann_c("report", job.folder / "none"), "no such folder")
    refused(alwann_c("report", job.folder))


def test_module_whose_manifest_lies_about_its_input(job: Job, compiled: Compiled) -> None:
    folder = Path(shutil.copytree(compiled.folder, job.folder / "copy"))
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["input"]["shape"] = [0, 3, 9, 9]
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    refused(alwann_c("run", folder, "--data", job.good), "manifest_sha256", "altered")
    manifest["manifest_sha256"] = seal(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    refused(alwann_c("run", folder, "--data", job.good), "(3, 8, 8)", "(3, 9, 9)")
    refused(alwann_c("run", folder, "--self-test"))
    job.write(images=np.zeros((2, 3, 9, 9), np.float32))
    refused(alwann_c("run", folder, "--data", job.data))


def test_unwritable_results_of_run(job: Job, compiled: Compiled) -> None:
    out = job.folder / "none" / "out.npy"
    refused(alwann_c("run", compiled.folder, "--data", job.good, "-o", out), str(out))
