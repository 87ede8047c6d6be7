import os
import sys

# The processes and their private Redis are those of the end-to-end tests.
sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
