"""Draw maps of trained models: ``citycam explain`` from a checkout. See python explain.py --help."""

from citycam.doors import leave, needs_environment

with needs_environment():
    from citycam.cli.explain import main

if __name__ == "__main__":
    leave(main())
