"""Hand `python -m course_utils VERB …` over to the module of the workshop that has this name."""

import argparse
import importlib
import sys

VERBS = """\
doctor     check this computer, and say what to do about what is missing
download   download a data set into COURSE_DATA, or into data/ where that is not set
lab        open JupyterLab on the first notebook; further arguments go to JupyterLab
results    measure the course's results on the full data, and write their tables"""


def main(arguments=None):
    """Run one verb with the arguments that follow it; return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a Windows console may lack ✓
    parser = argparse.ArgumentParser(prog="python -m course_utils", formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("verb", choices=[line.split()[0] for line in VERBS.splitlines()], metavar="VERB", help=VERBS)
    parser.add_argument("arguments", metavar="…", nargs=argparse.REMAINDER, help="`VERB --help` describes them")
    options = parser.parse_args(arguments)
    try:
        module = importlib.import_module(f"course_utils.workshop.{options.verb}")
    except ModuleNotFoundError as error:
        print(f"{error}. Run `make setup`, or activate the environment that you made.", file=sys.stderr)
        return 1
    return module.main(options.arguments)


if __name__ == "__main__":
    sys.exit(main())
