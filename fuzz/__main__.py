# SPDX-License-Identifier: Apache-2.0
"""`python -m fuzz` is `meshfuzz`."""

from fuzz.cli import main

if __name__ == "__main__":
    main()
