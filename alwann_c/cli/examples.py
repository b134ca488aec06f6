"""The examples that `--help` teaches with, by command; a test parses every one of them."""

from __future__ import annotations

EXAMPLES: dict[str, list[tuple[str, str]]] = {
    "": [
        ("The whole job on what ships with the package:", "alwann-c demo"),
        ("What would happen to the layers of a network:", "alwann-c inspect net.onnx"),
        (
            "From a network to a front of plans and a deployed module:",
            "alwann-c compile net.onnx --target power-gated-4 --calibration calibration.toml"
            " --search search.toml --test test.toml -o out",
        ),
        ("Run that module, anywhere TVM's runtime is:", "alwann-c run out --data test.toml"),
    ],
    "demo": [
        (
            "The shipped ResNet-8, data and multipliers; then open demo/report.html:",
            "alwann-c demo -o demo",
        ),
        ("A longer search:", "alwann-c demo --population 50 --generations 30 -o demo"),
    ],
    "inspect": [
        ("Layers, MACs, and why some stay exact:", "alwann-c inspect net.onnx"),
        (
            "A network that leaves its input size open:",
            "alwann-c inspect net.onnx --input-shape 3,224,224",
        ),
        (
            "Which kernel computes each layer on this machine:",
            "alwann-c inspect net.onnx --kernels",
        ),
    ],
    "compile": [
        (
            "Search on labelled data, report on other labelled data:",
            "alwann-c compile net.onnx --target power-gated-4 --calibration calibration.toml"
            " --search search.toml --test test.toml -o out",
        ),
        (
            "Your multipliers, your accelerator, at most 1 point of accuracy lost:",
            "alwann-c compile net.onnx --target mine.toml --library my-multipliers"
            " --max-drop 0.01 --calibration calibration.toml --search search.toml -o out",
        ),
        (
            "Interrupted? The same command with --resume goes on where it was:",
            "alwann-c compile net.onnx --target power-gated-4 --calibration calibration.toml"
            " --search search.toml -o out --resume",
        ),
        (
            "Four processes here, and a module for another machine:",
            "alwann-c compile net.onnx --target power-gated-4 --calibration calibration.toml"
            " --search search.toml --workers 4"
            " --device 'llvm -mtriple=aarch64-linux-gnu' -o out",
        ),
    ],
    "evaluate": [
        (
            "Every convolution on one multiplier, error compensated:",
            "alwann-c evaluate net.onnx --calibration calibration.toml --test test.toml"
            " --multiplier mul8u_p55",
        ),
        (
            "The plan that `compile` chose, on other data:",
            "alwann-c evaluate net.onnx --calibration calibration.toml --test other.toml"
            " --plan out/plan.json",
        ),
        (
            "Float and exact 8-bit accuracy only, on the first 1,000 images:",
            "alwann-c evaluate net.onnx --calibration calibration.toml --test test.toml"
            " --limit 1000",
        ),
    ],
    "run": [
        ("Accuracy on labelled images:", "alwann-c run out --data test.toml"),
        ("The outputs as an array:", "alwann-c run out --data images.npz -o outputs.npy"),
        (
            "Does it compute here what it computed where it was built?",
            "alwann-c run out --self-test",
        ),
    ],
    "export-rtl": [
        ("Weights, golden vectors and test benches of a plan:", "alwann-c export-rtl out -o rtl"),
        (
            "Four golden images, every bench run in Icarus Verilog:",
            "alwann-c export-rtl out --images 0-3 --simulate -o rtl",
        ),
    ],
    "multipliers": [
        ("Everything there is, by power:", "alwann-c multipliers list"),
        ("One of them:", "alwann-c multipliers show mul8u_p55"),
    ],
    "multipliers list": [
        ("The shipped library:", "alwann-c multipliers list"),
        (
            "Another one, for a program to read:",
            "alwann-c multipliers list --library my-multipliers --json",
        ),
    ],
    "multipliers show": [
        ("Power, area, delay and error:", "alwann-c multipliers show mul8u_p55"),
    ],
    "multipliers import": [
        (
            "Tables and netlists of a folder, into a library of yours:",
            "alwann-c multipliers import circuits -o my-multipliers",
        ),
        (
            "C files are compiled and run, so only on request:",
            "alwann-c multipliers import mul8u_x.c --allow-c -o my-multipliers",
        ),
    ],
    "multipliers evolve": [
        (
            "Three circuits with bounded mean error:",
            "alwann-c multipliers evolve --bounds 0.5,10,200 -o evolved",
        ),
        (
            "For the operands of a network:",
            "alwann-c multipliers evolve --model net.onnx --calibration calibration.toml"
            " --bounds 50,200 -o evolved",
        ),
    ],
    "targets": [
        ("A commented description to start from:", "alwann-c targets show template > mine.toml"),
        ("Is it right?", "alwann-c targets validate mine.toml"),
    ],
    "targets list": [("The shipped ones:", "alwann-c targets list")],
    "targets show": [
        ("A commented description to start from:", "alwann-c targets show template > mine.toml"),
    ],
    "targets validate": [("Names every problem at once:", "alwann-c targets validate mine.toml")],
    "targets schema": [
        ("For completion in an editor:", "alwann-c targets schema > target.schema.json"),
    ],
    "schema": [
        ("For an editor or a validator:", "alwann-c schema plan > plan.schema.json"),
        ("Which there are:", "alwann-c schema"),
    ],
    "report": [("After an update of alwann-c:", "alwann-c report out")],
    "plot": [
        ("Every picture of the report as SVG:", "alwann-c plot out"),
        ("For a slide:", "alwann-c plot out --format png --scale 3 -o figures"),
    ],
    "completion": [
        ("bash:", "alwann-c completion bash >> ~/.bash_completion"),
        ("zsh:", "alwann-c completion zsh > ~/.zfunc/_alwann-c"),
        ("fish:", "alwann-c completion fish > ~/.config/fish/completions/alwann-c.fish"),
    ],
}


def epilog(command: str) -> str:
    """The examples of a command as they stand under its options."""
    shown = [f"  {text}\n    {line}" for text, line in EXAMPLES[command]]
    return "examples:\n" + "\n".join(shown)
