"""Counts the lines, words and bytes of files and prints them as a table."""

import argparse
import pathlib

from tabulate import tabulate

VERSION = "1.2.0"


def count(path):
    content = path.read_bytes()
    return [str(path), content.count(b"\n"), len(content.split()), len(content)]


def main():
    parser = argparse.ArgumentParser(prog="wordtable", description=__doc__)
    parser.add_argument("--version", action="version", version=f"wordtable {VERSION}")
    parser.add_argument("file", nargs="+", type=pathlib.Path, help="a file to count")
    arguments = parser.parse_args()
    rows = [count(path) for path in arguments.file]
    print(tabulate(rows, headers=["file", "lines", "words", "bytes"]))


if __name__ == "__main__":
    main()
