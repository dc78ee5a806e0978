"""Prints the table of a chart's values, from values.yaml and the comments in it.

values_table.py values.yaml [README [--check]]

A value is described by the comment above it; so is a map as a whole, if there is no comment inside. What stands between
`<!-- values -->` and `<!-- /values -->` of the README is replaced; with --check it must be the same already.
"""

import re
import sys

START, END = "<!-- values -->", "<!-- /values -->"


def rows(lines):
    """(path, default, description) of every value."""
    path, comment, skip = [], [], None
    for number, line in enumerate(lines):
        if not line.strip():
            comment = []
            continue
        indent = len(line) - len(line.lstrip())
        if skip is not None and indent > skip:
            continue
        skip = None
        if match := re.match(r" *# ?(.*)", line):
            comment.append(match[1])
            continue
        match = re.match(r" *([\w-]+):(?: (.*))?$", line)
        if not match:
            sys.exit(f"values.yaml:{number + 1}: expected a key, a comment or an empty line")
        del path[indent // 2 :]
        path.append(match[1])
        inside = list(below(lines[number + 1 :], indent))
        is_folder = match[2] is None and any("#" in line for line in inside)
        if not is_folder:
            if not comment:
                sys.exit(f"values.yaml:{number + 1}: {'.'.join(path)} has no comment")
            default = match[2] or "{" + ", ".join(line.strip() for line in inside) + "}"
            yield ".".join(path), default, " ".join(comment)
            skip = indent
        comment = []


def below(lines, indent):
    for line in lines:
        if line.strip():
            if len(line) - len(line.lstrip()) <= indent:
                return
            yield line


def table(text):
    out = ["| Value | Default | Meaning |", "|---|---|---|"]
    out += [f"| `{path}` | `{default}` | {meaning} |" for path, default, meaning in rows(text.splitlines())]
    return "\n".join(out)


def main(values, readme=None, check=None):
    with open(values) as file:
        text = table(file.read())
    if readme is None:
        print(text)
        return
    with open(readme) as file:
        old = file.read()
    new = f"{old.split(START)[0]}{START}\n{text}\n{END}{old.split(END)[1]}"
    if new == old:
        return
    if check:
        sys.exit(f"{readme} is not what values.yaml says: run `make generate`")
    with open(readme, "w") as file:
        file.write(new)


if __name__ == "__main__":
    main(*sys.argv[1:])
