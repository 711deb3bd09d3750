"""Pages for people: a check, an audit or a plan as one HTML file that needs no network, as Markdown, PNG and one line.

Everything here takes plain JSON data (`fanin.checking.Report.to_dict`), and knows no framework.
"""

from fanin.pages.health import SIGNS as SIGNS
from fanin.pages.markdown import report_markdown as report_markdown
from fanin.pages.notebook import notebook_html as notebook_html
from fanin.pages.pictures import report_png as report_png
from fanin.pages.plan_rows import PlanRow as PlanRow
from fanin.pages.report_page import plan_page as plan_page
from fanin.pages.report_page import report_page as report_page
from fanin.pages.summary import summary as summary
