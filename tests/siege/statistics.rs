//! Whether two samples differ, and whether one could be told from the other.

/// Standard errors from which on a difference is no chance: dudect's bound of Welch's t. Many things
/// are compared, so the usual two would be passed by chance again and again.
pub(crate) const MOST_T: f64 = 4.5;
/// Microseconds that medians may differ by.
pub(crate) const MARGIN: f64 = 2.0;
/// What a guesser may reach; half of it is chance.
pub(crate) const MOST_AUC: f64 = 0.52;
/// Percentiles at which samples are cropped: a small difference shows where the noise is least.
const CROPS: [f64; 5] = [0.5, 0.75, 0.9, 0.95, 0.99];
/// Bins in which a guesser counts.
const BINS: usize = 32;

/// Mean and variance of the mean.
fn mean(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (mean, squares / (count - 1.0) / count)
}

/// Welch's t (B. L. Welch, 1947); none of samples that are too small or do not vary.
pub(crate) fn welch(one: &[f64], other: &[f64]) -> Option<f64> {
    if one.len() < 2 || other.len() < 2 {
        return None;
    }
    let ((one, its), (other, others)) = (mean(one), mean(other));
    let t = (one - other) / (its + others).sqrt();
    t.is_finite().then_some(t)
}

/// The greatest |t| among the samples cropped at each of [`CROPS`] of both together (O. Reparaz et
/// al., "Dude, is my code constant time?", 2017).
pub(crate) fn cropped(one: &[f64], other: &[f64]) -> Option<f64> {
    let both = sorted(&[one, other].concat());
    let crop = |at: f64| {
        let most = quantile(&both, at)?;
        let below = |of: &[f64]| of.iter().copied().filter(|value| *value <= most).collect();
        let (one, other): (Vec<_>, Vec<_>) = (below(one), below(other));
        welch(&one, &other).map(f64::abs)
    };
    CROPS.into_iter().filter_map(crop).max_by(f64::total_cmp)
}

/// How two medians differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Difference {
    pub(crate) of: f64,
    pub(crate) error: f64,
}

impl Difference {
    /// Two one-sided tests (TOST) at 5 %: all of the 90 % interval lies within the margin.
    pub(crate) fn is_within(self) -> bool {
        self.of.abs() + 1.645 * self.error <= MARGIN
    }

    /// Beyond the margin, and no chance.
    pub(crate) fn is_beyond(self) -> bool {
        self.of.abs() > MARGIN && self.of.abs() >= MOST_T * self.error
    }
}

/// The difference of the medians, its error from the order statistics beside each of them.
pub(crate) fn median_difference(one: &[f64], other: &[f64]) -> Option<Difference> {
    let ((one, its), (other, others)) = (median(one)?, median(other)?);
    Some(Difference { of: one - other, error: its.hypot(others) })
}

/// The median and its standard error.
pub(crate) fn median(values: &[f64]) -> Option<(f64, f64)> {
    let sorted = sorted(values);
    let count = sorted.len() as f64;
    // The rank of the median of a sample varies by half of the root of its size.
    let by = 0.5 / count.sqrt();
    let (low, high) = (quantile(&sorted, 0.5 - by)?, quantile(&sorted, 0.5 + by)?);
    Some((quantile(&sorted, 0.5)?, (high - low) / 2.0))
}

/// How well somebody who saw one half of the trials tells the classes of the other half apart: the
/// probability that of a pair the right one looks more like its class (area under the ROC curve).
/// Naive Bayes over the bins of each feature, so that any difference of shape counts.
///
/// Gives it with the standard error that it would have by chance.
pub(crate) fn auc(trials: &[(bool, Vec<f64>)]) -> Option<(f64, f64)> {
    let (learnt, asked) = trials.split_at_checked(trials.len() / 2)?;
    let features = trials.first()?.1.len();
    let mut scores = vec![0.0; asked.len()];
    for feature in 0..features {
        let of = |trial: &(bool, Vec<f64>)| trial.1.get(feature).copied().unwrap_or(0.0);
        let all = sorted(&learnt.iter().map(of).collect::<Vec<_>>());
        let edges: Vec<f64> =
            (1..BINS).filter_map(|bin| quantile(&all, bin as f64 / BINS as f64)).collect();
        let bin = |value: f64| edges.partition_point(|edge| *edge < value);
        // From one, so that an empty bin says little.
        let mut counts = [[1.0; BINS]; 2];
        for trial in learnt {
            counts[usize::from(trial.0)][bin(of(trial))] += 1.0;
        }
        let totals = counts.map(|counts| counts.iter().sum::<f64>());
        for (score, trial) in scores.iter_mut().zip(asked) {
            let bin = bin(of(trial));
            *score += (counts[1][bin] / totals[1]).ln() - (counts[0][bin] / totals[0]).ln();
        }
    }
    let yes = asked.iter().filter(|trial| trial.0).count() as f64;
    let all = asked.len() as f64;
    let error = ((all + 1.0) / (12.0 * yes * (all - yes))).sqrt();
    let scores = scores.into_iter().zip(asked.iter().map(|trial| trial.0));
    Some((ranked(scores.collect())?, error))
}

