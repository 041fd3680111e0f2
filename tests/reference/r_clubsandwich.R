# Cluster-robust inference with few clusters: the numbers of the R package clubSandwich.
# Run from the root of the project: Rscript tests/reference/r_clubsandwich.R
# Every regression is lm() with one dummy per unit and per period; the JSON says per case how to build it again.
suppressPackageStartupMessages(library(clubSandwich))

out <- "tests/reference/r_clubsandwich.json"
types <- c("CR0", "CR1", "CR1S", "CR2", "CR3")

# ---- data ------------------------------------------------------------------------------------------------------

read <- function(name) read.csv(file.path("tests/data", paste0(name, ".csv")))

# 1 from the first treated period on; 0 in `first` means never.
post <- function(frame, time, first) as.numeric(frame[[first]] > 0 & frame[[time]] >= frame[[first]])

# Indicators of event time, binned at both ends, without the base -1: lead4 is e = -4, lag0 is e = 0.
with_events <- function(frame, time, first, leads, lags) {
  event <- ifelse(frame[[first]] > 0, pmin(pmax(frame[[time]] - frame[[first]], -leads), lags), NA)
  for (e in setdiff(-leads:lags, -1)) {
    name <- if (e < 0) paste0("lead", -e) else paste0("lag", e)
    frame[[name]] <- as.numeric(!is.na(event) & event == e)
  }
  frame
}

# Rows of the named units and periods in order; of these, the rows with 0-based number %% 7 == 3 are left out.
unbalanced <- function(frame, unit, time) {
  frame <- frame[order(frame[[unit]], frame[[time]]), ]
  frame[(seq_len(nrow(frame)) - 1) %% 7 != 3, ]
}

# A crossed effect group x time without its cells in the first period: full rank beside the units, and it holds the periods.
crossed <- function(group, time) relevel(factor(ifelse(time == min(time), "first", paste(group, time))), ref = "first")

farm <- read("farm9x60")
farm <- with_events(farm, "t", "g", 3, 2)
farm$cell <- crossed(farm$id %% 2, farm$t)

mpdta <- read("mpdta")
names(mpdta)[names(mpdta) == "first.treat"] <- "first"
counties <- sort(unique(mpdta$countyreal))
mpdta <- mpdta[mpdta$countyreal %in% counties[(seq_along(counties) - 1) %% 3 == 0], ]
mpdta <- with_events(mpdta, "year", "first", 4, 3)
mpdta$att <- post(mpdta, "year", "first")
mpdta$coarse <- mpdta$first * 10 + mpdta$countyreal %% 5
mpdta$cell <- crossed(mpdta$countyreal %% 3, mpdta$year)
mpdta$population <- exp(mpdta$lpop)
mpdta$size <- exp(mpdta$lpop) * (1 + 0.1 * (mpdta$year - 2003))
for (year in 2003:2006) mpdta[[paste0("lpop", year)]] <- mpdta$lpop * (mpdta$year == year)

ezunem <- read("wooldridge_ezunem")
ezunem$first <- ave(ifelse(ezunem$ez == 1, ezunem$year, Inf), ezunem$city, FUN = min)
ezunem$first[is.infinite(ezunem$first)] <- 0
ezunem <- with_events(ezunem, "year", "first", 3, 2)

few <- read("few_treated_9x6")
few <- with_events(few, "year", "first", 3, 2)
few$att <- post(few, "year", "first")

# ---- one case --------------------------------------------------------------------------------------------------

pick <- function(v, names) unname(as.matrix(v)[names, names, drop = FALSE])

# Regress columns freed of their means by unit: the nested dummies make I - H of a cluster singular, which CR3 has to
# invert. Taking them out first leaves the coefficients and the estimates without a cluster as they are.
demeaned <- function(fit, unit, w) {
  x <- model.matrix(fit)
  x <- x[, !grepl("^factor\\(unit\\)|Intercept", colnames(x)), drop = FALSE]
  free <- function(v) v - ave(v * w, unit, FUN = sum) / ave(w, unit, FUN = sum)
  x <- apply(x, 2, free)
  y <- free(model.response(model.frame(fit)))
  again <- lm(y ~ 0 + x, weights = w)
  list(fit = again, x = x, y = y)
}

