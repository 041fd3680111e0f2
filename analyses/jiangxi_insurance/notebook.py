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
# # Compulsory crop insurance in one county of Jiangxi
#
# The same steps as `study.toml`, by hand; open as a notebook with jupytext. Nothing is computed outside evalkit, and
# no number is pasted: change a line and run again.

# %%
from pathlib import Path

import evalkit as ek
from evalkit.checks import LeaveOneOut, PlaceboAdoption, PlaceboAssignment, PreTrends
from evalkit.estimators import EventStudy, Split, TwoWayFE
from evalkit.inference import Cluster
from evalkit.reporting import plot_finding
from evalkit.sources import Delimited
from evalkit.study.config import read_study

# %% [markdown]
# Paths start at the project's root, wherever the notebook runs. The words for columns are those of the study.

# %%
root = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "pyproject.toml").is_file())
raw = root / "data" / "raw" / "jiangxi_insurance"
labels = read_study(root / "analyses" / "jiangxi_insurance").labels

# %% [markdown]
# **Load.** The household panel of Cai (2016), and the year in which insurance became compulsory in each county.

# %%
households = Delimited(raw / "cai2016_jiangxi_tobacco_insurance.csv.gz").load()
policy = Delimited(raw / "policy.csv").load()
print(households.provenance)

# %% [markdown]
# **Assemble.** One row per household and year; only tobacco growers, to whom the insurance applied. The ledger counts
# what was left out.

# %%
panel = ek.assemble(households, policy, unit="hhno", time="year", where={"sector": 1})
print(panel.ledger)

# %% [markdown]
# **Design.** The insurance was assigned to a county, so inference is at the level of counties: one of them is treated.

# %%
design = ek.Design(outcome="checksaving_ratio", adoption="first_year", assigned_at="county")

# %% [markdown]
# **Estimate.** The average effect, with the standard error that common software reports. The note says why its p-value
# is not evidence here.

# %%
main = ek.estimate(panel, design, TwoWayFE(), inference=Cluster())
print(main.summary("en", labels))

# %% [markdown]
# The same in Chinese, and as a table.

# %%
print(main.summary("zh", labels))

# %%
main.tidy()

# %%
main.glance()

# %% [markdown]
# **By year.** No intervals are drawn, because the design supports none.

# %%
event_study = EventStudy(leads=3, lags=5)
path = ek.estimate(panel, design, event_study, inference=Cluster())
ek.plot(path, labels=labels)

# %% [markdown]
# **By group.** The gap between the groups, with the covariance between them counted.

# %%
by_age = ek.estimate(panel, design, Split(by="age", threshold=40, estimator=TwoWayFE()), inference=Cluster())
ek.plot(by_age, labels=labels)

# %%
by_age.contrast("ATT [age>=40]", "ATT [age<40]")

# %% [markdown]
# **Challenge.** Each check says what it concludes; one that cannot reject says so.

# %%
findings = ek.check(
    main,
    PreTrends(estimator=event_study),
    PlaceboAdoption(shift=1),
    LeaveOneOut(),
    PlaceboAssignment(),
)
for finding in findings:
    print(finding.summary("en", labels))

# %% [markdown]
# How the effect of every county, taken as the treated one, compares with the actual one.

# %%
placebo = findings[-1]
plot_finding(placebo, main, labels=labels)

# %% [markdown]
# What is left when a county is left out. Without the treated one there is nothing to estimate.

# %%
without = findings[-2]
plot_finding(without, main, labels=labels)

# %% [markdown]
# **The figure to read.** The path of the treated county over the paths of all others.

# %%
(paths,) = ek.check(path, PlaceboAssignment())
plot_finding(paths, path, labels=labels)

# %%
plot_finding(paths, path, language="zh", labels=labels)
