"""How the dashboard is started."""

from __future__ import annotations

from pathlib import Path

from dashboard.server import command, streamlit_command


def test_the_server_listens_on_loopback_alone_and_reports_to_nobody() -> None:
    words = streamlit_command(port=8600)
    assert {
        "--server.address=127.0.0.1",
        "--server.port=8600",
        "--server.headless=true",
        "--browser.gatherUsageStats=false",
    } <= set(words)


def test_the_command_names_the_home_folder_and_the_port() -> None:
    words = command(home=Path("/somewhere"), port=8600)
    assert words[1:] == ["-m", "dashboard.server", "--home", "/somewhere", "--port", "8600"]
