"""Download the published data sets before they are needed."""

import argparse
import sys

from course_utils.download import PUBLISHED, DownloadError, data_folder, download, missing_files


def main(arguments: list[str]) -> int:
    """Download one data set, or all of them; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m course_utils download", description=__doc__)
    parser.add_argument("name", nargs="?", default="mnist", choices=[*PUBLISHED, "all"], help="default: mnist")
    name = parser.parse_args(arguments).name
    folder = data_folder()
    for one in PUBLISHED if name == "all" else [name]:
        if not missing_files(one, folder):
            print(f"{one} is already in {folder}.")
            continue
        try:
            download(one, folder)
        except DownloadError as error:
            print(f"\n{error}.", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nInterrupted. Run the same command again.", file=sys.stderr)
            return 130
        print(f"{one} is now in {folder}.")
    return 0
