"""Credit and other rewards that are tied to carbon accounts: rates, advance sales, points, subsidies, grades. Each is a Table."""

from evalkit.accounting.credit.discount import Discount as Discount
from evalkit.accounting.credit.discount import rate_discount as rate_discount
from evalkit.accounting.credit.grades import carbon_grade as carbon_grade
from evalkit.accounting.credit.rewards import carbon_points as carbon_points
from evalkit.accounting.credit.rewards import presale_value as presale_value
from evalkit.accounting.credit.rewards import reduction_subsidy as reduction_subsidy
