"""The clip of `gtr watch` in a report: inside the page, where there is one."""

import base64

from gtr.study.report import CLIP, write_report
from tests.study.pages import Page

# The smallest picture that is one.
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")


def test_the_clip_is_part_of_the_page_and_the_page_still_loads_nothing(known):
    (known / CLIP).write_bytes(GIF)
    page = Page(write_report(known))
    [picture] = [load for load in page.loads if not load.startswith("#")]
    assert picture == "data:image/gif;base64," + base64.b64encode(GIF).decode()
    assert page.tags.count("img") == 1
    assert page.ids.index("learning_curves") < page.ids.index("watch") < page.ids.index("scores")
    assert "http" not in (known / "report.html").read_text()
