"""`python -m numberline` is the command `numberline`."""

from numberline.doors.cli.main import run

if __name__ == "__main__":
    run()
