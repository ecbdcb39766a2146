"""Ties a test to the statements of docs/wire.md that it proves.

    @proves("W50", "W51")
    def test_...(self):
"""


def proves(*tags):
    def mark(test):
        test.proves = tags
        return test
    return mark