/// The AUC of scores (Mann and Whitney's U over the number of pairs); ties count half.
fn ranked(mut scores: Vec<(f64, bool)>) -> Option<f64> {
    scores.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut wins, mut below, mut at) = (0.0, 0.0, 0);
    while at < scores.len() {
        let tied = scores[at..].iter().take_while(|score| score.0 == scores[at].0);
        let (mut yes, mut no) = (0.0, 0.0);
        for (_, class) in tied {
            if *class { yes += 1.0 } else { no += 1.0 }
        }
        wins += yes * (below + no / 2.0);
        below += no;
        at += (yes + no) as usize;
    }
    let pairs = below * (scores.len() as f64 - below);
    (pairs > 0.0).then_some(wins / pairs)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn quantile(sorted: &[f64], at: f64) -> Option<f64> {
    let place = (at * sorted.len() as f64) as usize;
    sorted.get(place.min(sorted.len().checked_sub(1)?)).copied()
}

#[cfg(test)]
mod tests {
    use ams_tests::seed::Seed;

    use super::*;

    /// Latencies as they are: most near 60, and a long tail.
    fn latencies(seed: &mut Seed, count: usize, more: f64) -> Vec<f64> {
        let mut uniform = || (seed.draw() >> 11) as f64 / (1_u64 << 53) as f64;
        let latency = |_| {
            let bulk: f64 = (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
            let tail = if uniform() < 0.05 { -300.0 * (1.0 - uniform()).ln() } else { 0.0 };
            60.0 + more + 8.0 * bulk + tail
        };
        (0..count).map(latency).collect()
    }

    fn trials(one: &[f64], other: &[f64]) -> Vec<(bool, Vec<f64>)> {
        let pairs = one.iter().zip(other);
        pairs.flat_map(|(one, other)| [(false, vec![*one]), (true, vec![*other])]).collect()
    }

    #[test]
    fn what_is_the_same_is_found_to_be() {
        let mut seed = Seed::new(1);
        let (one, other) = (latencies(&mut seed, 20_000, 0.0), latencies(&mut seed, 20_000, 0.0));
        assert!(welch(&one, &other).unwrap().abs() < MOST_T);
        assert!(cropped(&one, &other).unwrap() < MOST_T);
        let difference = median_difference(&one, &other).unwrap();
        assert!(difference.is_within() && !difference.is_beyond(), "{difference:?}");
        let (auc, error) = auc(&trials(&one, &other)).unwrap();
        assert!((0.48..MOST_AUC).contains(&auc), "{auc}");
        assert!((auc - 0.5).abs() < MOST_T * error && error < 0.005, "{auc} {error}");
    }

    #[test]
    fn five_microseconds_are_found_in_every_way() {
        let mut seed = Seed::new(2);
        let (one, other) = (latencies(&mut seed, 20_000, 5.0), latencies(&mut seed, 20_000, 0.0));
        assert!(welch(&one, &other).unwrap() > MOST_T);
        // Cropping finds it more surely than the tail lets all values together.
        assert!(cropped(&one, &other).unwrap() > 2.0 * welch(&one, &other).unwrap());
        let difference = median_difference(&one, &other).unwrap();
        assert!(difference.is_beyond() && !difference.is_within(), "{difference:?}");
        assert!((difference.of - 5.0).abs() < 3.0 * difference.error, "{difference:?}");
        assert!(auc(&trials(&one, &other)).unwrap().0 > 0.55);
    }

    /// Too few trials show neither.
    #[test]
    fn too_few_show_nothing() {
        let mut seed = Seed::new(4);
        let (one, other) = (latencies(&mut seed, 60, 5.0), latencies(&mut seed, 60, 0.0));
        let difference = median_difference(&one, &other).unwrap();
        assert!(!difference.is_beyond() && !difference.is_within(), "{difference:?}");
        let (auc, error) = auc(&trials(&one, &other)).unwrap();
        assert!((auc - 0.5).abs() < MOST_T * error, "{auc} {error}");
    }

    #[test]
    fn a_guesser_sees_a_shape_that_no_mean_shows() {
        let mut seed = Seed::new(3);
        let mut uniform = || (seed.draw() >> 11) as f64 / (1_u64 << 53) as f64;
        let one: Vec<_> = (0..4_000).map(|_| uniform()).collect();
        let edge = |value: f64| if value < 0.5 { value / 4.0 } else { 1.0 - (1.0 - value) / 4.0 };
        let other: Vec<_> = (0..4_000).map(|_| edge(uniform())).collect();
        assert!(welch(&one, &other).unwrap().abs() < MOST_T);
        assert!(auc(&trials(&one, &other)).unwrap().0 > 0.6);
    }

    #[test]
    fn known_values() {
        let t = welch(&[1.0, 2.0, 3.0, 4.0], &[2.0, 4.0, 6.0, 8.0]).unwrap();
        assert!((t + 1.732_05).abs() < 1e-4, "{t}");
        assert_eq!(welch(&[1.0, 1.0], &[1.0, 1.0]), None);
        assert_eq!(welch(&[1.0], &[1.0, 2.0]), None);
        let scores = vec![(1.0, false), (2.0, true), (2.0, false), (3.0, true)];
        assert_eq!(ranked(scores), Some(0.875));
        assert_eq!(ranked(vec![(1.0, true)]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]).unwrap().0, 2.0);
        assert_eq!(median(&[]), None);
    }
}