# Sum of the outer products of b(without the cluster) - b.
jackknife <- function(within, w, cluster, terms) {
  b <- coef(within$fit)
  moves <- sapply(unique(cluster), function(g) {
    kept <- cluster != g
    coef(lm.wfit(within$x[kept, , drop = FALSE], within$y[kept], w[kept])) - b
  })
  moves <- matrix(moves, nrow = length(b), dimnames = list(colnames(within$x), NULL))
  pick(tcrossprod(moves), terms)
}

cr3 <- function(fit, unit, w, cluster, terms) {
  within <- demeaned(fit, unit, w)
  by_deletion <- jackknife(within, w, cluster, terms)
  if (anyNA(by_deletion)) return(NULL)
  v <- vcovCR(within$fit, cluster = cluster, type = "CR3")
  dimnames(v) <- list(colnames(within$x), colnames(within$x))
  v <- pick(v, terms)
  stopifnot(isTRUE(all.equal(v, by_deletion, tolerance = 1e-8)))
  v
}

tests_of <- function(fit, v, matrix_of_contrasts) {
  found <- Wald_test(fit, matrix_of_contrasts, vcov = v, test = c("Naive-F", "HTZ", "EDT"))
  rows <- lapply(seq_len(nrow(found)), function(i) {
    numbers <- as.list(found[i, c("Fstat", "delta", "df_num", "df_denom", "p_val")])
    setNames(numbers, c("Fstat", "delta", "df_num", "df_denom", "p"))
  })
  setNames(rows, found$test)
}

contrast_of <- function(fit, v, weights) {
  b <- coef(fit)
  row <- matrix(0, 1, length(b), dimnames = list("contrast", names(b)))
  row[1, names(weights)] <- weights
  estimate <- sum(row * b)
  se <- sqrt(as.numeric(row %*% v %*% t(row)))
  # linear_contrast() of 0.5.8 fails with inverse_var = FALSE; the HTZ test of one row has the same df.
  df <- Wald_test(fit, row, vcov = v, test = "HTZ")$df_denom
  if (attr(v, "inverse_var")) stopifnot(isTRUE(all.equal(df, linear_contrast(fit, v, row)$df, tolerance = 1e-8)))
  list(weights = as.list(weights), estimate = estimate, se = se, df = df, p = 2 * pt(-abs(estimate / se), df))
}

selection <- function(fit, names) {
  m <- matrix(0, length(names), length(coef(fit)), dimnames = list(names, names(coef(fit))))
  m[cbind(names, names)] <- 1
  m
}

none <- setNames(list(), character())  # {} in JSON

# `weights` names a column (NULL: none); `inverse_var` is clubSandwich's: TRUE takes 1 / weights for the working variance,
# FALSE takes the identity (without weights the two are the same). `second` names the column of the second set of dummies.
assess <- function(data, outcome, terms, cluster, weights = NULL, inverse_var = TRUE, second = NULL,
                   contrasts = none, joint = none, rows = NULL) {
  source <- sources[[data]]
  frame <- if (is.null(rows)) source$frame else unbalanced(source$frame, source$unit, source$time)
  frame$unit <- frame[[source$unit]]
  frame$second <- frame[[if (is.null(second)) source$time else second]]
  frame$w <- if (is.null(weights)) 1 else frame[[weights]]
  groups <- frame[[cluster]]
  formula <- reformulate(c(terms, "factor(unit)", "factor(second)"), outcome)
  fit <- if (is.null(weights)) lm(formula, frame) else lm(formula, frame, weights = w)
  stopifnot(!anyNA(coef(fit)))
  v <- lapply(setNames(types[1:4], types[1:4]), function(type) {
    vcovCR(fit, cluster = groups, type = type, inverse_var = inverse_var)
  })
  single <- coef_test(fit, v$CR2, test = "Satterthwaite", coefs = terms)
  covariance <- lapply(v, pick, terms)
  covariance["CR3"] <- list(cr3(fit, frame$unit, frame$w, groups, terms))
  dummies <- c(source$unit, if (is.null(second)) source$time else second)
  list(
    call = paste0(
      "lm(", outcome, " ~ ", paste(terms, collapse = " + "), paste0(" + factor(", dummies, ")", collapse = ""),
      if (!is.null(weights)) paste0(", weights = ", weights), "); vcovCR(cluster = ", cluster,
      ", inverse_var = ", inverse_var, ")"
    ),
    file = source$file, data = data, rows = paste0(source$rows, if (is.null(rows)) "" else paste0("; ", rows)),
    outcome = outcome, terms = I(terms), unit = source$unit, time = source$time, dummies = dummies, cluster = cluster,
    weights = weights, inverse_var = inverse_var,
    n_rows = nobs(fit), n_units = length(unique(frame$unit)), n_columns = length(coef(fit)),
    n_clusters = length(unique(groups)),
    coefficients = as.list(coef(fit)[terms]),
    covariance = covariance,
    satterthwaite = setNames(lapply(terms, function(k) {
      list(se = single[k, "SE"], df = single[k, "df_Satt"], p = single[k, "p_Satt"])
    }), terms),
    contrasts = lapply(contrasts, function(one) contrast_of(fit, v$CR2, one)),
    joint = lapply(joint, function(names) c(list(terms = I(names)), tests_of(fit, v$CR2, selection(fit, names))))
  )
}

