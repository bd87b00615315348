"""``python -m convoy`` is ``platform``."""

from convoy.cli import app

if __name__ == "__main__":
    app(prog_name="platform")
