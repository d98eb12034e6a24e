"""The command `numberline`, which is `python -m numberline` too."""


def run() -> None:
    """Run the command line."""
    # Every worker process loads its parent's script again, and has no use for a command line.
    from numberline.doors.cli import main  # noqa: PLC0415

    main.run()


if __name__ == "__main__":
    run()
