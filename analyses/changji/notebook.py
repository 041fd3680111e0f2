# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The agricultural carbon account of Changji, on synthetic farms
#
# The same steps as `study.toml`, by hand; open as a notebook with jupytext. Nothing is computed outside evalkit, and
# no number is pasted: change a line and run again.
#
# **The farms, the loans and the counties' yearbook are synthetic:** drawn at random, with effects that were put in. They
# describe no farm, borrower or county. Only the budget table and the printed claims are the source's.

# %%
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import evalkit as ek
from evalkit.accounting import factor_set, intensity, inventory
from evalkit.checks import LeaveOneOut, PlaceboAdoption, PlaceboAssignment, PreTrends
from evalkit.claims.claim import judge_claims
from evalkit.estimators import EventStudy, Split, TwoWayFE
from evalkit.inference import Cluster, PooledGroups
from evalkit.reporting import plot_finding
from evalkit.sources import Delimited, LoanLedger, Yearbook
from evalkit.study.config import read_study

# %% [markdown]
# Paths start at the project's root, wherever the notebook runs. The words for columns, and the claims, are those of the
# study.

# %%
root = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "pyproject.toml").is_file())
home = root / "analyses" / "changji"
raw = root / "data" / "raw" / "changji_synthetic"
config = read_study(home)
labels = config.labels

# %% [markdown]
# **Load.** The survey of farms, with the unit of each column.

# %%
farms = Delimited(raw / "farms.csv").load()
for source in farms.provenance:
    print(source.title, "|", source.notes)
print(farms.units)

# %% [markdown]
# The bank's ledger has one row a loan, with names and identity numbers (made up, here). Those are not read: the table has
# one row per farm and year. The notes say how columns were understood and what was left out. A farm that is not listed
# had no loan.

# %%
loans = LoanLedger(raw / "loans.csv", unit="农户编号", unit_as="farm", purpose="智慧农业").load()
print(loans.provenance[0].notes)
loans.frame.head()

# %% [markdown]
# The yearbook, long: one row per published value, with its unit and its cell.

# %%
yearbook = Yearbook(raw / "county_yearbook.xlsx", keys=("county", "year")).load()
yearbook.frame.groupby(["sheet", "indicator", "unit"])["cell"].agg(["first", "last", "count"])

# %% [markdown]
# The yearbook, wide: the indicators that are wanted, under names of one's own.

# %%
income = Yearbook(
    raw / "county_yearbook.xlsx", columns={"rural_income": "农村居民人均可支配收入"}, region="county"
).load()
prices = Yearbook(
    raw / "county_yearbook.xlsx", columns={"price_index": "农产品生产者价格指数"}, keys=("county", "year")
).load()
print(income.provenance[0].notes)
print(income.units, prices.units)
income.frame.head()

# %% [markdown]
# Who keeps the account since when (empty: never), and the effects that were put in.

# %%
policy = Delimited(raw / "policy.csv").load()
policy.frame.set_index("county")

# %%
truth = Delimited(raw / "truth.csv").load()
truth.frame.set_index(["specification", "term"])

# %% [markdown]
# **Account.** Three sets of emission factors. Each says in words what it covers and what it leaves out.

# %%
literature = factor_set("literature", "literature_irrigation_recalled")
ipcc, local = factor_set("ipcc_2006"), factor_set("changji_2022")
for factors in (literature, ipcc, local):
    print(factors.leaves_out("en"), end="\n\n")

# %%
print(local.leaves_out("zh"))

# %% [markdown]
# The inventory: one row per farm, year and emission source. Sources whose local coefficient is not printed have to be
# left out by name; nothing is put in their place.

# %%
keys = ("farm", "year")
emissions = inventory(farms, literature, keys=keys)
emissions_ipcc = inventory(farms, ipcc, keys=keys)
emissions_local = inventory(
    farms, local, keys=keys, leave_out=("fertiliser_n", "pesticide", "film", "irrigated_area", "sown_area")
)
print(emissions_local.provenance[-1].notes)
emissions.frame.head(6)

# %% [markdown]
# Emissions per yuan of output. The index is chained within each county, so that output is in prices of the first year;
# the unit says so.

# %%
cei = intensity(emissions, output=farms, per="output", deflator=prices, name="cei")
cei_ipcc = intensity(emissions_ipcc, output=farms, per="output", deflator=prices, name="cei_ipcc")
cei_local = intensity(emissions_local, output=farms, per="output", deflator=prices, name="cei_changji")
print(cei.units)
cei.frame.head()

# %% [markdown]
# **Assemble.** One row per farm and year. Each table is joined on the columns it shares with those before it; columns are
# derived by verbs.

# %%
panel = ek.assemble(
    *(farms, cei, cei_ipcc, cei_local, income, loans, policy),
    unit="farm",
    time="year",
    derive={
        "log_cei": ek.log("cei"),
        "log_cei_ipcc": ek.log("cei_ipcc"),
        "log_cei_changji": ek.log("cei_changji"),
        "log_income": ek.log("rural_income"),
        "smart_loan": ek.at_least("purpose_loans", 1),
        "prefecture_weight": ek.equal_weight("prefecture", times="weight"),
    },
)
for note in panel.notes:
    print(note)

