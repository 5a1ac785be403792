"""What a terminal shows of the text that programs write to it."""

import os
import subprocess
from pathlib import Path


def screen(text: str) -> list[str]:
    """Lines on the screen after some text: carriage returns and erased lines are followed."""
    lines = [""]
    column = 0
    for letter in text.replace("\x1b[K", "\0"):
        if letter == "\n":
            lines.append("")
            column = 0
        elif letter == "\r":
            column = 0
        elif letter == "\0":
            lines[-1] = lines[-1][:column]
        else:
            lines[-1] = lines[-1][:column] + letter + lines[-1][column + 1 :]
            column += 1
    return lines


def run_in_terminal(command: list[str], folder: Path, env: dict[str, str]) -> tuple[int, str]:
    """Run a program whose output is a terminal; its exit status and all that it wrote."""
    ours, its = os.openpty()
    run = subprocess.Popen(command, cwd=folder, env=env, stdout=its, stderr=its)
    os.close(its)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux's answer once the last process has closed the terminal
            break
        if not part:
            break
        written += part
    os.close(ours)
    return run.wait(timeout=60), written.decode()
