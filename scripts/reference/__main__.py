import sys

from scripts.reference import ROOT, stale

check = sys.argv[1:] == ["--check"]
if sys.argv[1:] and not check:
    sys.exit("usage: python -m scripts.reference [--check]")
found = stale()
for path, text in found.items():
    print(f"{path.relative_to(ROOT)}: {'differs' if check else 'written'}")
    if not check:
        path.write_text(text, encoding="utf-8")
sys.exit("run: make reference" if check and found else 0)
