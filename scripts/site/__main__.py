import sys

from scripts.site import ROOT, BuildError, build

try:
    build(ROOT / "site")
except BuildError as error:
    sys.exit(str(error))
print("site/index.html; to read it: python3 -m http.server --directory site --bind 127.0.0.1")