# %% [markdown]
# **Design.** First as if the account had been assigned to counties.

# %%
design = ek.Design(outcome="log_cei", adoption="pilot_year", assigned_at="county", weights="weight")

# %% [markdown]
# **Estimate.** Clustered by county, in English and in Chinese.

# %%
main = ek.estimate(panel, design, TwoWayFE(), inference=Cluster())
print(main.summary("en", labels))

# %%
print(main.summary("zh", labels))

# %% [markdown]
# One difference per county and a pooled t test: the same effect, fewer degrees of freedom.

# %%
pooled = ek.estimate(panel, design, TwoWayFE(), inference=PooledGroups())
print(pooled.summary("en", labels))

# %% [markdown]
# **By size of farm.** The gap between the groups, with the covariance between them counted. Two groups with stars are
# no evidence of a gap.

# %%
by_size = ek.estimate(panel, design, Split(by="area_mu", threshold=50, estimator=TwoWayFE()), inference=Cluster())
ek.plot(by_size, labels=labels)

# %%
ek.plot(by_size, language="zh", labels=labels)

# %%
by_size.contrast("ATT [area_mu>=50]", "ATT [area_mu<50]")

# %% [markdown]
# **By year.**

# %%
event_study = EventStudy(leads=3, lags=2)
path = ek.estimate(panel, design, event_study, inference=Cluster())
ek.plot(path, labels=labels)

# %%
ek.plot(path, language="zh", labels=labels)

# %% [markdown]
# **Another set of factors, another outcome, a control:** the same design with one field changed.

# %%
for changed in (
    replace(design, outcome="log_cei_ipcc"),
    replace(design, outcome="log_cei_changji"),
    replace(design, outcome="smart_loan"),
    replace(design, covariates=("log_income",)),
):
    one = ek.estimate(panel, changed, TwoWayFE(), inference=Cluster())
    print(one.summary("en", labels), end="\n\n")

# %% [markdown]
# **One level up.** The account came to one prefecture. Clustering by prefecture prints a small standard error; the note
# says why it is not evidence.

# %%
above = replace(design, assigned_at="prefecture")
clustered = ek.estimate(panel, above, TwoWayFE(), inference=Cluster())
print(clustered.summary("en", labels))

# %% [markdown]
# Prefectures that weigh alike, and one difference for each of them.

# %%
weighted = replace(above, weights="prefecture_weight")
prefecture = ek.estimate(panel, weighted, TwoWayFE(), inference=PooledGroups())
print(prefecture.summary("en", labels))

# %% [markdown]
# **Challenge.** Each check says what it concludes; one that cannot reject says so. Random assignments are drawn from a
# seed.

# %%
findings = ek.check(
    main,
    PreTrends(estimator=event_study, draws=199, seed=2022),
    PlaceboAdoption(shift=1),
    LeaveOneOut(),
    PlaceboAssignment(draws=199, seed=2022),
)
for finding in findings:
    print(finding.summary("en", labels))

# %%
(ranked,) = ek.check(prefecture, PlaceboAssignment())
print(ranked.summary("en", labels))

# %%
placebo = findings[-1]
plot_finding(placebo, main, labels=labels)

# %%
plot_finding(placebo, main, language="zh", labels=labels)

# %%
without = findings[-2]
plot_finding(without, main, labels=labels)

# %% [markdown]
# **The printed claims.** They stand in `claims.toml`, each with a check and with what a mismatch would mean. The budget
# table is the source's own.

# %%
budget = Delimited(root / "data" / "raw" / "changji" / "budget.csv").load()
judged = judge_claims(config.claims, {"budget": budget})
for claim in judged:
    print(claim.summary("en", labels))

# %%
print(judged[0].summary("zh", labels))

# %% [markdown]
# **Simulate.** The world behind the farms: places, effects and shocks, a part of them common to all counties of a
# prefecture. Its panel carries the true effect of each row.

# %%
sys.path.append(str(home))
worlds = import_module("world")
world = worlds.changji()
drawn = ek.simulate(world, seed=worlds.SEED)
drawn.frame.head()

# %% [markdown]
# **Diagnose.** How often the intervals contain the truth, by county and by prefecture. Twenty worlds are too few to
# conclude anything from: see `coverage_error`.

# %%
ek.diagnose(world, TwoWayFE(), Cluster(), seed=worlds.SEED, worlds=20)

# %%
by_prefecture = replace(world.design, assigned_at="above", weights="above_weight")
ek.diagnose(world, TwoWayFE(), PooledGroups(), seed=worlds.SEED, worlds=20, design=by_prefecture)

# %% [markdown]
# What `make montecarlo` measured in many more worlds, and what the paper reports.

# %%
coverage = Delimited(home / "coverage.csv").load().frame
coverage[coverage["term"] == "ATT"]
