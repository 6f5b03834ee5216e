//! One run of the benchmark: which service, which languages, how many rounds and samples.
//!
//! Must not know what is measured.

use std::path::PathBuf;

use super::{
    BenchError,
    language::Language,
    service::{Launch, Service},
};

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Extent {
    /// How often everything that is compared has its turn.
    pub(super) rounds: usize,
    /// Samples, as a share of those of a whole run.
    pub(super) share: f64,
}

impl Extent {
    /// A whole run.
    pub(super) const FULL: Self = Self { rounds: 10, share: 1.0 };
    /// Enough to see whether something is badly off.
    pub(super) const QUICK: Self = Self { rounds: 3, share: 0.2 };
    /// One of a pair: the pairs are the rounds.
    pub(super) const PAIR: Self = Self { rounds: 1, share: 0.1 };
}

/// What every group is given.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// The service.
    pub(super) binary: PathBuf,
    /// Languages whose functions are measured.
    pub(super) languages: Vec<Language>,
    /// How much.
    pub(super) extent: Extent,
}

impl Run {
    /// Samples of something that takes `full` of them in a whole run.
    pub(super) fn samples(&self, full: usize) -> usize {
        ((full as f64 * self.extent.share) as usize).max(self.extent.rounds)
    }

    /// Rounds; a group whose rounds are costly takes fewer of them, a whole run `full`.
    pub(super) fn rounds(&self, full: usize) -> usize {
        self.extent.rounds.min(full)
    }

    /// Samples of each round, when a whole run takes `full` in all its rounds.
    pub(super) fn each_round(&self, full: usize) -> usize {
        (self.samples(full) / self.extent.rounds).max(1)
    }

    /// Whether this language is measured.
    pub(super) fn wants(&self, language: Language) -> bool {
        self.languages.contains(&language)
    }

    /// Starts the service, in memory only, on one core or anywhere.
    pub(super) fn start(&self, core: Option<usize>) -> Result<Service, BenchError> {
        self.launch(Launch { core, ..Launch::default() })
    }

    /// Starts it in any way, but without AWS's limit of 10,000 invocations a second, which it would reach.
    pub(super) fn launch(&self, launch: Launch<'_>) -> Result<Service, BenchError> {
        let options = [&["--limit-invocation-rate", "0"], launch.options].concat();
        Service::launch(&Launch { binary: Some(&self.binary), options: &options, ..launch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_run_takes_a_part_of_the_samples_but_some() {
        let run = |extent| Run { binary: PathBuf::new(), languages: Vec::new(), extent };
        assert_eq!(run(Extent::FULL).samples(50), 50);
        assert_eq!(run(Extent::FULL).each_round(20_000), 2_000);
        assert_eq!(run(Extent::QUICK).samples(50), 10);
        assert_eq!(run(Extent::QUICK).each_round(50), 3);
        assert_eq!(run(Extent::QUICK).rounds(5), 3);
        assert_eq!(run(Extent::PAIR).each_round(3), 1);
        assert_eq!(run(Extent::FULL).rounds(5), 5);
    }
}
