"""Can a network tell my city from the others, and by what?"""

import sys

if sys.hexversion < 0x030B0000:  # said here, before other files need what older versions lack
    print(f"citycam: this is Python {sys.version.split()[0]}, and citycam needs 3.11 or newer.", file=sys.stderr)
    sys.exit(2)
