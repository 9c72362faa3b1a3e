"""`python -m opnet`: the door to the command line, which stands above it, in runners."""

import sys

if __name__ == "__main__":
    try:
        from runners.command_line import main

        code = main()
    except KeyboardInterrupt:  # before `main` could catch it
        code = 130
    sys.exit(code)
