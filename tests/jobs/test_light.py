from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import sys
from pathlib import Path
from jobs import recipes, studies
from jobs.job import get, kinds, read_spec
assert {"classify", "benchmark"} <= set(kinds())
for name in recipes.names(recipes.TrainingRecipe):
    assert recipes.get(name, recipes.TrainingRecipe).digest() and recipes.summary(name)
for name in studies.names():
    assert studies.get(name).rows
spec = read_spec("classify", {"backbone": "resnet18/conv", "recipe": "digits_quick"})
get("classify").precheck(spec)
read_spec("benchmark", {"backbone": "resnet18/conv"})
folder = read_spec("classify", {**spec.model_dump(), "data": sys.argv[1]})
get("classify").precheck(folder)
heavy = {"torch", "timm", "torchvision", "sklearn", "numpy", "PIL", "ray", "sqlalchemy"}
print(sorted(heavy & set(sys.modules)))
"""


def test_specs_and_recipes_are_read_without_torch(few_digits: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(few_digits)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
