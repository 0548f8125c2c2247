//! Random steps, held to a model of the queue that has one worker.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Push {
        organization: usize,
        devices: usize,
    },
    Take {
        max_calls: usize,
        max_devices: usize,
    },
    /// The oldest batch that is being carried out.
    Done,
    TakeAll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let push = (0..4usize, 1..5usize).prop_map(|(organization, devices)| Step::Push { organization, devices });
    let take = (1..4usize, 1..8usize).prop_map(|(max_calls, max_devices)| Step::Take { max_calls, max_devices });
    prop::collection::vec(
        prop_oneof![20 => push, 8 => take, 6 => Just(Step::Done), 1 => Just(Step::TakeAll)],
        0..80,
    )
}

/// What should be in the queue.
#[derive(Default)]
struct Model {
    /// The numbers of the calls and of their devices, by organization.
    lines: [VecDeque<(usize, usize)>; 4],
    /// The organizations that wait, in the order of their turns.
    turns: Vec<usize>,
    /// What is being carried out.
    batches: VecDeque<Numbers>,
}

impl Model {
    fn devices(&self) -> usize {
        self.lines.iter().flatten().map(|(_, devices)| devices).sum()
    }

    fn calls(&self) -> usize {
        self.lines.iter().map(VecDeque::len).sum()
    }

    fn is_busy(&self, organization: usize) -> bool {
        self.batches.iter().flatten().any(|(busy, _)| *busy == organization)
    }

    /// A batch is as many calls as fit, in the order of the turns, of those that are not busy; but at least one.
    fn take(&mut self, max_calls: usize, max_devices: usize) -> Numbers {
        let free: Vec<usize> = self
            .turns
            .iter()
            .copied()
            .filter(|number| !self.is_busy(*number))
            .collect();
        let in_turn = free
            .iter()
            .flat_map(|number| self.lines[*number].iter().map(|call| (*number, *call)));
        let (mut calls, mut devices) = (0, 0);
        let fitting = in_turn.take_while(|(_, (_, more))| {
            calls += 1;
            devices += more;
            calls == 1 || (calls <= max_calls && devices <= max_devices)
        });
        let mut batch = Numbers::new();
        for (organization, (number, _)) in fitting {
            match batch.last_mut() {
                Some((last, calls)) if *last == organization => calls.push(number),
                _ => batch.push((organization, vec![number])),
            }
        }
        for (organization, calls) in &batch {
            self.lines[*organization].drain(..calls.len());
            self.turns.retain(|turn| turn != organization);
        }
        let unfinished = batch.iter().map(|(organization, _)| *organization);
        self.turns
            .extend(unfinished.filter(|organization| !self.lines[*organization].is_empty()));
        if !batch.is_empty() {
            self.batches.push_back(batch.clone());
        }
        batch
    }
}

proptest! {
    #[test]
    fn no_call_is_lost_repeated_or_overtaken(steps in steps(), max_calls in 0..12usize, max_devices in 0..24usize) {
        let queue = Queue::new(Class::Small, max_calls, max_devices, 1);
        let mut model = Model::default();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Push { organization: org, devices } => {
                    let own: usize = model.lines[org].iter().map(|(_, devices)| devices).sum();
                    let fits = model.calls() + model.lines[org].len() < max_calls
                        && model.devices() + own + devices <= max_devices;
                    let is_accepted = push(&queue, organization(org), call(number, devices)).is_ok();
                    prop_assert_eq!(is_accepted, fits || model.calls() == 0);
                    if is_accepted {
                        if model.lines[org].is_empty() {
                            model.turns.push(org);
                        }
                        model.lines[org].push_back((number, devices));
                    }
                }
                Step::Take { max_calls, max_devices } => {
                    let expected = model.take(max_calls, max_devices);
                    let taken = take(&queue, max_calls, max_devices).flatten();
                    prop_assert_eq!(taken.unwrap_or_default(), expected);
                }
                Step::Done => {
                    if let Some(batch) = model.batches.pop_front() {
                        done(&queue, &batch);
                    }
                }
                Step::TakeAll => {
                    // Each organization's calls together and in their order.
                    let all = numbers(&queue.take_all());
                    prop_assert_eq!(all.len(), model.calls());
                    model.turns.clear();
                    for line in std::mem::take(&mut model.lines) {
                        let line: Vec<_> = line.into_iter().map(|(number, _)| number).collect();
                        let of_line: Vec<_> = all.iter().copied().filter(|number| line.contains(number)).collect();
                        prop_assert_eq!(of_line, line);
                    }
                }
            }
        }
    }
}