# ---- all cases -------------------------------------------------------------------------------------------------

sources <- list(
  farm = list(
    frame = farm, file = "tests/data/farm9x60.csv", unit = "id", time = "t", rows = "all",
    columns = list(
      d = "of the file",
      events = "event time t - g of the counties with g > 0, binned to -3..2; lead3, lead2, lag0, lag1, lag2 (base -1)",
      cell = "(id %% 2) x t, the cells of the first t being the base"
    )
  ),
  mpdta = list(
    frame = mpdta, file = "tests/data/mpdta.csv", unit = "countyreal", time = "year",
    rows = "every third county: 0-based position in the sorted countyreal %% 3 == 0",
    columns = list(
      first = "first.treat of the file, 0 = never",
      att = "1 if first > 0 and year >= first",
      events = "event time year - first of the counties with first > 0, binned to -4..3; lead4 to lead2, lag0 to lag3 (base -1)",
      coarse = "first * 10 + countyreal %% 5",
      population = "exp(lpop)",
      size = "exp(lpop) * (1 + 0.1 * (year - 2003))",
      lpopYYYY = "lpop where year == YYYY, else 0",
      cell = "(countyreal %% 3) x year, the cells of 2003 being the base"
    )
  ),
  ezunem = list(
    frame = ezunem, file = "tests/data/wooldridge_ezunem.csv", unit = "city", time = "year", rows = "all",
    columns = list(
      ez = "of the file",
      events = "event time year - first year with ez = 1, binned to -3..2; lead3, lead2, lag0, lag1, lag2 (base -1)"
    )
  ),
  few = list(
    frame = few, file = "tests/data/few_treated_9x6.csv", unit = "county", time = "year", rows = "all",
    columns = list(
      att = "1 if first > 0 and year >= first",
      events = "event time year - first of the counties with first > 0 (-3..2); lead3, lead2, lag0, lag1, lag2 (base -1)"
    )
  ),
  one = list(
    frame = few[few$county != 2, ], file = "tests/data/few_treated_9x6.csv", unit = "county", time = "year",
    rows = "county 2 left out: one treated county", columns = list(att = "1 if first > 0 and year >= first")
  )
)

wide <- c("lead4", "lead3", "lead2", "lag0", "lag1", "lag2", "lag3")
narrow <- c("lead3", "lead2", "lag0", "lag1", "lag2")

with_tests <- function(data, outcome, events, cluster, ..., terms = events) {
  lags <- grep("^lag", events, value = TRUE)
  assess(data, outcome, terms, cluster, ...,
    contrasts = list(
      average_of_lags = setNames(rep(1 / length(lags), length(lags)), lags),
      lag1_minus_lag0 = c(lag1 = 1, lag0 = -1)
    ),
    joint = list(leads = grep("^lead", events, value = TRUE), lags = lags)
  )
}

# A weighted case once for each working variance.
both <- function(name, one) {
  setNames(list(one(TRUE), one(FALSE)), paste0(name, c("_inverse_var_true", "_inverse_var_false")))
}

dropped <- "sorted by unit and period, rows with 0-based number %% 7 == 3 left out"

