"""Lists the experiments, a line each."""

import ast
from pathlib import Path

NO_SCRIPTS = ("__init__", "__main__", "cli")


def main() -> None:
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem not in NO_SCRIPTS:
            summary = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]
            print(f"python -m experiments.{path.stem:<12} {summary}")


if __name__ == "__main__":
    main()
