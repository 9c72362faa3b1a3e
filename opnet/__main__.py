"""`python -m opnet`: the door to the command line, which stands above it, in runners."""

import sys

if __name__ == "__main__":
    from runners.command_line import main

    sys.exit(main())