cases <- c(
  list(
    farm_att = assess("farm", "y", "d", "county"),
    farm_att_covariates = assess("farm", "y", c("d", "x1", "x2"), "county"),
    farm_att_unbalanced = assess("farm", "y", c("d", "x1", "x2"), "county", rows = dropped),
    farm_att_absorbed = assess("farm", "y", c("d", "x1", "x2"), "county", second = "cell"),
    farm_events = with_tests("farm", "y", narrow, "county", terms = c(narrow, "x1", "x2")),
    mpdta_events = with_tests("mpdta", "lemp", wide, "countyreal"),
    mpdta_events_coarse = with_tests("mpdta", "lemp", wide, "coarse"),
    mpdta_events_unbalanced = with_tests("mpdta", "lemp", wide, "countyreal", rows = dropped),
    mpdta_events_coarse_unbalanced = with_tests("mpdta", "lemp", wide, "coarse", rows = dropped),
    mpdta_events_absorbed = with_tests("mpdta", "lemp", wide, "countyreal", second = "cell"),
    mpdta_events_coarse_absorbed = with_tests("mpdta", "lemp", wide, "coarse", second = "cell"),
    mpdta_att_covariates = assess("mpdta", "lemp", c("att", paste0("lpop", 2003:2006)), "countyreal"),
    ezunem_att = assess("ezunem", "luclms", "ez", "city"),
    ezunem_events = with_tests("ezunem", "luclms", narrow, "city"),
    few_att = assess("few", "y", "att", "county"),
    few_att_covariate = assess("few", "y", c("att", "x"), "county"),
    few_events = with_tests("few", "y", narrow, "county"),
    few_events_covariate = with_tests("few", "y", narrow, "county", terms = c(narrow, "x")),
    one_treated_att = assess("one", "y", "att", "county")
  ),
  both("mpdta_events_weighted", function(inverse) {
    with_tests("mpdta", "lemp", wide, "countyreal", weights = "population", inverse_var = inverse)
  }),
  both("mpdta_events_coarse_weighted", function(inverse) {
    with_tests("mpdta", "lemp", wide, "coarse", weights = "population", inverse_var = inverse)
  }),
  both("mpdta_events_coarse_size", function(inverse) {
    with_tests("mpdta", "lemp", wide, "coarse", weights = "size", inverse_var = inverse)
  }),
  both("mpdta_events_coarse_weighted_unbalanced", function(inverse) {
    with_tests("mpdta", "lemp", wide, "coarse", weights = "population", inverse_var = inverse, rows = dropped)
  }),
  both("mpdta_att_coarse_absorbed_weighted", function(inverse) {
    assess("mpdta", "lemp", "att", "coarse", weights = "size", inverse_var = inverse, second = "cell")
  })
)

package <- list(
  R = paste(R.version$major, R.version$minor, sep = "."),
  clubSandwich = as.character(packageVersion("clubSandwich")),
  sandwich = as.character(packageVersion("sandwich"))
)
notes <- list(
  terms = "coefficients of interest, in the order of the rows and columns of every covariance",
  n_columns = "coefficients of the regression: intercept, terms and dummies (no column is aliased)",
  CR1 = "CR0 * J / (J - 1), J clusters",
  CR1S = "CR0 * J (N - 1) / ((J - 1) (N - n_columns))",
  CR2 = "of the regression with all dummies; eigenvalues of the adjusted blocks below 1e-12 count as 0",
  CR3 = paste(
    "of the same regression with the columns freed of their (weighted) means by unit, because I - H of a cluster is",
    "singular beside nested dummies; equal to the sum of the outer products of b(without cluster) - b, without",
    "(J - 1) / J; null where leaving out a cluster loses a coefficient"
  ),
  satterthwaite = "coef_test(CR2, test = \"Satterthwaite\")",
  contrasts = paste(
    "CR2; the df is that of Wald_test(test = \"HTZ\") with one row, equal to that of linear_contrast() where it runs",
    "(inverse_var = TRUE)"
  ),
  joint = paste(
    "Wald_test(CR2); Fstat includes the factor delta, Naive-F is Q / q with J - 1; df_denom null (EDT) is infinity;",
    "HTZ with df_denom <= 0 has Fstat 0 and p null, as clubSandwich gives them"
  ),
  accuracy = paste(
    "df, p, HTZ and EDT with inverse_var = TRUE and weights that differ within a unit (size) move by up to 2e-6 of their",
    "size when all weights are multiplied by a number; everything else holds to 1e-9 (of the largest element)"
  )
)
columns <- lapply(sources, function(one) one$columns)
json <- function(value) as.character(jsonlite::toJSON(value, auto_unbox = TRUE, digits = I(17), null = "null", na = "null"))
lines <- function(values) paste0("  ", vapply(names(values), json, ""), ": ", vapply(values, json, ""), collapse = ",\n")

writeLines(c(
  "{", paste0(" \"package\": ", json(package), ","),
  " \"notes\": {", lines(notes), " },", " \"columns\": {", lines(columns), " },",
  " \"cases\": {", lines(cases), " }", "}"
), out)
