import os
import sys

# Where the environment keeps Python from writing bytecode, each worker and each program that a test starts would
# compile everything again, and pytest would rewrite every assertion again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
