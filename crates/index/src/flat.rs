//! The shape that looks at every row.

use crate::choice::Field;
use crate::{Account, Bitmap, Hit, Order, Row, Rows, Scorer, SearchOptions, Top};

/// Rows measured per call of the scorer: enough to hide the call, few enough to stay in L1.
const BATCH: usize = 256;

/// Places scanned before it is known better what is near: whole blocks.
const RUN: usize = 2048;
/// Codes that are scanned are so wherever one row in so many is allowed.
const SCANNED: usize = 64;

/// No structure: a search measures every allowed row. Exact in the distances of the code, O(n) a
/// query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flat {
    len: usize,
}

impl Flat {
    /// The flat shape of `len` rows.
    pub fn new(len: usize) -> Self {
        Self { len }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The `k` allowed rows closest to `query`, closest first; the effort makes no difference.
    ///
    /// # Panics
    /// If `rows` are not the ones this was made for (by number), the query does not fit them, or
    /// the allowed set ranges over another number of rows.
    pub fn search<R: Rows>(
        &self,
        rows: &R,
        query: &R::Query,
        options: &SearchOptions<'_>,
    ) -> Vec<Hit> {
        self.search_within(rows, query, options, &Account::new(&options.budget))
    }

    /// [`search`](Self::search), with what it uses of the budget put to `account`.
    ///
    /// # Panics
    /// As [`search`](Self::search).
    pub fn search_within<R: Rows>(
        &self,
        rows: &R,
        query: &R::Query,
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Vec<Hit> {
        assert_eq!(rows.len(), self.len, "rows of another index");
        scan(rows, query, options, account)
    }
}

/// Measures every allowed row, or as many as the code needs to be sure.
pub(crate) fn scan<R: Rows>(
    rows: &R,
    query: &R::Query,
    options: &SearchOptions<'_>,
    account: &Account<'_>,
) -> Vec<Hit> {
    assert_fits(options.allowed, rows.len());
    if options.k == 0 {
        return Vec::new();
    }
    if let Some(hits) = rows.nearest(query, options, account) {
        return hits;
    }
    let eligible = options.allowed.map_or(rows.len(), Bitmap::count);
    let scanned = rows.is_scanned() && eligible >= rows.len() / SCANNED;
    let field = Field { options, account, eligible };
    let allowed = options.allowed;
    let hits = field.choose(rows, query, |found| {
        let kept = field.kept(rows, found);
        let mut top = if scanned { Top::distinct(kept) } else { Top::new(kept) };
        if scanned {
            whole(rows, query, (allowed, account), &mut top);
        } else {
            each(rows, query, (allowed, account), |row, distance| top.offer(row, distance));
        }
        Some(top.into_hits())
    });
    hits.unwrap_or_default()
}

/// Offers every row that is allowed and near enough, place by place.
fn whole<R: Rows>(
    rows: &R,
    query: &R::Query,
    (allowed, account): (Option<&Bitmap>, &Account<'_>),
    top: &mut Top,
) {
    let order = rows.order();
    let places = order.map_or(rows.len(), Order::places) as u32;
    let (mut scorer, mut near) = (rows.scorer(query), Vec::new());
    for from in (0..places).step_by(RUN) {
        near.clear();
        let granted = account.grant(RUN.min((places - from) as usize)) as u32;
        if granted == 0 {
            return;
        }
        scorer.scan(from..from + granted, top.reach(), &mut near);
        for hit in &near {
            let row = order.map_or(Some(hit.row), |order| order.row(hit.row.0));
            let allowed = |row: &Row| allowed.is_none_or(|allowed| allowed.contains(*row));
            if let Some(row) = row.filter(allowed) {
                top.offer(row, hit.distance);
            }
        }
    }
}

/// Every allowed row at most `radius` from `query`, closest first.
///
/// # Panics
/// As [`Flat::search`].
pub(crate) fn range<R: Rows>(
    rows: &R,
    query: &R::Query,
    (radius, allowed): (f32, Option<&Bitmap>),
    account: &Account<'_>,
) -> Vec<Hit> {
    assert_fits(allowed, rows.len());
    let mut hits = Vec::new();
    each(rows, query, (allowed, account), |row, distance| {
        if distance <= radius {
            hits.push(Hit { row, distance });
        }
    });
    hits.sort_unstable_by_key(|hit| crate::key::key(hit.distance, hit.row));
    hits
}

/// A set over another number of rows belongs to another index.
pub(crate) fn assert_fits(allowed: Option<&Bitmap>, len: usize) {
    assert!(allowed.is_none_or(|allowed| allowed.len() == len), "allowed set of another index");
}

/// Gives the distance of every allowed row, in rising order of rows, as long as it may.
fn each<R: Rows>(
    rows: &R,
    query: &R::Query,
    (allowed, account): (Option<&Bitmap>, &Account<'_>),
    give: impl FnMut(Row, f32),
) {
    let scorer = &mut rows.scorer(query);
    let every = (0..rows.len() as u32).map(Row);
    match allowed {
        None => measure(scorer, every, account, give),
        Some(allowed) => measure(scorer, allowed.iter(), account, give),
    }
}

fn measure(
    scorer: &mut impl Scorer,
    mut rows: impl Iterator<Item = Row>,
    account: &Account<'_>,
    mut give: impl FnMut(Row, f32),
) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut out = [0.0; BATCH];
    loop {
        batch.clear();
        batch.extend(rows.by_ref().take(BATCH));
        if batch.is_empty() {
            return;
        }
        let wanted = batch.len();
        batch.truncate(account.grant(wanted));
        let out = &mut out[..batch.len()];
        scorer.score(&batch, out);
        batch.iter().zip(out).for_each(|(&row, distance)| give(row, *distance));
        if batch.len() < wanted {
            return;
        }
    }
}
