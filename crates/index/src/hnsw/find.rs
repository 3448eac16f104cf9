//! One search of a graph: how wide to walk, or whether measuring what is allowed is cheaper.

use std::sync::{Mutex, PoisonError};

use super::net::Net;
use super::search::{Gate, Scratch};
use crate::choice::Field;
use crate::{Account, Bitmap, Effort, Hit, Row, Rows, SearchOptions, flat};

/// Least candidates of a default search, whatever `k` is: with 64, words looking for their
/// definitions (MiniLM, 25,000 `WordNet` glosses) found 0.963 of the ten nearest, with 128 0.986.
pub(super) const EF_LEAST: usize = 96;
/// Candidates per wanted row of a default search.
pub(super) const EF_PER_K: usize = 4;
/// How much dearer a row is that a walk among allowed rows meets than one of a scan (seen: a scan
/// of 5,900 rows of 784 bytes takes as long as a walk that keeps 28, of 10,000 of 202 bytes 50).
const DEARER: usize = 16;
/// Fewest allowed rows two links away, on average: among fewer a walk loses its way.
const SEEN: usize = 24;
/// Where a smaller share of the rows is allowed, only those are measured and the links of others
/// are followed in their place; above, all are measured and the allowed ones kept.
const NARROW: f64 = 0.8;

/// Working memory of searches that are not running, one per thread that ever searched at once.
#[derive(Debug, Default)]
pub(super) struct Idle(pub(super) Mutex<Vec<Scratch>>);

impl Idle {
    /// The `k` allowed rows closest to the query, closest first, as far as the effort finds them.
    pub(super) fn search<R: Rows>(
        &self,
        graph: &impl Net,
        (rows, query): (&R, &R::Query),
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Vec<Hit> {
        self.search_from(graph, (rows, query), (options, &[]), account)
    }

    /// The same, where the walk on the lowest level begins at `seeds` too.
    pub(super) fn search_from<R: Rows>(
        &self,
        graph: &impl Net,
        (rows, query): (&R, &R::Query),
        (options, seeds): (&SearchOptions<'_>, &[Row]),
        account: &Account<'_>,
    ) -> Vec<Hit> {
        let eligible = options.allowed.map_or(graph.len(), Bitmap::count);
        let k = options.k.min(eligible);
        let field = Field { options, account, eligible };
        let hits = (k > 0).then(|| {
            field.choose(rows, query, |found| {
                let mut scratch = self.checkout(graph.len());
                scratch.seeds.extend_from_slice(seeds);
                let hits = walk(graph, (rows, query), (&field, found), &mut scratch);
                // A search that ended before its walk left them.
                scratch.seeds.clear();
                self.checkin(scratch);
                hits
            })
        });
        hits.flatten().unwrap_or_else(|| flat::scan(rows, query, options, account))
    }

    pub(super) fn checkin(&self, scratch: Scratch) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
    }

    pub(super) fn checkout(&self, len: usize) -> Scratch {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut scratch = idle.unwrap_or_else(|| Scratch::new(len));
        scratch.fit(len);
        scratch
    }
}

/// Candidates of one walk, `found` of them or more; `None` where a scan costs no more, or finds
/// what this does not.
fn walk<R: Rows>(
    graph: &impl Net,
    (rows, query): (&R, &R::Query),
    (field, found): (&Field<'_, '_>, usize),
    scratch: &mut Scratch,
) -> Option<Vec<Hit>> {
    let &Field { options, account, eligible } = field;
    let k = options.k.min(eligible);
    // A code that measures again wants more to choose from.
    let ef = match options.effort {
        Effort::Exact => usize::MAX,
        Effort::Default | Effort::Probes(_) => k.saturating_mul(EF_PER_K).max(EF_LEAST).max(found),
        Effort::Ef(ef) => ef.max(found),
    };
    // A walk measures about `m` allowed rows for each it keeps (seen: 10 to 17 with m = 16),
    // here and there, behind links. Where measuring all that are allowed costs no more, that is
    // done, and is exact.
    let (links, filtered) = (2 * graph.m(), eligible < graph.len());
    let walked = ef.saturating_mul(graph.m());
    let walked = if filtered { walked.saturating_mul(DEARER) } else { walked };
    let sparse = eligible.saturating_mul(links * links) < SEEN * graph.len();
    if walked >= eligible || (filtered && sparse) {
        return None;
    }
    let narrow = (eligible as f64) < NARROW * graph.len() as f64;
    let gate = Gate { allowed: options.allowed, budget: eligible, narrow, account: Some(account) };
    let hits = scratch.search(graph, &mut rows.scorer(query), ef, &gate);
    let hits = hits.filter(|hits| hits.len() >= k || account.is_cut())?;
    Some(hits.take(field.kept(rows, found)).collect())
}
