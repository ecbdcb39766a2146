"""A thin SDK stays thin: all its source files together, comments and empty lines included."""

import glob
import os
import unittest

import support

LIMITS = {"js/*.js": 300, "python/**/*.py": 300, "go/**/*.go": 300}


def files_read(pattern):
    paths = glob.glob(os.path.join(support.SOURCE_DIR, "client", pattern), recursive=True)
    assert paths, f"nothing is called client/{pattern}"
    for path in paths:
        with open(path, encoding="utf-8") as file:
            yield file.read().splitlines()


class Lines(unittest.TestCase):
    def test_no_sdk_has_more_lines_than_its_limit(self):
        for pattern, limit in LIMITS.items():
            self.assertLessEqual(sum(map(len, files_read(pattern))), limit, pattern)

    def test_no_line_is_longer_than_100_columns(self):
        for pattern in LIMITS:
            for lines in files_read(pattern):
                self.assertEqual([line for line in lines if len(line) > 100], [], pattern)


if __name__ == "__main__":
    unittest.main(verbosity=2)
